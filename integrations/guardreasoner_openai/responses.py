"""The endpoints of the Responses API: `create`, `parse`, `stream` and `retrieve`, plain and streamed.

What the provider keeps of a conversation (``previous_response_id``, ``conversation``) is listed in the
coverage as left out: each of its turns was judged when it was the last. Where a call says nothing new for a
user, as one that only hands in the results of tools, what the user said is fetched and judged with the reply.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from guardreasoner_openai.endpoints import Asking, Fetch, JsonObject, Reading, Request
from guardreasoner_openai.responses_events import ResponseReading
from guardreasoner_openai.responses_items import fields_of
from guardreasoner_openai.responses_reply import message_of, replaced_response
from guardreasoner_openai.responses_request import conversation_of, has_request
from guardreasoner_sdk.errors import UnsupportedContentError

_PAGE: Final = 100
"""Items in a page of a stored history: the most that the API gives."""
_READ: Final = 50
"""Pages of one history, and responses one before the other, that are read in search of what a user said."""


class _Responses:
    """What both endpoints have in common: the answer is a response."""

    def replies(self, answer: JsonObject) -> Sequence[object]:
        """The one reply: all of the output."""
        return (message_of(answer),)

    def replaced(self, request: Request, answer: JsonObject | None, message: str) -> JsonObject:
        """See `replaced_response`."""
        return replaced_response(request, answer, message)

    def reading(self, request: Request) -> Reading:
        """See `ResponseReading`."""
        return ResponseReading(request)


class CreatedResponse(_Responses):
    """``POST /responses``."""

    def asked(self, request: Request) -> Asking:
        """The conversation that the request continues."""
        return _asked(request.body)


class StoredResponse(_Responses):
    """``GET /responses/{id}``: what was asked is with the provider."""

    def asked(self, request: Request) -> Asking:
        """The conversation that led to the stored response."""
        return _asked({"previous_response_id": request.ids["id"]}, before_reply=True)


def _asked(body: Mapping[str, object], *, before_reply: bool = False) -> Asking:
    """The conversation of a request, and as much of its stored history as it takes for a user to speak.

    Args:
        body: of the request.
        before_reply: leave out what the response that `body` follows answered.
    """
    history: list[object] = []
    conversation = conversation_of(body)
    for _ in range(_READ):
        if has_request(conversation):
            break
        previous, stored = body.get("previous_response_id"), body.get("conversation")
        if previous is not None:
            response = yield Fetch(_response_path(previous))
            items, more = yield from _newest(f"{_response_path(previous)}/input_items")
            output = response.get("output")
            if not before_reply and isinstance(output, list):
                items += output
            before_reply = False
            # Of a history that was read in part the rest is left out under the name that it has.
            earlier = {"previous_response_id": previous if more else response.get("previous_response_id")}
        elif stored is not None:
            name = stored if isinstance(stored, str) else fields_of(stored, "conversation").get("id")
            items, more = yield from _newest(f"/conversations/{quote(str(name), safe='')}/items")
            earlier = {"conversation": stored if more else None}
        else:
            break
        history[:0] = items
        body = {**body, "previous_response_id": None, "conversation": None, **earlier}
        conversation = conversation_of(body, history=history)
    return conversation


def _response_path(id_: object) -> str:
    return f"/responses/{quote(str(id_), safe='')}"


def _newest(path: str) -> Generator[Fetch, JsonObject, tuple[list[object], bool]]:
    """The newest items of a stored history, oldest first, and whether there are more before them.

    It is read back to the page on which a user speaks.

    Raises:
        UnsupportedContentError: it is no list of items, or no user speaks in too many of them.
    """
    newest: list[object] = []
    query: dict[str, object] = {"order": "desc", "limit": _PAGE}
    for _ in range(_READ):
        page = yield Fetch(path, query)
        data = page.get("data")
        if not isinstance(data, list):
            raise UnsupportedContentError(
                f"{path} gave no list of items: what was asked cannot be found there"
            )
        newest += data
        more = bool(page.get("has_more")) and bool(data)
        oldest_first = newest[::-1]
        if not more or has_request(conversation_of({}, history=oldest_first)):
            return oldest_first, more
        query = {**query, "after": page.get("last_id") or fields_of(data[-1], path).get("id")}
    raise UnsupportedContentError(
        f"no user speaks in the newest {_PAGE * _READ:,} items of {path}: "
        "put what the user says into the input"
    )
