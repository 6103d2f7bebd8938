"""Find the assistant's replies in whatever a model call returns, by shape."""

from collections.abc import Iterator, Mapping, Sequence

from guardreasoner_sdk.conversation import OPAQUE_FIELDS, TEXT_FIELDS, field_of
from guardreasoner_sdk.errors import UnsupportedContentError

_CALLS = ("tool_calls", "invalid_tool_calls", "tool_call_chunks", "function_call")
_SILENT = frozenset({"id", "index", "name", "role", "signature", "tool_call_id", "type"})
"""Fields of a message that say nothing, wherever in it they stand."""


def replies_of(value: object) -> tuple[object, ...]:
    """Every reply in the value of a model call, each a string or an assistant message.

    Understands a string; a message (mapping or object with ``role`` or LangChain's ``type``, which
    Anthropic's responses are, too); a completion with ``choices``, each with a ``message`` or ``text``
    (OpenAI, LiteLLM); a ``message`` or, beside ``done``, a ``response`` (Ollama); and one result or a list of
    them with ``outputs``, each with ``text`` (vLLM). Every choice and every output counts, and what a server
    adds to the ``message`` of one.

    Raises:
        UnsupportedContentError: anything else. A reply that cannot be found is not passed on unjudged.
    """
    if isinstance(value, str):
        return (value,)
    choices = field_of(value, "choices")
    if isinstance(choices, Sequence) and not isinstance(choices, (str, bytes)) and choices:
        return tuple(reply for choice in choices for reply in _choice(choice))
    message = field_of(value, "message")
    if message is not None and not isinstance(message, str):
        return _with_unread(message)
    response, done = field_of(value, "response"), field_of(value, "done")
    if isinstance(response, str) and isinstance(done, bool):
        return ({"role": "assistant", "content": response, "thinking": field_of(value, "thinking")},)
    results = value if isinstance(value, list) else [value]
    if results and all(_outputs(result) for result in results):
        return tuple(reply for result in results for output in _outputs(result) for reply in _choice(output))
    if isinstance(field_of(value, "role"), str) or (
        field_of(value, "content") is not None and isinstance(field_of(value, "type"), str)
    ):
        return (value,)
    raise UnsupportedContentError(
        f"the call returned a {type(value).__name__}, in which no reply to judge was recognised: return text "
        "or a message, or tell the guard where the reply is with response=lambda value: ..."
    )


def _outputs(result: object) -> Sequence[object]:
    outputs = field_of(result, "outputs")
    return outputs if isinstance(outputs, Sequence) and not isinstance(outputs, (str, bytes)) else ()


def _choice(choice: object) -> Sequence[object]:
    message = field_of(choice, "message")
    if message is not None:
        return _with_unread(message)
    text = field_of(choice, "text")
    if isinstance(text, str):
        return (text,)
    raise UnsupportedContentError(
        "a choice or output of the completion has neither a message nor text: nothing to judge"
    )


def _with_unread(message: object) -> tuple[object, ...]:
    text = unread_text(message)
    return (message, text) if text else (message,)


def unread_text(message: object) -> str:
    """The text in fields of a message that no `Conversation` reads: what nobody knows counts as said.

    Servers repeat there what they say elsewhere; what stands in a field that is read is left out.
    """
    read = {"content", "additional_kwargs", *TEXT_FIELDS, *OPAQUE_FIELDS, *_CALLS}
    fields = _fields(message)
    said = "\n".join(_strings([fields.get(name) for name in ("content", *TEXT_FIELDS)]))
    others = {name: value for name, value in fields.items() if name not in read}
    return "\n".join(dict.fromkeys(text for text in _strings(others) if text not in said))


def _fields(value: object) -> Mapping[str, object]:
    """The fields of a mapping or of an object, with what a server added to them."""
    if isinstance(value, Mapping):
        return value
    own = getattr(value, "__dict__", None) or {}
    added = getattr(value, "__pydantic_extra__", None) or {}
    return {name: field for name, field in {**own, **added}.items() if not name.startswith("_")}


def _strings(value: object) -> Iterator[str]:
    """Every text in a value, but in fields that say nothing."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        for item in value:
            yield from _strings(item)
    elif value is not None:
        for name, item in _fields(value).items():
            if name not in _SILENT:
                yield from _strings(item)
