"""How far a stage is: a bar on a terminal, a line a minute elsewhere. Replaces transformers' own printing.

    trainer.remove_callback(PrinterCallback); trainer.add_callback(Progress("seed 1, beta"))
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

EVERY_S = 60.0


class Progress(TrainerCallback):
    """One bar or one line for one stage, with the figure that tells most: the reward, else the loss."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: Any = None
        self._task: Any = None
        self._said = time.monotonic()
        self._latest = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A bar that begins where a resumed stage begins."""
        if not (state.is_world_process_zero and sys.stderr.isatty()):
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[latest]}"),
                        console=Console(stderr=True))
        self._bar.start()
        self._task = self._bar.add_task(self.title, total=state.max_steps, completed=state.global_step, latest="")

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Keep the latest figure."""
        for name in ("reward", "loss"):
            value = (logs or {}).get(name)
            if isinstance(value, int | float):
                self._latest = f"{name} {value:.3f}"
                return

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move on."""
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, latest=self._latest)
        elif state.is_world_process_zero and time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            print(f"{self.title}: step {state.global_step} of {state.max_steps} {self._latest}".rstrip(),
                  file=sys.stderr, flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the finished bar standing."""
        self.stop()

    def stop(self) -> None:
        """End the bar; also when training ended with an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
