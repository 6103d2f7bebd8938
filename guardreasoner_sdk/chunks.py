"""What a chunk of a streamed reply says, by shape: the streaming twin of `replies`.

Foreign chunks, objects or mappings, are recognised and never imported. What is not recognised is an error:
a chunk whose text was not found would leave unjudged.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guardreasoner_sdk.conversation import CALL_TYPES, OPAQUE_FIELDS, TEXT_FIELDS, TEXT_TYPES, field_of
from guardreasoner_sdk.errors import UnsupportedContentError
from guardreasoner_sdk.replies import unread_text

_ASSISTANT = frozenset({"assistant", "ai", "AIMessageChunk"})
_EVENTS_WITHOUT_TEXT = frozenset({"content_block_stop", "message_delta", "message_stop", "ping", "error"})
_DELTA_TYPES = frozenset(
    {"text_delta", "thinking_delta", "citations_delta", "signature_delta", "summary_text"}
)
_CALL_DELTA_TYPES = frozenset({"input_json_delta", "tool_call_chunk"})


@dataclass(frozen=True, slots=True)
class Piece:
    """What a chunk adds to one of the replies that its stream carries.

    Attributes:
        reply: which reply, the index of a choice; 0 where a stream carries only one.
        text: the text it adds, in the order in which it shows.
        held: whether it is part of a tool call, which is nothing before it is whole.
    """

    reply: int
    text: str
    held: bool


def pieces_of(chunk: object) -> tuple[Piece, ...]:
    """What a chunk adds, one piece for each reply it speaks of; none for a record of usage.

    Understands a string; chunks with ``choices``, each with a ``delta`` or ``text`` (OpenAI, LiteLLM);
    Anthropic's stream events; chunks with a ``message`` or, beside ``done``, a ``response`` (Ollama); and
    pieces of an assistant message (LangChain's ``AIMessageChunk``). Text is content, refusals, reasoning and
    what a server adds to a delta; a tool call is its name and the pieces of its arguments.

    Raises:
        UnsupportedContentError: anything else, and audio and images.
    """
    if isinstance(chunk, str):
        return (Piece(0, chunk, held=False),)
    choices = field_of(chunk, "choices")
    if isinstance(choices, Sequence) and not isinstance(choices, (str, bytes)):
        return tuple(_choice(choice, n) for n, choice in enumerate(choices))
    text, held = _single(chunk)
    return (Piece(0, text, held),)


def single_choices(chunk: object) -> Sequence[object]:
    """The chunk as chunks of one choice each, since a choice may leave when another may not yet.

    Raises:
        UnsupportedContentError: it has several, and cannot be copied with one.
    """
    choices = field_of(chunk, "choices")
    if not isinstance(choices, Sequence) or len(choices) < 2:
        return (chunk,)
    return [_with_choices(chunk, [choice]) for choice in choices]


def _with_choices(chunk: object, choices: list[object]) -> object:
    if isinstance(chunk, Mapping):
        return {**chunk, "choices": choices}
    twin = copy.copy(chunk)
    try:
        setattr(twin, "choices", choices)  # noqa: B010  (an object of any class)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnsupportedContentError(
            f"a streamed {type(chunk).__name__} has several choices and takes no other: ask for one (n=1)"
        ) from error
    return twin


def _choice(choice: object, position: int) -> Piece:
    index = field_of(choice, "index")
    reply = index if isinstance(index, int) else position
    for name in ("delta", "message"):
        if (message := field_of(choice, name)) is not None:
            return Piece(reply, *_open_message(message))
    text = field_of(choice, "text")
    if isinstance(text, str):
        return Piece(reply, text, held=False)
    if any(field_of(choice, name) is not None for name in ("finish_reason", "content_filter_results")):
        return Piece(reply, "", held=False)  # the end of the choice, or what Azure's filter found in it
    raise UnsupportedContentError(
        "a choice of a streamed chunk has neither a delta nor text: nothing to judge"
    )


def _single(chunk: object) -> tuple[str, bool]:
    kind, role = (_name(field_of(chunk, name)) for name in ("type", "role"))
    if kind == "message_start":
        return _message(field_of(chunk, "message"))
    if kind == "content_block_start":
        return _part(field_of(chunk, "content_block"))
    if kind == "content_block_delta":
        return _part(field_of(chunk, "delta"))
    if kind in _EVENTS_WITHOUT_TEXT:
        return "", False
    if kind in _ASSISTANT or role in _ASSISTANT:
        return _message(chunk)
    message = field_of(chunk, "message")
    if message is not None and not isinstance(message, str):
        return _open_message(message)
    response = field_of(chunk, "response")
    if isinstance(response, str) and isinstance(field_of(chunk, "done"), bool):
        return _string(field_of(chunk, "thinking")) + response, False
    named = f" of type {kind!r}" if kind else ""
    raise UnsupportedContentError(
        f"the stream yielded a {type(chunk).__name__}{named}, in which no text to judge was recognised: "
        "yield strings, or give the guard the text of an item with response=lambda item: ... ('' for none)"
    )


def _open_message(message: object) -> tuple[str, bool]:
    """What a message adds to which servers may add fields of their own."""
    text, held = _message(message)
    return unread_text(message) + text, held


def _message(message: object) -> tuple[str, bool]:
    """What a piece of a message, or a whole one, adds.

    The same call may stand in a field of its own, in the extras and in the content; once is enough.
    """
    beside: dict[str, None] = {}  # servers that renamed a field send the same text in both
    calls: list[str] = []
    for holder in (message, field_of(message, "additional_kwargs")):
        beside |= dict.fromkeys(_string(field_of(holder, name)) for name in TEXT_FIELDS)
        if any(field_of(holder, name) for name in OPAQUE_FIELDS):
            raise UnsupportedContentError(
                "the stream yielded audio or images, which a text guard cannot judge"
            )
        calls = calls or _calls(holder)
    content = field_of(message, "content")
    parts = [_part(part) for part in ((content,) if isinstance(content, str) else _list(content))]
    said = ["".join(beside), *(text for text, held in parts if not (held and calls)), *calls]
    return "".join(said), bool(calls) or any(held for _, held in parts)


def _calls(holder: object) -> list[str]:
    """The calls in the fields of a message: LangChain's pieces, of which it makes whole calls as it goes."""
    for names in (("tool_call_chunks",), ("tool_calls", "invalid_tool_calls")):
        if calls := [_call(call) for name in names for call in _list(field_of(holder, name))]:
            return calls
    single = field_of(holder, "function_call")
    return [] if single is None else [_call(single)]


def _part(part: object) -> tuple[str, bool]:
    """What a part of a content, or a delta of one, adds."""
    if isinstance(part, str):
        return part, False
    kind = _name(field_of(part, "type"))
    if kind in CALL_TYPES | _CALL_DELTA_TYPES:
        return _call(part), True
    if kind is None or kind not in TEXT_TYPES | _DELTA_TYPES:
        raise UnsupportedContentError(
            f"the stream yielded a part of type {kind!r}, in which no text to judge was recognised"
        )
    if kind == "signature_delta":
        return "", False
    names = dict.fromkeys(("text", kind.removesuffix("_delta"), "summary"))
    quoted = field_of(field_of(part, "citation"), "cited_text")
    return "".join(map(_string, (*(field_of(part, name) for name in names), quoted))), False


def _call(call: object) -> str:
    """A tool call, or a piece of one, as text: the pieces together read ``name(arguments``."""
    body = next((b for key in ("function", "custom") if (b := field_of(call, key)) is not None), call)
    name = field_of(body, "name")
    names = ("arguments", "args", "input", "partial_json")
    arguments = next((found for key in names if (found := field_of(body, key)) is not None), None)
    if not isinstance(arguments, str):
        try:
            arguments = json.dumps(arguments, ensure_ascii=False) if arguments else ""
        except (TypeError, ValueError) as error:
            raise UnsupportedContentError(
                f"the arguments of a streamed tool call are not JSON: {error}"
            ) from error
    return f"\n{_string(name)}({arguments}" if name else arguments


def _list(value: object) -> Sequence[object]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise UnsupportedContentError(
            f"a streamed chunk holds a {type(value).__name__} where a list is expected"
        )
    return value


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _string(value: object) -> str:
    """A text, a part that is text, or a list of such parts."""
    if value is None or isinstance(value, str):
        return value or ""
    parts = value if isinstance(value, Sequence) else (value,)
    return "".join(_part(part)[0] for part in parts)
