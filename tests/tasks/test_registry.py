"""Tasks are found by being there: a file in `tasks.suites` or an entry point, and each has its lm-eval YAML."""

from importlib import metadata
from pathlib import Path

import pytest
import yaml

import tasks
from rewards.errors import UserError
from tasks import registry
from tasks.loaded import finish

FOLDER = Path(tasks.__file__).parent


@pytest.fixture
def scratch(monkeypatch):
    """A registry that forgets what a test records."""
    registry.names()
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))


def test_the_papers_tasks_come_first():
    assert tasks.names()[:5] == tasks.TASKS == ("path", "ct", "derm", "fundus", "oct")
    assert [registry.find(name).title for name in tasks.TASKS] == [
        "PathMMU", "Chest CT Scan", "ISIC2020", "Diabetic Retinopathy", "Retinal OCT-C8"]


def test_a_recorded_task_is_read_like_any_other(scratch, tmp_path, write_file):
    write_file(tmp_path / "liver.txt", "x")

    @registry.task("liver", "Liver set")
    def read(source, task, split=None, limit=None):
        assert (source, task, split, limit) == (tmp_path, "liver", "dev", 2)
        return finish([], [], "liverset")

    assert tasks.read("liver", tmp_path, split="dev", limit=2).suite == "liverset"
    assert tasks.names()[-1] == "liver"
    with pytest.raises(UserError, match=r"unknown task 'livr' \(did you mean 'liver'\?\)"):
        tasks.read("livr", tmp_path)


def test_two_readers_cannot_share_a_name(scratch):
    with pytest.raises(UserError, match="two tasks are called 'ct': 'Chest CT Scan' and 'Mine'"):
        registry.task("ct", "Mine")(lambda source, task, split=None, limit=None: None)


def test_an_outside_package_announces_its_task(scratch, monkeypatch, tmp_path):
    (tmp_path / "outside_spleen.py").write_text(
        "from tasks.registry import task\nfrom tasks.loaded import finish\n"
        "@task('spleen', 'Spleen')\ndef read(source, task, split=None, limit=None):\n"
        "    return finish([], [], 'spleenset')\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = {"spleen": metadata.EntryPoint("spleen", "outside_spleen", registry.GROUP),
              "torn": metadata.EntryPoint("torn", "no_such_module_here", registry.GROUP)}
    monkeypatch.setattr(registry, "_announced", lambda: points)
    assert tasks.names()[5:] == ("spleen", "torn")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").touch()
    assert tasks.read("spleen", tmp_path / "data").suite == "spleenset"
    with pytest.raises(UserError, match="task 'torn' is announced by 'no_such_module_here', which cannot be imported"):
        tasks.read("torn", tmp_path / "data")


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_has_its_yaml(name):
    text = (FOLDER / name / f"{name}.yaml").read_text()
    config = yaml.safe_load(text)
    assert config["task"] == name
    assert config["dataset_kwargs"] == {"pathvlm_task": name}
    assert (FOLDER / name / config["include"]).resolve() == FOLDER / "lm_eval_shared.yaml"
    assert registry.find(name).title in config["task_alias"]
