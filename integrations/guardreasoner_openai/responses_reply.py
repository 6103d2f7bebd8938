"""What a response of the Responses API answers, and what stands in for one that is replaced."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from guardreasoner_openai.endpoints import JsonObject, Request
from guardreasoner_openai.responses_items import fields_of, item_parts, member_parts
from guardreasoner_sdk.conversation import Message, Part, Role
from guardreasoner_sdk.errors import UnsupportedContentError

# Said by the caller and given back, or set by the provider. Anything else counts as said by the model.
_NOT_ANSWERED: Final = frozenset(
    {"id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "usage"}
    | {"access_programs", "background", "context_management", "conversation", "image", "instructions"}
    | {"input_transformations", "max_output_tokens", "max_tool_calls", "metadata", "moderation"}
    | {"parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_diagnostics"}
    | {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning"}
    | {"safety_identifier", "service_tier", "store", "temperature", "text", "tool_choice", "tool_usage"}
    | {"tools", "top_logprobs", "top_p", "truncation", "user", "verbosity", "billing"}
)
_SETTINGS: Final = frozenset({"text", "reasoning"})
"""Objects among those; where a server has text there, it is the model's."""


def message_of(response: JsonObject) -> Message:
    """Everything that a response shows, as one message of the assistant; see `response_parts`."""
    return Message(Role.ASSISTANT, tuple(response_parts(response)))


def response_parts(response: object) -> Iterator[Part]:
    """Every text in a response: its output, its error, and whatever the server added to it.

    Raises:
        UnsupportedContentError: its output is no list of items.
        InvalidTextError: text that is not valid.
    """
    fields = fields_of(response, "response")
    output = fields.get("output") or ()  # some servers end a stream with a response that has none
    if isinstance(output, str) or not isinstance(output, Sequence):
        raise UnsupportedContentError(
            f"the response has a {type(output).__name__} as its output: it must be a list of items"
        )
    for n, item in enumerate(output):
        yield from item_parts(item, f"output[{n}]")
    yield from member_parts(fields, "response", but=frozenset({"output", *_not_answered(fields)}))


def _not_answered(fields: Mapping[str, object]) -> dict[str, object]:
    """What of a response the model has not said."""
    return {
        name: value
        for name, value in fields.items()
        if name in _NOT_ANSWERED and not (name in _SETTINGS and isinstance(value, str))
    }


def replaced_response(request: Request, answer: JsonObject | None, message: str) -> JsonObject:
    """An incomplete response that says `message` and nothing of what the model answered.

    Args:
        request: what was asked.
        answer: the response that it stands in for, where there is one; its usage is kept.
        message: what it says.
    """
    body = request.body
    response: JsonObject = {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": time.time(),
        "model": body.get("model", ""),
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "usage": None,
    }
    return {
        **response,
        **_not_answered(answer or {}),
        "status": "incomplete",
        "incomplete_details": {"reason": "content_filter"},
        "error": None,
        "output": [_message_item(message)],
    }


def replacing_events(whole: JsonObject, message: str, *, index: int, begun: bool) -> Iterator[JsonObject]:
    """The events of a stream that ends as `replaced_response`, without their numbers.

    Args:
        whole: the response.
        message: what it says.
        index: where among the output items the one that says it stands.
        begun: whether the stream has begun.
    """
    if not begun:
        begin = whole | {"status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        yield {"type": "response.created", "response": begin}
    done = _message_item(message)
    started = done | {"status": "in_progress", "content": []}
    item = {"output_index": index}
    part = item | {"item_id": done["id"], "content_index": 0}
    yield {"type": "response.output_item.added", **item, "item": started}
    yield {"type": "response.content_part.added", **part, "part": _text_part("")}
    yield {"type": "response.output_text.delta", **part, "delta": message, "logprobs": []}
    yield {"type": "response.output_text.done", **part, "text": message, "logprobs": []}
    yield {"type": "response.content_part.done", **part, "part": _text_part(message)}
    yield {"type": "response.output_item.done", **item, "item": done}
    yield {"type": "response.incomplete", "response": whole | {"output": [done]}}


def _message_item(message: str) -> JsonObject:
    return {
        "type": "message",
        "id": f"msg_{uuid.uuid4().hex}",
        "role": "assistant",
        "status": "completed",
        "phase": "commentary",  # no final answer, so that the library does not look for JSON in it
        "content": [_text_part(message)],
    }


def _text_part(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
