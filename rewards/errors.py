"""Errors that people see, and the two lines that turn them into exit codes.

    PathVLMError
    ├── UserError        a mistake in what was typed or handed in: one line, exit 2, no traceback
    └── ImageProblem     one image cannot be used: the row is counted and named, the run goes on

>>> suggest("pth", ["path", "ct"])
" (did you mean 'path'?)"

Every command's `main(argv) -> int | None` is wrapped by `run_cli`. Standard library only.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn


class PathVLMError(Exception):
    """Root of the project's own errors."""


class UserError(PathVLMError):
    """Says what was given, what was expected and what to do; shown as `error: ...` with exit code 2."""


class ImageProblem(PathVLMError):
    """An image that is missing, not an image, unreasonably large or damaged."""


def suggest(given: str, known: Iterable[str]) -> str:
    """" (did you mean 'x'?)" for the closest known name, or "" when nothing is close."""
    close = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Parser(argparse.ArgumentParser):
    """argparse whose mistakes are `UserError`s and whose epilog keeps its line breaks."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage block."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def run_cli(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 fine, 2 a user's mistake in one line, 130 interrupted (and resumable)."""
    try:
        code = main(argv) or 0
        sys.stdout.flush()
    except UserError as problem:
        print("error: " + " ".join(str(problem).split()), file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept; run the same command again to go on", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM, errno.EISDIR,
                                 errno.ENOTDIR, errno.ENAMETOOLONG):
            raise
        where = f" ({problem.filename})" if problem.filename else ""
        print(f"error: cannot write{where}: {problem.strerror}; free space or choose another folder, "
              "then run the same command again", file=sys.stderr)
        code = 2
    sys.exit(code)
