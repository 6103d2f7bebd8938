"""Protected functions: where the prompt is among their arguments, and wrappers of their own kind."""

import contextlib
import functools
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from guardreasoner_sdk._drive import GuardFlow, arun_flow, run_flow
from guardreasoner_sdk._exchange import (
    Checker,
    Gating,
    agated,
    gated,
    guarded_exchange,
    handed_over,
    stand_in,
)
from guardreasoner_sdk.conversation import Conversation, ConversationLike
from guardreasoner_sdk.errors import ConfigError, UnsupportedContentError
from guardreasoner_sdk.outcomes import Guarded
from guardreasoner_sdk.policy import Stage
from guardreasoner_sdk.replies import replies_of
from guardreasoner_sdk.streaming import SegmentPlan, text_gate

F = TypeVar("F", bound=Callable[..., object])

PROMPT_NAMES = ("prompt", "messages")
"""A parameter of one of these names is taken for the prompt when none is named."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How calls of a function are guarded.

    Attributes:
        prompt: name of the parameter that holds the prompt or the messages.
        response: finds the reply, or the list of replies, in what the function returns.
        overlap: start the function while the request is being judged; ``None``: as suits the caller.
        side_effects: whether a call of the function has effects other than its cost.
        segments: when a stream is looked at.
    """

    prompt: str | None = None
    response: Callable[..., object] | None = None
    overlap: bool | None = None
    side_effects: bool = True
    segments: SegmentPlan = field(default_factory=SegmentPlan)


def guarded_call(
    guard: Checker, call: Callable[[], Any], source: ConversationLike, options: CallOptions
) -> GuardFlow[Guarded[Any]]:
    """Judge the request, call the function, judge every reply; a stream is judged as it is read."""

    def replies(value: object) -> Sequence[object]:
        return () if isinstance(value, (Iterator, AsyncIterator)) else _replies(value, options)

    guarded = yield from guarded_exchange(guard, call, source, overlap=bool(options.overlap), replies=replies)
    if isinstance(guarded.value, AsyncIterator):
        return replace(guarded, value=agated(guard, guarded.value, source, _text_gating(options)))
    if isinstance(guarded.value, Iterator):
        return replace(guarded, value=gated(guard, guarded.value, source, _text_gating(options)))
    return guarded


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


def _text_gating(options: CallOptions) -> Gating:
    gate = text_gate(options.segments, text_of=_shown)
    return Gating(gate, stopped=lambda outcome: [stand_in(outcome)])


def _shown(item: object) -> str:
    if isinstance(item, str):
        return item
    raise UnsupportedContentError(
        f"the stream yielded a {type(item).__name__}; only text can be judged as it streams: yield strings"
    )


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
            how = _text_gating(options)
            gated_chunks = agated(guard, chunks, source, how, before=before and bool(options.overlap))
            async with contextlib.aclosing(gated_chunks):
                async for chunk in gated_chunks:
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
