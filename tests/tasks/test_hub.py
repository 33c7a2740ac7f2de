"""Data sets from the hub: gated, unknown, offline and broken cases in one clear line; a complete copy needs no network.

The hub itself is never asked here: its client is replaced, or told to stay offline.
"""

import io
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import errors

import tasks
from rewards.errors import UserError
from tasks import archives

PAGE = "https://huggingface.co/datasets/jamessyx/PathMMU"
MANUAL = "or download it by hand and pass the folder as --data"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The hub's cache in an empty folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf"))
    for name in ("PATHVLM_PATHMMU_REPO", "PATHVLM_OMNIMEDVQA_REPO"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hf" / "pathvlm-bench"


def answering(monkeypatch, *, info=None, download=None) -> None:
    """Replace the hub's client; an exception is raised instead of returned."""

    def act(result):
        if isinstance(result, Exception):
            raise result
        return result() if callable(result) else result

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info",
                        lambda self, name: act(info) or SimpleNamespace(sha="abc123"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: act(lambda: download(**k)))


def response(status: int) -> httpx2.Response:
    return httpx2.Response(status, request=httpx2.Request("GET", PAGE))


@pytest.mark.parametrize(("problem", "said"), [
    (errors.GatedRepoError("no", response=response(403)),
     f"jamessyx/PathMMU is gated: accept its conditions at {PAGE} and set HF_TOKEN (or run `hf auth login`), {MANUAL}"),
    (errors.RepositoryNotFoundError("no", response=response(404)),
     f"the hub has no data set jamessyx/PathMMU that this login may see ({PAGE}): check the name and HF_TOKEN, "
     f"{MANUAL}"),
    (errors.HfHubHTTPError("no", response=response(503)),
     f"the hub answered 503 for jamessyx/PathMMU: try again later, {MANUAL}"),
    (errors.OfflineModeIsEnabled("no"),
     f"jamessyx/PathMMU is not on this machine and HF_HUB_OFFLINE forbids fetching it: unset it, {MANUAL}"),
    (httpx2.ConnectError("no"),
     f"cannot reach the hub for jamessyx/PathMMU (ConnectError): check the network, {MANUAL}"),
    (httpx2.ReadTimeout("no"),
     f"cannot reach the hub for jamessyx/PathMMU (ReadTimeout): check the network, {MANUAL}"),
    (errors.LocalEntryNotFoundError("no"),
     f"cannot reach the hub for jamessyx/PathMMU (LocalEntryNotFoundError): check the network, {MANUAL}"),
    (errors.HFValidationError("no"), "'jamessyx/PathMMU' is not a hub id: expected OWNER/NAME"),
])
def test_what_the_hub_may_answer(problem, said, home, monkeypatch):
    answering(monkeypatch, info=problem)
    with pytest.raises(UserError) as caught:
        tasks.read("path", "hub")
    assert str(caught.value) == said


def test_offline_for_real(tmp_path):
    code = "from rewards.errors import run_cli; import tasks; run_cli(lambda argv: tasks.load('derm', 'hub') and 0)"
    environment = {"PATH": os.environ["PATH"], "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr == (f"error: foreverbeliever/OmniMedVQA is not on this machine and HF_HUB_OFFLINE forbids "
                           f"fetching it: unset it, {MANUAL}\n")
    assert not (tmp_path / "pathvlm-bench").exists()


def zipped(folder, prefix="") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + str(path.relative_to(folder)))
    return buffer.getvalue()


def test_download_unpack_and_reuse_without_network(home, monkeypatch, data_root):
    def download(local_dir, revision, repo_type):
        assert (revision, repo_type) == ("abc123", "dataset")
        local_dir.mkdir(parents=True)
        if local_dir.name == "omnimedvqa":  # everything in one archive, one level down
            (local_dir / "OmniMedVQA.zip").write_bytes(zipped(data_root / "omnimedvqa", "OmniMedVQA/"))
        else:  # the table beside an archive of bare images
            (local_dir / "data.json").write_bytes((data_root / "pathmmu" / "data.json").read_bytes())
            (local_dir / "images.zip").write_bytes(zipped(data_root / "pathmmu" / "images", "images/"))

    answering(monkeypatch, download=download)
    first = {task: tasks.read(task, "hub").data_sha256 for task in tasks.TASKS}
    assert first == {task: tasks.read(task, data_root).data_sha256 for task in tasks.TASKS}
    answering(monkeypatch, info=httpx2.ConnectError("no"))
    assert {task: tasks.read(task, "hub").data_sha256 for task in tasks.TASKS} == first


def test_an_unfinished_copy_is_not_taken_for_whole(home, monkeypatch, data_root):
    (home / "pathmmu").mkdir(parents=True)
    (home / "pathmmu" / "data.json").write_bytes((data_root / "pathmmu" / "data.json").read_bytes())
    answering(monkeypatch, info=httpx2.ConnectError("no"))
    with pytest.raises(UserError, match="cannot reach the hub"):
        tasks.read("path", "hub")


def test_another_repository_can_be_named(home, monkeypatch):
    monkeypatch.setenv("PATHVLM_PATHMMU_REPO", "me/Copy")
    answering(monkeypatch, info=httpx2.ConnectError("no"))
    with pytest.raises(UserError, match="cannot reach the hub for me/Copy"):
        tasks.read("path", "hub")


def test_a_repository_of_another_layout(home, monkeypatch):
    answering(monkeypatch, download=lambda local_dir, **_: local_dir.mkdir(parents=True))
    with pytest.raises(UserError, match=r"jamessyx/PathMMU holds no data\.json, so it is not in the original layout"):
        tasks.read("path", "hub")


def archive(tmp_path, name: str, *, link: bool = False):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as opened:
        entry = zipfile.ZipInfo(name)
        if link:
            entry.external_attr = 0o120777 << 16
        opened.writestr(entry, "/etc/passwd")
    return path


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "x/../../evil.txt", "C:/evil.txt", "..\\evil.txt"])
def test_archives_cannot_write_elsewhere(name, tmp_path):
    with pytest.raises(UserError, match=r"a\.zip has an entry that leaves its folder"):
        archives.unpack(archive(tmp_path, name), tmp_path / "inner" / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip"]


def test_archives_cannot_hold_links(tmp_path):
    with pytest.raises(UserError, match=r"a\.zip holds a link: 'x/passwd'; the archive is not used"):
        archives.unpack(archive(tmp_path, "x/passwd", link=True), tmp_path / "out")


def test_archives_have_a_reasonable_size(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 5)
    with pytest.raises(UserError, match="would unpack to 11 bytes, more than 5"):
        archives.unpack(archive(tmp_path, "x/y"), tmp_path / "out")


def test_a_broken_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match="is not a whole zip archive"):
        archives.unpack(tmp_path / "a.zip", tmp_path)


def test_bare_files_get_a_folder_of_the_archives_name(tmp_path):
    assert archives.unpack(archive(tmp_path, "1.png"), tmp_path / "out") == 1
    assert (tmp_path / "out" / "a" / "1.png").read_text() == "/etc/passwd"
