"""The real SDKs of both vendors against the local server, image included."""

import asyncio
import base64
import io
import json

import pytest
from PIL import Image

from rewards.errors import UserError
from rewards.judges import protocols, resolve

VENDORS = {"openai": "openai:gpt-test@{url}/v1", "anthropic": "anthropic:claude-test@{url}"}


@pytest.fixture(params=sorted(VENDORS))
def vendor(request):
    return request.param


def ask_one(reference, case, protocol, **settings):
    async def run():
        async with resolve(reference, **settings) as judge:
            return await protocol.judge(judge, *case)

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["events", "paper", "quality"])
def test_each_protocol_gets_its_verdict_with_image_over_the_wire(vendor, name, judge_server, case, keys):
    with judge_server.JudgeServer(key=keys[0] if vendor == "openai" else keys[1]) as server:
        protocol = protocols.load(name)
        judged = ask_one(VENDORS[vendor].format(url=server.url), case(), protocol)
    assert judged.failure is None
    assert set(judged.values) == set(protocol.expect().names)
    assert judged.detail["model"].endswith("-served"), "the id the server returned is recorded, not the one asked for"
    assert judged.detail["tokens_in"] > 0 and judged.detail["calls"] == 1
    assert server.stats()["images"] == 1
    if name == "events":
        assert judged.detail["unquoted"] == [], "the server quotes the chain"


def test_what_is_sent_is_the_system_rules_one_json_value_the_image_and_the_schema(vendor, judge_server, case, keys):
    with judge_server.JudgeServer() as server:
        protocol = protocols.load("events")
        sample, completion, parsed = case()
        ask_one(VENDORS[vendor].format(url=server.url), (sample, completion, parsed), protocol)
        body = server.bodies[-1]
    if vendor == "openai":
        system, user = body["messages"]
        assert [system["role"], user["role"]] == ["system", "user"]
        assert system["content"] == protocol.system()
        picture, text = user["content"]
        raw = base64.b64decode(picture["image_url"]["url"].partition("base64,")[2])
        assert body["response_format"]["json_schema"]["schema"] == protocol.schema()
    else:
        assert body["system"] == protocol.system()
        (user,) = body["messages"]
        picture, text = user["content"]
        raw = base64.b64decode(picture["source"]["data"])
        assert body["output_config"]["format"]["schema"] == protocol.schema()
    assert raw == sample.image.read()
    assert json.loads(text["text"])["reasoning"] == parsed.think
    assert "facts" not in json.dumps(body) and sample.id not in json.dumps(body), "context and ids stay here"


def test_no_image_when_the_protocol_says_so_and_a_large_one_is_made_smaller(vendor, judge_server, case, keys):
    with judge_server.JudgeServer() as server:
        reference = VENDORS[vendor].format(url=server.url)
        ask_one(reference, case(), protocols.load("paper", image=False))
        assert server.stats()["images"] == 0
        ask_one(reference, case(), protocols.load("paper", image_max_side=28))
        content = server.bodies[-1]["messages"][-1]["content"][0]
    data = content["source"]["data"] if vendor == "anthropic" else content["image_url"]["url"].partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as sent:
        assert max(sent.size) == 28


def test_settings_that_a_backend_lacks_are_refused():
    with pytest.raises(UserError, match=r"judge 'anthropic' has no setting 'temperature'"):
        resolve("anthropic:claude-test", temperature=0)
    with pytest.raises(UserError, match=r"no setting 'temprature' \(did you mean 'temperature'\?\)"):
        resolve("openai:gpt-test", temprature=0)
    with pytest.raises(UserError, match="needs a model"):
        resolve("openai")


def test_sampling_settings_are_sent_and_change_the_cache_key(judge_server, case, keys):
    with judge_server.JudgeServer() as server:
        reference = VENDORS["openai"].format(url=server.url)
        ask_one(reference, case(), protocols.load("paper"), temperature=0, seed=7)
        assert server.bodies[-1]["temperature"] == 0 and server.bodies[-1]["seed"] == 7
    request = protocols.load("paper").request(*case())
    hashes = {
        resolve("openai:m").key(request), resolve("openai:m", temperature=0).key(request),
        resolve("openai:m@http://127.0.0.1:9/v1").key(request), resolve("openai:n").key(request),
        resolve("anthropic:m").key(request),
        resolve("openai:m").key(protocols.load("paper").request(*case(), repeat=1)),
        resolve("openai:m").key(protocols.load("paper", image=False).request(*case())),
        resolve("openai:m").key(protocols.load("paper", show="neither").request(*case())),
    }
    assert len(hashes) == 8, "everything that can change a reply is part of its key"


def test_a_url_with_a_secret_is_refused():
    for url in ("http://user:pass@host/v1", "http://host/v1?api_key=abc"):
        with pytest.raises(UserError, match="keys come only from the environment") as caught:
            resolve(f"openai:m@{url}")
        assert "pass" not in str(caught.value).replace("password", "") and "abc" not in str(caught.value)


def test_a_base_url_from_the_environment_is_used_and_checked(judge_server, case, keys, monkeypatch):
    with judge_server.JudgeServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1/")
        judged = ask_one("openai:gpt-test", case(), protocols.load("paper"))
        assert judged.failure is None and server.requests == 1
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://user:secret@127.0.0.1:9")
    with pytest.raises(UserError, match="must be plain") as caught:
        ask_one("anthropic:claude-test", case(), protocols.load("paper"))
    assert "secret" not in str(caught.value)


def test_without_a_key_the_vendor_itself_is_not_asked(case, monkeypatch):
    for vendor in ("openai", "anthropic"):
        monkeypatch.delenv(f"{vendor.upper()}_API_KEY", raising=False)
        monkeypatch.delenv(f"{vendor.upper()}_BASE_URL", raising=False)
        with pytest.raises(UserError, match=f"{vendor.upper()}_API_KEY is not set"):
            ask_one(f"{vendor}:m", case(), protocols.load("paper"))


def test_an_unknown_model_is_a_users_mistake(vendor, judge_server, case, keys):
    with judge_server.JudgeServer() as server, pytest.raises(UserError, match="knows no model 'gpt-typo'"):
        ask_one(f"{vendor}:gpt-typo@{server.url}/nothing/here", case(), protocols.load("paper"))


def test_a_second_event_loop_gets_a_client_of_its_own(vendor, judge_server, case, keys):
    with judge_server.JudgeServer() as server:
        judge = resolve(VENDORS[vendor].format(url=server.url))
        for n in range(2):

            async def once(n=n):
                judged = await protocols.load("paper").judge(judge, *case(chain=f"chain {n}"))
                await judge.backend.aclose()
                return judged

            assert asyncio.run(once()).failure is None
        assert server.requests == 2
