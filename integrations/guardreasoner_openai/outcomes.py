"""How the outcomes of a guarded request travel with what the client gives back."""

from dataclasses import dataclass, field
from typing import Final

from guardreasoner_sdk.outcomes import Outcome

_KEY: Final = "guardreasoner"
"""The extension of an HTTP response that holds its record."""
_ATTRIBUTE: Final = "_guardreasoner"
"""The attribute of a parsed answer that holds its record."""
_HOLDERS: Final = ("http_response", "response", "_response")
"""Where raw responses, streams and the helpers over streams hold their HTTP response."""


@dataclass(slots=True)
class Record:
    """The outcomes of one guarded request, in order; of a stream it grows as that is read."""

    outcomes: list[Outcome] = field(default_factory=list)


def outcomes_of(result: object) -> tuple[Outcome, ...]:
    """What the guard found about what a guarded client gave back.

    Args:
        result: a completion or response (typed, parsed or raw), a stream (with the checks made so far), or
            an error of the client that carries a completion.

    Returns:
        Every outcome, in order: the request, then the replies. Empty for what no guard has judged.
    """
    for carrier in (result, getattr(result, "completion", None)):
        record = getattr(carrier, _ATTRIBUTE, None)
        for holder in _HOLDERS:
            if isinstance(record, Record):
                break
            extensions = getattr(getattr(carrier, holder, None), "extensions", None)
            record = extensions.get(_KEY) if isinstance(extensions, dict) else None
        if isinstance(record, Record):
            return tuple(record.outcomes)
    return ()


def attach(record: Record, parsed: object) -> None:
    """Let a parsed answer carry its record; text and numbers carry none."""
    if hasattr(parsed, "__dict__"):
        object.__setattr__(parsed, _ATTRIBUTE, record)


def extensions(record: Record) -> dict[str, object]:
    """What an HTTP response carries its record in."""
    return {_KEY: record}
