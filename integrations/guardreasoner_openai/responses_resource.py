"""The resource of the Responses API, with a lock on what is no request: its websocket."""

from typing import TYPE_CHECKING, Any, Final, cast

from openai.resources.responses import AsyncResponses, Responses
from openai.resources.responses.responses import AsyncResponsesConnectionManager, ResponsesConnectionManager

if TYPE_CHECKING:
    from guardreasoner_openai.channel import AsyncChannel, Channel
    from guardreasoner_openai.exchange import Guarding

_SURFACE: Final = "responses.connect"


class GuardedResponses(Responses):
    """`Responses` on a `Channel`."""

    def connect(self, *args: Any, **options: Any) -> ResponsesConnectionManager:  # noqa: ANN401  # the client's
        """The client's own ``connect``, if it is allowed: nothing that passes over a websocket is judged.

        Raises:
            UnguardedSurface: it is not allowed.
        """
        client = _allowed(cast("Channel", self._client)._guarding)
        return cast(ResponsesConnectionManager, client.responses.connect(*args, **options))


class GuardedAsyncResponses(AsyncResponses):
    """`GuardedResponses` for async clients."""

    def connect(self, *args: Any, **options: Any) -> AsyncResponsesConnectionManager:  # noqa: ANN401
        """See `GuardedResponses.connect`."""
        client = _allowed(cast("AsyncChannel", self._client)._guarding)
        return cast(AsyncResponsesConnectionManager, client.responses.connect(*args, **options))


def _allowed(guarding: "Guarding") -> Any:  # noqa: ANN401  # sync or async, as the resource
    from guardreasoner_openai.surfaces import refusal  # which names this module's classes

    if _SURFACE not in guarding.allow:
        raise refusal(_SURFACE)
    return guarding.client
