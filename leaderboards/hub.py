"""Upload a built leaderboard as a static Space of the Hugging Face hub; only when asked for by name.

    push(Path("board"), "my-name/my-board")

The token is the hub library's own (HF_TOKEN or its login); it is never read or shown here.
"""

from __future__ import annotations

from pathlib import Path

from rewards.errors import UserError

README = "---\ntitle: Leaderboard\nsdk: static\n---\nBuilt by `python -m leaderboards.build`.\n"


def push(folder: Path, repo: str) -> str:
    """Create the Space if needed and upload the folder; returns its address. Raises `UserError` on a refusal."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    try:
        address = api.create_repo(repo, repo_type="space", space_sdk="static", exist_ok=True)
        api.upload_file(path_or_fileobj=README.encode(), path_in_repo="README.md", repo_id=repo, repo_type="space")
        api.upload_folder(folder_path=str(folder), repo_id=repo, repo_type="space")
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as problem:
        raise UserError(f"the hub refused {repo!r}: {str(problem).splitlines()[0]}; "
                        "expected OWNER/NAME and a login with write access") from problem
    return str(address)
