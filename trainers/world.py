"""The processes of one training run: one of them writes, all of them see what it saw, none waits for a dead one.

    world = World.join(expected=2)
    value = world.on_main(lambda: expensive())       # computed once; result or UserError on every rank
    if world.main: ...

Started by `torchrun` or `accelerate launch`, or alone. `accelerate launch --cpu --num_processes 2` quietly starts one
process (accelerate 1.15 without MPI); `expected` refuses a world of another size than asked for. Imports torch on use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from rewards.errors import UserError

_T = TypeVar("_T")

LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK",
            "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT")
PREFIXES = ("ACCELERATE_", "TORCHELASTIC_", "FSDP_", "NCCL_ASYNC", "PARALLELISM_CONFIG_")


@dataclass(frozen=True, slots=True)
class World:
    """`size` processes of which this is number `rank`; `group` carries objects (None: alone)."""

    size: int = 1
    rank: int = 0
    group: Any = None

    @classmethod
    def join(cls, expected: int | None = None) -> World:
        """Join the processes that a launcher started. Raises UserError when there are not as many as expected."""
        announced = int(os.environ.get("WORLD_SIZE", "1"))
        if expected is not None and announced != expected:
            raise UserError(f"this run has {announced} process{'' if announced == 1 else 'es'}, and --processes "
                            f"{expected} was asked for; start it with `torchrun --nproc_per_node {expected} -m "
                            "trainers.run ...` (on CPUs `accelerate launch` starts one process only)")
        if announced == 1:
            return cls()
        import torch
        from accelerate import PartialState

        state = PartialState(cpu=not torch.cuda.is_available())
        # scoring takes hours that no collective's default patience survives
        group = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=7))
        return cls(state.num_processes, state.process_index, group)

    @property
    def main(self) -> bool:
        """True for the one process that writes files and asks judges."""
        return self.rank == 0

    def on_main(self, work: Callable[[], _T]) -> _T:
        """`work()` of the main process, on every process; so is its UserError."""
        if self.size == 1:
            return work()
        outcome: list[Any] = [None]
        failure: BaseException | None = None
        if self.main:
            try:
                outcome = [(True, work())]
            except BaseException as problem:  # noqa: BLE001  (raised again below, once the others know)
                failure = problem
                outcome = [(False, str(problem) if isinstance(problem, UserError) else type(problem).__name__)]
        import torch

        torch.distributed.broadcast_object_list(outcome, src=0, group=self.group)
        if failure is not None:
            raise failure
        done, value = outcome[0]
        if not done:
            raise UserError(str(value))
        return value  # type: ignore[no-any-return]

    def gather(self, values: list[_T]) -> list[_T]:
        """The values of all processes in the order of ranks, on every process."""
        if self.size == 1:
            return values
        import torch

        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, values, group=self.group)
        return [value for own in found for value in own]

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            import torch

            torch.distributed.barrier(group=self.group)


def alone() -> dict[str, str]:
    """The environment of a process outside this world: without what a launcher put into it."""
    return {key: value for key, value in os.environ.items()
            if key not in LAUNCHER and not key.startswith(PREFIXES)}
