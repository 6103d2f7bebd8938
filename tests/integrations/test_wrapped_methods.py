"""`Guard.wrap` around methods of real clients, of which it knows nothing but the shapes of what they give."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from guardreasoner_sdk.errors import Blocked
from guardreasoner_sdk.testing import FakeClassifier
from tests.integrations.upstream import Reply, ToolCall, Upstream
from tests.sdk.guards import classifier, guard

FINE = "".join(f"w{n:04}{'.' if n % 10 == 9 else ' '}" for n in range(200))
HARMFUL = FINE + "HARM. " + FINE


def said(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(upstream: Upstream) -> Iterator[OpenAI]:
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as made:
        yield made


def plain(upstream: Upstream, prompt: str) -> str:
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        create = guard().wrap(client.chat.completions.create)
        return create(model="m", messages=said(prompt)).choices[0].message.content or ""


def streamed(upstream: Upstream, prompt: str) -> str:
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        create = guard().wrap(client.chat.completions.create)
        chunks = create(model="m", messages=said(prompt), stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def async_plain(upstream: Upstream, prompt: str) -> str:
    async def main() -> str:
        async with AsyncOpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
            create = guard().wrap(client.chat.completions.create)
            completion = await create(model="m", messages=said(prompt))
            return completion.choices[0].message.content or ""

    return asyncio.run(main())


def async_streamed(upstream: Upstream, prompt: str) -> str:
    async def main() -> str:
        async with AsyncOpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
            create = guard().wrap(client.chat.completions.create)
            chunks = await create(model="m", messages=said(prompt), stream=True)
            assert isinstance(chunks, AsyncIterator)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    return asyncio.run(main())


def langchain(upstream: Upstream, prompt: str) -> str:
    with httpx.Client() as http:
        model = ChatOpenAI(model="m", base_url=upstream.url, api_key="k", max_retries=0, http_client=http)
        chunks = guard().wrap(model.stream)(prompt)
        return "".join(chunk.text for chunk in chunks)


WAYS = [plain, streamed, async_plain, async_streamed, langchain]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@ways
def test_what_is_allowed_comes_through(way: Callable[[Upstream, str], str], upstream: Upstream) -> None:
    upstream.reply(Reply(FINE))
    assert way(upstream, "hello") == FINE


@ways
def test_a_harmful_prompt_never_reaches_the_model(
    way: Callable[[Upstream, str], str], upstream: Upstream
) -> None:
    with pytest.raises(Blocked):
        way(upstream, "HARM")
    assert upstream.calls == ()


@ways
def test_a_harmful_reply_is_blocked(way: Callable[[Upstream, str], str], upstream: Upstream) -> None:
    upstream.reply(Reply(HARMFUL))
    with pytest.raises(Blocked):
        way(upstream, "hello")


def read(
    client: OpenAI, see: Callable[[ChatCompletionChunk], None], *, judged_by: FakeClassifier, n: int = 1
) -> None:
    """Ask, and look at each chunk as it comes."""
    create = guard(judged_by).wrap(client.chat.completions.create)
    for chunk in create(model="m", messages=said("hello"), n=n, stream=True):
        see(chunk)


def test_no_chunk_leaves_before_its_text_was_judged(client: OpenAI, upstream: Upstream) -> None:
    upstream.reply(Reply(HARMFUL, chunk=6))
    engine = classifier()
    shown: list[str] = []

    def see(chunk: ChatCompletionChunk) -> None:
        shown.append(chunk.choices[0].delta.content or "")
        assert any("".join(shown) in (request.response or "") for request in engine.requests)

    with pytest.raises(Blocked):
        read(client, see, judged_by=engine)
    assert shown
    assert "HARM" not in "".join(shown)


def test_every_choice_of_a_stream_is_judged_by_itself(client: OpenAI, upstream: Upstream) -> None:
    upstream.reply(Reply(FINE, others=[Reply("Another HARM.")]))
    shown = {0: "", 1: ""}

    def see(chunk: ChatCompletionChunk) -> None:
        for choice in chunk.choices:
            shown[choice.index] += choice.delta.content or ""

    with pytest.raises(Blocked):
        read(client, see, judged_by=classifier(), n=2)
    assert FINE.startswith(shown[0])
    assert shown[1] == ""


def test_nothing_of_a_streamed_tool_call_is_seen_before_all_of_it_was_judged(
    client: OpenAI, upstream: Upstream
) -> None:
    upstream.reply(Reply(None, tool_calls=[ToolCall("send", json.dumps({"text": "a long text, HARM"}))]))
    seen: list[object] = []

    def see(chunk: ChatCompletionChunk) -> None:
        seen.extend(choice.delta.tool_calls for choice in chunk.choices if choice.delta.tool_calls)

    with pytest.raises(Blocked):
        read(client, see, judged_by=classifier())
    assert seen == []
