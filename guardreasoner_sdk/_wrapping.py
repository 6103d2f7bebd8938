"""Guarded calls: one flow for sync and async functions, and the shells around it."""

import asyncio
import contextlib
import contextvars
import functools
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from guardreasoner_sdk._drive import GuardFlow, arun_flow, perform, run_flow
from guardreasoner_sdk.conversation import Conversation, ConversationLike
from guardreasoner_sdk.delivery import closed, stream_async, stream_sync
from guardreasoner_sdk.errors import ConfigError, UnsupportedContentError
from guardreasoner_sdk.outcomes import Guarded, Outcome
from guardreasoner_sdk.policy import Action, Policy, Stage
from guardreasoner_sdk.replies import replies_of
from guardreasoner_sdk.streaming import Check, Gate, SegmentPlan

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

PROMPT_NAMES = ("prompt", "messages")
"""A parameter of one of these names is taken for the prompt when none is named."""


class Checker(Protocol):
    """What a wrapper needs of a guard."""

    @property
    def policy(self) -> Policy: ...
    def check(self, source: ConversationLike, *, response: object = None) -> Outcome: ...
    async def acheck(self, source: ConversationLike, *, response: object = None) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How calls of a function are guarded.

    Attributes:
        prompt: name of the parameter that holds the prompt or the messages.
        response: finds the reply, or the list of replies, in what the function returns.
        overlap: start the function while the request is being judged.
        side_effects: whether a call of the function has effects other than its cost.
        segments: when a stream is looked at.
    """

    prompt: str | None = None
    response: Callable[..., object] | None = None
    overlap: bool = False
    side_effects: bool = True
    segments: SegmentPlan = field(default_factory=SegmentPlan)


@dataclass(frozen=True, slots=True)
class _Check:
    guard: Checker
    source: ConversationLike
    response: object = None

    def run(self) -> Outcome:
        return self.guard.check(self.source, response=self.response)

    async def arun(self) -> Outcome:
        return await self.guard.acheck(self.source, response=self.response)


@dataclass(frozen=True, slots=True)
class _Call:
    call: Callable[[], Any]

    def run(self) -> Any:
        return self.call()

    async def arun(self) -> Any:
        return await self.call()


@dataclass(frozen=True, slots=True)
class _Overlapped:
    """Judge the request while the model is at work; its result counts only if the request may pass.

    A blocked async call is cancelled. A thread cannot be: a blocked sync call runs to its end unseen.
    """

    check: _Check
    call: Callable[[], Any]

    def run(self) -> tuple[Outcome, Callable[[], Any]]:
        pool = ThreadPoolExecutor(1, thread_name_prefix="guardreasoner-overlap")
        context = contextvars.copy_context()
        running = pool.submit(context.run, self.call)
        pool.shutdown(wait=False)
        return self.check.run(), running.result

    async def arun(self) -> tuple[Outcome, Callable[[], Any]]:
        running: asyncio.Future[Any] = asyncio.ensure_future(self.call())
        try:
            outcome = await self.check.arun()
        except BaseException:
            await _cancelled(running)
            raise
        if not outcome.allowed:
            await _cancelled(running)
        return outcome, lambda: running


async def _cancelled(running: "asyncio.Future[Any]") -> None:
    """Cancel a model call and see it end; what it raises or returns is of no interest any more."""
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def guarded_call(
    guard: Checker, call: Callable[[], Any], source: ConversationLike, options: CallOptions
) -> GuardFlow[Guarded[Any]]:
    """Judge the request, call the model, judge every reply."""
    outcomes: list[Outcome] = []
    if guard.policy.checks(Stage.REQUEST):
        check = _Check(guard, source)
        if options.overlap:
            outcome, call = yield from perform(_Overlapped(check, call))
        else:
            outcome = yield from perform(check)
        outcomes.append(outcome)
        if not outcome.allowed:
            return Guarded(None, tuple(outcomes))
    value: Any = yield from perform(_Call(call))
    if isinstance(value, AsyncIterator):
        return Guarded(agated_stream(guard, value, source, options), tuple(outcomes))
    if isinstance(value, Iterator):
        return Guarded(gated_stream(guard, value, source, options), tuple(outcomes))
    if guard.policy.checks(Stage.RESPONSE):
        for reply in _replies(value, options):
            outcome = yield from perform(_Check(guard, source, reply))
            outcomes.append(outcome)
            if not outcome.allowed:
                return Guarded(None, tuple(outcomes))
    return Guarded(value, tuple(outcomes))


def _replies(value: object, options: CallOptions) -> Sequence[object]:
    if options.response is None:
        return replies_of(value)
    found = options.response(value)
    replies: tuple[object, ...] = (found,)
    if isinstance(found, Sequence) and not isinstance(found, (str, Mapping)):
        replies = tuple(found)
    if not replies or any(reply is None for reply in replies):
        raise UnsupportedContentError(
            "response= found no reply in what the call returned: nothing was judged"
        )
    return replies


def handed_over(guarded: Guarded[T]) -> T:
    """The value of a guarded call, its replacement, or `Blocked`."""
    stopped = guarded.stopped_by
    return cast(T, guarded.value) if stopped is None else cast(T, stand_in(stopped))


def stand_in(outcome: Outcome) -> str:
    """The violation message of a replaced text.

    Raises:
        Blocked: the action is to block.
    """
    if outcome.decision.action is Action.REPLACE and outcome.decision.message is not None:
        return outcome.decision.message
    raise outcome.blocked()


def _shown(item: object) -> str:
    if isinstance(item, str):
        return item
    raise UnsupportedContentError(
        f"the stream yielded a {type(item).__name__}; only text can be judged as it streams: yield strings"
    )


def _text_gate(options: CallOptions) -> Gate[Any]:
    return Gate(options.segments, text_of=_shown, split=lambda text, at: (text[:at], text[at:]))


def _open_gate() -> Gate[Any]:
    """A gate through which every item, of any kind, leaves as it comes: only the request is to be judged."""
    return Gate(SegmentPlan(first=1, limit=1, slack=0, context=0), text_of=lambda _: " ")


def gated_stream(
    guard: Checker, chunks: Iterator[Any], source: ConversationLike, options: CallOptions
) -> Iterator[Any]:
    """The chunks of a reply, each delivered after a verdict over a prefix that holds it."""
    if not guard.policy.checks(Stage.RESPONSE):
        yield from chunks
        return
    last: list[Outcome] = []

    def judge(check: Check) -> bool:
        last[:] = [guard.check(source, response=check.text)]
        return last[0].allowed

    yield from stream_sync(chunks, judge, gate=_text_gate(options), blocked=lambda: [stand_in(last[0])])


async def agated_stream(
    guard: Checker,
    chunks: AsyncIterable[Any],
    source: ConversationLike,
    options: CallOptions,
    *,
    before: bool = False,
) -> AsyncIterator[Any]:
    """`gated_stream` for async streams.

    Args:
        before: judge the request, too, while the first chunks come in.
    """
    checked = guard.policy.checks(Stage.RESPONSE)
    if not checked and not before:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(closed, chunks)
            async for chunk in chunks:
                yield chunk
        return
    last: list[Outcome] = []

    async def judge_request() -> bool:
        last[:] = [await guard.acheck(source)]
        return last[0].allowed

    async def judge(check: Check) -> bool:
        if not checked:
            return True
        last[:] = [await guard.acheck(source, response=check.text)]
        return last[0].allowed

    gated = stream_async(
        chunks,
        judge,
        gate=_text_gate(options) if checked else _open_gate(),
        blocked=lambda: [stand_in(last[0])],
        before=judge_request if before else None,
    )
    async with contextlib.aclosing(gated):
        async for chunk in gated:
            yield chunk


def protected(guard: Checker, function: F, options: CallOptions) -> F:
    """Wrap a function so that its calls are guarded; the wrapper has its kind, name and signature.

    Raises:
        ConfigError: the prompt parameter is not there, or `overlap` cannot be had.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return cast(F, type(function)(protected(guard, function.__func__, options)))
    prompt = _prompt_finder(function, options.prompt)
    kind = called(function)
    asynchronous = inspect.iscoroutinefunction(kind) or inspect.isasyncgenfunction(kind)
    if options.overlap and not asynchronous and options.side_effects:
        raise ConfigError(
            f"overlap=True would start {_name(function)} before its prompt is judged, and a sync function "
            "cannot be cancelled: declare side_effects=False if a call has no effect but its cost, or leave "
            "overlap off"
        )

    if inspect.isasyncgenfunction(kind):

        @functools.wraps(function)
        async def agenerate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            source = prompt(args, kwargs)
            before = guard.policy.checks(Stage.REQUEST)
            if before and not options.overlap:
                outcome = await guard.acheck(source)
                if not outcome.allowed:
                    yield stand_in(outcome)
                    return
            chunks = cast("AsyncIterable[Any]", function(*args, **kwargs))
            gated = agated_stream(guard, chunks, source, options, before=before and options.overlap)
            async with contextlib.aclosing(cast("AsyncGenerator[Any]", gated)):
                async for chunk in gated:
                    yield chunk

        return cast(F, agenerate)

    if inspect.iscoroutinefunction(kind):

        @functools.wraps(function)
        async def acall(*args: Any, **kwargs: Any) -> object:
            flow = guarded_call(guard, lambda: function(*args, **kwargs), prompt(args, kwargs), options)
            return handed_over(await arun_flow(flow))

        return cast(F, acall)

    def call(*args: Any, **kwargs: Any) -> Any:
        flow = guarded_call(guard, lambda: function(*args, **kwargs), prompt(args, kwargs), options)
        return handed_over(run_flow(flow))

    if inspect.isgeneratorfunction(kind):

        @functools.wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            chunks = call(*args, **kwargs)
            yield from (chunks,) if isinstance(chunks, str) else chunks

        return cast(F, generate)

    return cast(F, functools.wraps(function)(call))


def called(function: Callable[..., object]) -> Callable[..., object]:
    """What a call runs, which shows its kind: of an object, the ``__call__`` of its class."""
    if inspect.isroutine(function) or isinstance(function, functools.partial):
        return function
    return type(function).__call__


def prompt_of(
    function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]
) -> ConversationLike:
    """The prompt among the arguments of one call of a function."""
    return _prompt_finder(function, None)(args, kwargs)


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", repr(function))


def _named(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _prompt_name(signature: inspect.Signature) -> str | None:
    """The parameter that must be the prompt; ``None`` where it would be a guess.

    It is the one named as prompts are, else the one that calls have to give, else the only one. A wrong guess
    would judge a user's id and let the question through.
    """
    usable = [p for n, p in enumerate(_named(signature)) if n > 0 or p.name not in ("self", "cls")]
    known = [p for p in usable if p.name in PROMPT_NAMES]
    required = [p for p in known or usable if p.default is p.empty]
    return next((few[0].name for few in (known, required, usable) if len(few) == 1), None)


def _prompt_finder(
    function: Callable[..., object], name: str | None
) -> Callable[[Sequence[object], Mapping[str, object]], Conversation]:
    """How to find the prompt among the arguments of a call."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{_name(function)} has no signature to find the prompt in") from error
    if name is None:
        # What a partial has bound by position is gone from its signature, and may have been the prompt.
        whole = inspect.signature(function.func) if isinstance(function, functools.partial) else signature
        name = _prompt_name(whole)
    chosen = name
    if chosen is None or chosen not in (parameter.name for parameter in _named(signature)):
        lacking = (
            f"has no parameter {chosen!r}"
            if chosen is not None
            else "has no parameter that must be the prompt"
        )
        raise ConfigError(
            f"{_name(function)}{signature} {lacking}: name the one that holds it with protect(prompt=...)"
        )

    def find(args: Sequence[object], kwargs: Mapping[str, object]) -> Conversation:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        # Taken once: a function that adds to its messages does not change what its reply is judged with.
        return Conversation.of(bound.arguments[chosen])

    return find
