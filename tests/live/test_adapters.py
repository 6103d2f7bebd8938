"""Guarded clients of a real vLLM, which is the model here and not only the guard.

It answers nonsense, the same each time, so that what a guarded client delivers can be held against what the
bare one does.
"""

import asyncio
from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="the model is made with torch: run with .venv-vllm/bin/python")
pytest.importorskip("openai")

from openai import AsyncOpenAI, OpenAI

from guardreasoner_sdk import Guard, Policy, Task
from guardreasoner_sdk.errors import Blocked
from guardreasoner_sdk.testing import FakeClassifier
from tests.live.servers import SERVED_NAME, Server
from tests.sdk import guards

# How the model's tokenizer splits words is of no matter here: one model is enough.
pytestmark = [pytest.mark.vllm, pytest.mark.parametrize("model", ["whole"], indirect=True)]

TOKENS = 120
MESSAGES = [{"role": "user", "content": "How do I bake bread at home?"}]
OPTIONS = {"model": SERVED_NAME, "messages": MESSAGES, "max_tokens": TOKENS, "temperature": 0.0}


@pytest.fixture(params=["fake", "vllm"])
def any_guard(request: pytest.FixtureRequest, server: Server) -> Iterator[Guard]:
    """Guards that allow all this: one that finds nothing, and one on the same server, whatever it finds."""
    if request.param == "fake":
        made = guards.guard()
    else:
        never = Policy(thresholds={"prompt_harm": 1.0, "response_harm": 1.0})
        made = Guard(SERVED_NAME, url=server.url, depth="answer", policy=never, cache="off", deadline=120.0)
    with made:
        yield made


@pytest.fixture
def strict() -> Iterator[Guard]:
    """A guard that allows every request and no reply."""
    harmful = {Task.PROMPT_HARM: 0.01, Task.REFUSAL: 0.01, Task.RESPONSE_HARM: 0.99}
    with guards.guard(FakeClassifier(harmful)) as made:
        yield made


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="k", max_retries=0) as made:
        yield made


def said(client: OpenAI, **options: object) -> list[str]:
    completion = client.chat.completions.create(**{**OPTIONS, **options})  # type: ignore[call-overload]
    return [choice.message.content for choice in completion.choices]


def streamed(client: OpenAI, **options: object) -> dict[int, str]:
    texts: dict[int, str] = {}
    for chunk in client.chat.completions.create(**{**OPTIONS, **options}, stream=True):  # type: ignore[call-overload]
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return texts


def test_a_chat_is_what_the_bare_client_gives(client: OpenAI, any_guard: Guard) -> None:
    (bare,) = said(client)
    assert len(bare) > 200  # more than a first segment
    guarded = any_guard.wrap(client)
    assert said(guarded) == [bare]
    assert streamed(guarded) == {0: bare}


def test_several_choices_with_usage_and_log_probabilities_pass(client: OpenAI, any_guard: Guard) -> None:
    # Two choices have to be sampled; the seed makes them the same each time.
    more = {
        "n": 2,
        "temperature": 1.0,
        "seed": 7,
        "logprobs": True,
        "stream_options": {"include_usage": True},
    }
    bare = streamed(client, **more)
    assert set(bare) == {0, 1}
    assert streamed(any_guard.wrap(client), **more) == bare


def test_a_response_is_what_the_bare_client_gives(client: OpenAI, any_guard: Guard) -> None:
    options = {"model": SERVED_NAME, "input": "How do I bake bread?", "max_output_tokens": TOKENS}
    bare = client.responses.create(**options, temperature=0.0)  # type: ignore[call-overload]
    guarded = any_guard.wrap(client)
    whole = guarded.responses.create(**options, temperature=0.0)  # type: ignore[call-overload]
    assert whole.output_text == bare.output_text
    with guarded.responses.stream(**options, temperature=0.0) as stream:  # type: ignore[call-overload]
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text == bare.output_text


def test_of_a_harmful_reply_nothing_is_delivered(client: OpenAI, strict: Guard) -> None:
    guarded = strict.wrap(client)
    with pytest.raises(Blocked):
        said(guarded)
    stream = guarded.chat.completions.create(**OPTIONS, stream=True)  # type: ignore[call-overload]
    with pytest.raises(Blocked):
        next(iter(stream))


def test_an_async_client_is_guarded_alike(server: Server, client: OpenAI, any_guard: Guard) -> None:
    async def ask() -> str:
        async with AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0) as bare:
            guarded = any_guard.wrap(bare)
            text = ""
            stream = await guarded.chat.completions.create(**OPTIONS, stream=True)  # type: ignore[call-overload]
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
            return text

    assert asyncio.run(ask()) == said(client)[0]


def test_langchains_model_is_guarded_alike(server: Server, client: OpenAI, any_guard: Guard) -> None:
    langchain = pytest.importorskip("langchain_openai")
    httpx = pytest.importorskip("httpx")
    with httpx.Client() as connections:
        bare = langchain.ChatOpenAI(
            model=SERVED_NAME,
            base_url=server.url,
            api_key="k",
            max_retries=0,
            max_tokens=TOKENS,
            temperature=0.0,
            http_client=connections,
        )
        guarded = any_guard.wrap(bare)
        (expected,) = said(client)
        assert guarded.invoke(MESSAGES).content == expected
        assert "".join(chunk.content for chunk in guarded.stream(MESSAGES)) == expected
