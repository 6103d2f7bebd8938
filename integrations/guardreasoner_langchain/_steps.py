"""Hooks of a middleware, written once: a flow yields what it needs done, and one of two drivers does it."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage

from guardreasoner_langchain._exits import Exits, unscreenable
from guardreasoner_langchain.messages import conversation_of
from guardreasoner_sdk import Guard
from guardreasoner_sdk.conversation import Conversation
from guardreasoner_sdk.errors import InputError
from guardreasoner_sdk.outcomes import Outcome
from guardreasoner_sdk.policy import Stage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """Judge a request, or the reply to it. What cannot be screened is not allowed."""

    source: Conversation | Sequence[BaseMessage]
    response: object = None

    @property
    def stage(self) -> Stage:
        """Where in a call this is."""
        return Stage.REQUEST if self.response is None else Stage.RESPONSE

    def run(self, guard: Guard) -> Outcome:
        """The outcome."""
        try:
            return guard.check(self._asked(), response=self.response, stage=self.stage)
        except InputError as error:
            return unscreenable(error, self.stage)

    async def arun(self, guard: Guard) -> Outcome:
        """The outcome."""
        try:
            return await guard.acheck(self._asked(), response=self.response, stage=self.stage)
        except InputError as error:
            return unscreenable(error, self.stage)

    def _asked(self) -> Conversation:
        return self.source if isinstance(self.source, Conversation) else conversation_of(self.source)


@dataclass(frozen=True, slots=True)
class Handle:
    """Call the handler of a hook, which is async in an async hook."""

    handler: Callable[..., Any]
    request: object

    def run(self, _: Guard) -> Any:  # noqa: ANN401 -- what the handler of this hook gives
        """What the handler gives."""
        return self.handler(self.request)

    async def arun(self, _: Guard) -> Any:  # noqa: ANN401
        """What the handler gives."""
        awaited: Awaitable[Any] = self.handler(self.request)
        return await awaited


Flow = Generator[Ask | Handle, Any, T]
"""Yields steps, is sent their results, and returns what its hook returns."""


def asked(exits: Exits, ask: Ask) -> Flow[Outcome]:
    """Take one step, and say what is to be said where its outcome is not allowed."""
    outcome: Outcome = yield ask
    return exits.worded(outcome)


def run(flow: Flow[T], guard: Guard) -> T:
    """Take the steps of a flow, blocking."""
    try:
        step = next(flow)
        while True:
            try:
                result = step.run(guard)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


async def arun(flow: Flow[T], guard: Guard) -> T:
    """Take the steps of a flow without blocking the event loop."""
    try:
        step = next(flow)
        while True:
            try:
                result = await step.arun(guard)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
