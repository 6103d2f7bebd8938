"""A provider whose responses and events a test writes out, where `Reply` has no words for them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Unpack

from guardreasoner_openai import wrap
from openai import OpenAI

from guardreasoner_sdk.options import GuardOptions
from guardreasoner_sdk.policy import Policy
from guardreasoner_sdk.testing import FakeClassifier
from tests.integrations.replies import Json, Reply
from tests.integrations.upstream import Upstream
from tests.sdk.guards import guard

if TYPE_CHECKING:
    from tests.integrations.upstream import _Line

REPLACING = Policy(harmful_request="replace", harmful_response="replace", violation_message="Not that.")


@contextmanager
def guarded(
    upstream: Upstream,
    judge: FakeClassifier | None = None,
    *,
    policy: Policy | None = None,
    allow: Iterable[str] = (),
    **options: Unpack[GuardOptions],
) -> Iterator[OpenAI]:
    """A guarded client of the provider."""
    with (
        guard(judge, policy=policy, **options) as g,
        OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client,
    ):
        yield wrap(g, client, allow=allow)


def response(*output: Json, **fields: Json) -> dict[str, Json]:
    """A completed response with these output items."""
    whole: dict[str, Json] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": "m",
        "status": "completed",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "usage": {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 12,
        },
    }
    return whole | fields


def message(text: str, **fields: Json) -> dict[str, Json]:
    """A message that says `text`; `fields` are more of its text part."""
    part: dict[str, Json] = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [part | fields],
    }


class Scripted(Upstream):
    """An `Upstream` that answers with JSON and events as they were written.

    ::

        upstream.serve("POST /responses", response(message("Hello.")))
        upstream.serve("POST /responses", [{"type": "response.created", ...}, ...])   # a stream
    """

    def __init__(self) -> None:
        super().__init__()
        self._served: dict[str, Json] = {}

    def serve(self, request: str, answer: Json) -> None:
        """Answer a request, named by method and path, with this JSON; a list is a stream of events."""
        self._served[request] = answer

    def _respond(self, line: "_Line", reply: Reply) -> None:
        call = line.call
        answer = self._served.get(f"{call.method} {call.path.split('?')[0].removeprefix('/v1')}")
        if isinstance(answer, Sequence) and not isinstance(answer, str):
            line.send_events(reply, (_event(event, number) for number, event in enumerate(answer)))
        elif answer is not None:
            line.send_json(200, answer)
        else:
            super()._respond(line, reply)


def _event(event: Json, number: int) -> bytes:
    assert isinstance(event, Mapping)
    return b"data: " + json.dumps({"sequence_number": number, **event}).encode() + b"\n\n"
