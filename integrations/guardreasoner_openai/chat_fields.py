"""Which fields of chat completions say nothing. What is not known to say nothing is judged as text."""

from collections.abc import Iterator, Mapping
from typing import Final

from guardreasoner_openai.endpoints import JsonObject, strings

READ: Final = frozenset(
    {
        "audio",
        "content",
        "function_call",
        "images",
        "reasoning",
        "reasoning_content",
        "refusal",
        "role",
        "thinking",
        "tool_calls",
    }
)
"""The fields of a message that a `Conversation` reads."""

_SILENT: Final[Mapping[str, frozenset[str]]] = {
    "completion": frozenset(
        {
            "choices",
            "created",
            "id",
            "metadata",
            "model",
            "moderation",
            "object",
            "obfuscation",
            "prompt_filter_results",
            "service_tier",
            "system_fingerprint",
            "usage",
        }
    ),
    "choice": frozenset(
        {
            "content_filter_offsets",
            "content_filter_results",
            "finish_reason",
            "index",
            "logprobs",
            "matched_stop",
            "native_finish_reason",
            "stop_reason",
        }
    ),
    "message": READ,
}
"""The fields that are read elsewhere, or tell of an answer and not what it says."""


def unread(kind: str, item: JsonObject, *, but: str = "") -> Iterator[str]:
    """The texts of an item's fields that nobody else reads, such as a server's own additions.

    Args:
        kind: ``completion`` (or a chunk of one), ``choice`` or ``message``.
        item: one of these.
        but: a field that the caller reads.
    """
    for name, value in item.items():
        if name not in _SILENT[kind] and name != but:
            yield from strings(value)
