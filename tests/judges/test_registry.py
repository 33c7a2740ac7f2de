"""Backends are found without a list; every one of them meets the same conformance tests; an outside package works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rewards.judges
from rewards.errors import UserError
from rewards.judges import JudgeBackend, judge_backend, names, protocols, registry, resolve

EXAMPLE = Path(__file__).parent / "example_judge"
SHIPPED = {"openai", "anthropic", "local", "scripted", "rules"}


def test_all_shipped_backends_are_found():
    assert set(names()) >= SHIPPED


@pytest.mark.parametrize("name", names())
def test_every_backend_meets_the_conformance_suite(name, case, tmp_path):
    cls = registry.find(name)
    assert issubclass(cls, JudgeBackend) and cls.name == name and cls.__doc__
    model = ("honest" if name == "scripted" else "model-x") if cls.needs_model else ""
    backend = cls(model)
    request = protocols.load("events").request(*case())
    first = backend.payload(request)
    assert first == backend.payload(request), "the same request is sent the same way"
    assert request.user in str(first) or "reasoning" in str(first)
    assert "tissue" not in str(first).replace("tissue is", "").replace("tissue?", "") or cls.reads_context
    with pytest.raises(UserError, match=f"judge backend {name!r} has no setting 'no_such_setting'"):
        cls(model, no_such_setting=1)
    assert "_" not in {key[0] for key in backend.__getstate__()}, "live objects stay out of pickles"
    assert backend.identity()["backend"].startswith(f"{name}@")


def test_the_wrong_word_is_answered_with_the_right_one():
    with pytest.raises(UserError, match=r"no judge backend 'opanai' \(did you mean 'openai'\?\); known: "):
        resolve("opanai:gpt")
    for reference in ("", "openai:", ":", "a b:c"):
        with pytest.raises(UserError, match="cannot be read; write NAME, NAME:MODEL or NAME:MODEL@URL"):
            resolve(reference)


def test_a_reference_is_split_at_its_url_not_at_every_at_sign():
    judge = resolve("openai:org/model@2024:8b@http://127.0.0.1:8000/v1/")
    assert judge.backend.model == "org/model@2024:8b" and judge.backend.endpoint == "http://127.0.0.1:8000/v1"
    assert resolve("openai:ft:gpt-4o@2").backend.model == "ft:gpt-4o@2"


def test_two_backends_cannot_share_a_name():
    with pytest.raises(UserError, match="two judge backends are called 'openai'"):

        @judge_backend("openai")
        class Other(JudgeBackend):
            """Another one."""


def test_importing_judges_and_finding_backends_loads_no_sdk_and_no_tensor_library():
    heavy = "{'torch', 'transformers', 'trl', 'lm_eval', 'openai', 'anthropic'}"
    script = (
        "import sys, rewards, rewards.judges as j; j.resolve('openai:m'); j.resolve('anthropic:m'); "
        f"j.resolve('scripted:honest'); j.protocols.load('events'); print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_settings_are_split_between_stack_and_backend():
    judge = resolve("openai:m", temperature=0, concurrency=3)
    assert judge.backend.settings == {"temperature": 0} and judge.settings.concurrency == 3
    assert "concurrency" not in str(judge.identity()), "speed is no part of who judges"
    with pytest.raises(UserError, match="concurrency: Input should be greater than or equal to 1"):
        resolve("openai:m", concurrency=0)


def test_the_public_names_are_there():
    for name in rewards.judges.__all__:
        assert getattr(rewards.judges, name) is not None


def test_an_outside_package_is_installed_and_used(tmp_path):
    lines = sum(len(path.read_text().splitlines()) for path in EXAMPLE.iterdir() if path.is_file())
    assert lines < 40, "CONTRIBUTING promises a backend in under 40 lines"
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "keyword_judge.py"):  # a build writes beside its sources
        (source / name).write_text((EXAMPLE / name).read_text())
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", str(target), str(source)],
        check=True, capture_output=True, text=True,
    )
    program = tmp_path / "use.py"
    program.write_text(USE)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(EXAMPLE.parents[2])])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == [
        "True", "yes ['image_features', 'knowledge_cited']", "integrity 0.6 knowledge 1.0 cached True"
    ]
    assert "has no setting 'word_lenth' (did you mean 'word_length'?)" in done.stdout


USE = '''
import asyncio
import rewards.judges as judges
from rewards.errors import UserError
from rewards.types import Completion, Parsed, Sample

sample = Sample("phantom", "path", "1", "g", "Which?", ("fat", "bone"), 0, "diagnosis", image=None)
chain = "the image shows adipocytes, and knowledge of histology says fat"
parsed = Parsed(chain, "A) fat", True, dict.fromkeys(("strict", "letter", "omnimed"), "A"))
print("keyword" in judges.names())
protocol = judges.protocols.load("events", image=False)

async def main():
    async with judges.resolve("keyword", cache="cache.sqlite") as judge:
        for _ in range(2):
            judged = await protocol.judge(judge, sample, Completion(chain, "stop"), parsed)
    return judged

judged = asyncio.run(main())
print("yes", [name for name, yes in judged.values.items() if yes])
scores = judges.protocols.events.scores(judged.values)
print("integrity", scores["integrity"], "knowledge", scores["knowledge"], "cached", judged.detail["cached"])
try:
    judges.resolve("keyword", word_lenth=3)
except UserError as problem:
    print(problem)
'''
