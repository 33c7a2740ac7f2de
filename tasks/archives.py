"""Unpacking a downloaded zip without letting it write elsewhere or fill the disk.

>>> unpack(Path("images.zip"), Path("images"))                           # doctest: +SKIP

Standard library only.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from rewards.errors import UserError

MAX_BYTES = 200 * 10**9
"""Largest unpacked size that is accepted."""


def unpack(archive: Path, folder: Path) -> int:
    """Unpack the zip into `folder`, or into a folder of its own name when it holds bare files; returns their number.

    Files already there in full size are left alone.

    Raises: UserError for a broken archive, an entry that leaves the folder or is a link, or an unreasonable size.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            for entry in entries:
                parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
                if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]:
                    raise UserError(f"{archive.name} has an entry that leaves its folder: {entry.filename!r}; "
                                    "the archive is not used")
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise UserError(f"{archive.name} holds a link: {entry.filename!r}; the archive is not used")
            if (total := sum(entry.file_size for entry in entries)) > MAX_BYTES:
                raise UserError(f"{archive.name} would unpack to {total:,} bytes, more than {MAX_BYTES:,}")
            if all("/" not in entry.filename for entry in entries):
                folder = folder / archive.stem
            for entry in entries:
                target = folder / entry.filename.replace("\\", "/")
                if target.exists() and target.stat().st_size == entry.file_size:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("wb") as written:
                    shutil.copyfileobj(source, written, 2**20)
            return len(entries)
    except zipfile.BadZipFile as problem:
        raise UserError(f"{archive} is not a whole zip archive ({problem}); delete it and try again") from problem
