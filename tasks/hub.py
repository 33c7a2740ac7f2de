"""The two data sets from the Hugging Face hub, brought into the original layout once and read from disk after that.

>>> fetch("ct")                                                          # doctest: +SKIP
PosixPath('/home/me/.cache/huggingface/pathvlm-bench')

PathMMU is gated: its page asks for consent and a token is needed. The copies lie under the hub's own cache folder;
`PATHVLM_PATHMMU_REPO` and `PATHVLM_OMNIMEDVQA_REPO` name other repositories of the same layout. Nothing here runs
code from a repository. Must not import torch or lm_eval.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rewards.errors import UserError
from tasks.archives import unpack

REPOSITORIES = {"pathmmu": "jamessyx/PathMMU", "omnimedvqa": "foreverbeliever/OmniMedVQA"}
"""Where each data set is published; overridden by PATHVLM_<NAME>_REPO."""

LANDMARK = {"pathmmu": "data.json", "omnimedvqa": "QA_information"}
"""What stands at the top of each original layout."""

_DONE = ".complete.json"
_T = TypeVar("_T")


def fetch(task: str) -> Path:
    """The folder holding `pathmmu/` or `omnimedvqa/` for this task; downloads on the first call.

    A complete copy is used without asking the network. Raises: UserError (gated, unknown, offline, broken archive).
    """
    name = "pathmmu" if task == "path" else "omnimedvqa"
    root = cache_folder()
    folder = root / name
    repository = os.environ.get(f"PATHVLM_{name.upper()}_REPO") or REPOSITORIES[name]
    if _is_done(folder, repository):
        return root
    revision = _download(repository, folder)
    for archive in sorted(folder.rglob("*.zip")):
        unpack(archive, archive.parent)
    _lift(folder, LANDMARK[name], repository)
    (folder / _DONE).write_text(json.dumps({"repository": repository, "revision": revision}), encoding="utf-8")
    return root


def cache_folder() -> Path:
    """Where copies are kept: `pathvlm-bench` in the hub's cache (HF_HOME moves it)."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME).expanduser() / "pathvlm-bench"


def _is_done(folder: Path, repository: str) -> bool:
    try:
        noted = json.loads((folder / _DONE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return isinstance(noted, dict) and noted.get("repository") == repository


def _download(repository: str, folder: Path) -> str:
    """All files of the newest revision; returns that revision."""
    from huggingface_hub import HfApi, snapshot_download

    revision = str(_asked(repository, lambda: HfApi().dataset_info(repository).sha))
    _asked(repository, lambda: snapshot_download(repository, repo_type="dataset", revision=revision, local_dir=folder))
    return revision


def _asked(repository: str, call: Callable[[], _T]) -> _T:
    """The call's result, its failures in words. The order matters: a gated repository also counts as not found."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    page = f"https://huggingface.co/datasets/{repository}"
    manual = "or download it by hand and pass the folder as --data"
    try:
        return call()
    except errors.GatedRepoError as problem:
        raise UserError(f"{repository} is gated: accept its conditions at {page} and set HF_TOKEN (or run "
                        f"`hf auth login`), {manual}") from problem
    except errors.RepositoryNotFoundError as problem:
        raise UserError(f"the hub has no data set {repository} that this login may see ({page}): check the name and "
                        f"HF_TOKEN, {manual}") from problem
    except errors.HFValidationError as problem:
        raise UserError(f"{repository!r} is not a hub id: expected OWNER/NAME") from problem
    except errors.OfflineModeIsEnabled as problem:
        raise UserError(f"{repository} is not on this machine and HF_HUB_OFFLINE forbids fetching it: unset it, "
                        f"{manual}") from problem
    except errors.HfHubHTTPError as problem:
        status = getattr(problem.response, "status_code", "no status")
        raise UserError(f"the hub answered {status} for {repository}: try again later, {manual}") from problem
    except (HTTPError, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError) as problem:
        raise UserError(f"cannot reach the hub for {repository} ({type(problem).__name__}): check the network, "
                        f"{manual}") from problem


def _lift(folder: Path, landmark: str, repository: str) -> None:
    """Move the layout's top up to `folder` where an archive nested it. Raises: UserError when there is none."""
    if (folder / landmark).exists():
        return
    found = sorted(folder.rglob(landmark), key=lambda path: (len(path.parts), path))
    if not found:
        raise UserError(f"{repository} holds no {landmark}, so it is not in the original layout: looked in {folder}; "
                        "download it by hand and pass the folder as --data")
    for item in found[0].parent.iterdir():
        if not (folder / item.name).exists():
            shutil.move(str(item), folder / item.name)
