"""Agents for the tests of the middleware: real clients of the fake provider, tools that record what ran."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from guardreasoner_langchain.middleware import GuardMiddleware
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from guardreasoner_sdk import Guard
from guardreasoner_sdk.testing import FakeClassifier
from tests.integrations.upstream import Upstream
from tests.sdk import guards

T = TypeVar("T")

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


class Rig:
    """A guard whose judge is recorded, a model, tools, and a way to run what is made of them.

    Attributes:
        ran: (tool, argument) of each call that ran.
        results: what the tool gives for an argument, else ``found <argument>``.
    """

    def __init__(self, upstream: Upstream, runner: asyncio.Runner | None) -> None:
        self.upstream = upstream
        self.judged = guards.classifier()
        self.guard = guards.guard(self.judged)
        self.ran: list[tuple[str, str]] = []
        self.results: dict[str, Any] = {}
        self._runner = runner
        self._client = httpx.Client()
        self._async_client = httpx.AsyncClient()

    # -- what it is made of

    def model(self, name: str = "m", **options: Any) -> ChatOpenAI:
        return ChatOpenAI(
            model=name,
            base_url=self.upstream.url,
            api_key="k",
            max_retries=0,
            http_client=self._client,
            http_async_client=self._async_client,
            **options,
        )

    @property
    def tools(self) -> list[Callable[..., Any]]:
        def lookup(query: str) -> Any:
            """Look something up."""
            self.ran.append(("lookup", query))
            return self.results.get(query, f"found {query}")

        def write(text: str) -> Any:
            """Write something down."""
            self.ran.append(("write", text))
            return self.results.get(text, f"wrote {text}")

        return [lookup, write]

    def agent(
        self,
        middleware: Sequence[AgentMiddleware[Any, Any]] | None = None,
        *,
        tools: Sequence[Any] | None = None,
        model: Any = None,
        **options: Any,
    ) -> Any:
        """An agent with a checkpointer; `middleware` is the guard's alone unless given."""
        return create_agent(
            self.model() if model is None else model,
            self.tools if tools is None else tools,
            middleware=[GuardMiddleware(self.guard)] if middleware is None else middleware,
            checkpointer=InMemorySaver(),
            **options,
        )

    # -- how it is run

    def ask(self, agent: Any, what: Any) -> dict[str, Any]:
        """One turn: a prompt, an input, or a command, on the one thread there is."""
        given = {"messages": [("user", what)]} if isinstance(what, str) else what
        answer: dict[str, Any] = (
            self.run(agent.ainvoke(given, THREAD)) if self.asynchronous else agent.invoke(given, THREAD)
        )
        return answer

    @property
    def asynchronous(self) -> bool:
        return self._runner is not None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the one event loop there is."""
        assert self._runner is not None
        return self._runner.run(work)

    # -- what became of it

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        """(prompt, response) of everything that was judged, without white space around."""
        return [(each.prompt, each.response and each.response.strip()) for each in self.judged.requests]

    def shown_to_model(self, number: int) -> list[Mapping[str, Any]]:
        """The messages of the n-th request to the model."""
        messages = self.upstream.calls[number - 1].body["messages"]
        assert isinstance(messages, list)
        return messages

    def close(self) -> None:
        self._client.close()
        if self._runner is not None:
            self._runner.run(self._async_client.aclose())
        self.guard.close()


@contextmanager
def rig(upstream: Upstream, *, asynchronous: bool) -> Iterator[Rig]:
    if not asynchronous:
        made = Rig(upstream, None)
        try:
            yield made
        finally:
            made.close()
        return
    with asyncio.Runner() as runner:
        made = Rig(upstream, runner)
        try:
            yield made
        finally:
            made.close()


def told(messages: Sequence[BaseMessage]) -> list[tuple[str, str]]:
    """(type, text) of messages."""
    return [(message.type, message.text) for message in messages]


def history(agent: Any) -> list[tuple[str, str]]:
    """What the next turn would begin with."""
    return told(agent.get_state(THREAD).values["messages"])


__all__ = ["THREAD", "FakeClassifier", "Guard", "Rig", "history", "rig", "told"]
