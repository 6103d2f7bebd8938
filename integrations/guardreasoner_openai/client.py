"""The guarded client: an object of the caller's own client's type, with guarded resources."""

from collections.abc import Hashable, Iterable
from functools import cache
from typing import Any, TypeVar, cast

from openai import AsyncOpenAI, OpenAI

from guardreasoner_openai.channel import AsyncChannel, Channel
from guardreasoner_openai.exchange import Guarding
from guardreasoner_openai.surfaces import GROUPS, RESOURCES, SURFACES, Decision, refusal
from guardreasoner_sdk.errors import ConfigError
from guardreasoner_sdk.guard import Guard

C = TypeVar("C", bound="OpenAI | AsyncOpenAI")


def wrap(guard: Guard, client: C, *, allow: Iterable[str] = (), overlap: bool | None = None) -> C:
    """Guard an OpenAI client; also ``guard.wrap(client)``.

    What comes back is of the client's type and behaves like it. The conversation is judged before the model
    is called or while it is, and whatever the model says before anybody sees it: parsed, raw, streamed, as
    text, refusal or tool call. What the policy blocks raises `Blocked`; what it replaces is an answer whose
    ``finish_reason`` is ``"content_filter"`` and whose text is the violation message. `outcomes_of` gives
    the verdicts of what came back.

    Args:
        guard: who judges.
        client: `OpenAI`, `AsyncOpenAI`, their Azure kin, or a class of your own derived from them. It stays
            unguarded, and shares its connections and settings with the guarded one.
        allow: surfaces that may be used unguarded, such as ``("moderations",)``, or the group ``"data"`` of
            embeddings, files and models. What is neither guarded nor allowed raises `UnguardedSurface`.
        overlap: call the model while the request is judged; nothing of its answer is shown before the
            verdict. Default: the guard's setting, and without one, on. With False the model is called after.

    Raises:
        ConfigError: it is no OpenAI client, or guarded already, or `allow` names what is no such surface.
    """
    if isinstance(client, GuardedClient):
        raise ConfigError("this client is guarded already: wrap the one that it was made from")
    if not isinstance(client, (OpenAI, AsyncOpenAI)):
        raise ConfigError(f"cannot wrap a {type(client).__name__}: give a client, such as openai.OpenAI()")
    kind = cast(Hashable, type(client))  # which mypy doubts, for the sake of classes with other hashes
    guarded: object = object.__new__(_guarded_type(kind))
    object.__setattr__(guarded, "_guarding", Guarding(guard, client, _allowed(allow, client), overlap))
    return cast(C, guarded)


def _allowed(allow: Iterable[str], client: object) -> frozenset[str]:
    """The names of the surfaces that are allowed, groups taken apart."""
    if isinstance(allow, str):
        raise ConfigError(f"allow={allow!r} is one string: give a tuple of names, such as ({allow!r},)")
    names = frozenset(name for given in allow for name in GROUPS.get(given, (given,)))
    for name in sorted(names):
        if SURFACES.get(name, Decision.REFUSED) is not Decision.REFUSED or not (
            name in SURFACES or _has(client, name)
        ):
            known = sorted(known for known, what in SURFACES.items() if what is Decision.REFUSED)
            raise ConfigError(
                f"allow names {name!r}, which is no surface that can be allowed: there are "
                f"{', '.join(known)}, and the groups {', '.join(GROUPS)}"
            )
    return names


@cache
def _guarded_type(kind: type[object]) -> type[object]:
    """The guarded class of a client class."""
    return type(f"Guarded{kind.__name__}", (GuardedClient, kind), {"__module__": __name__})


def _has(client: object, name: str) -> bool:
    return hasattr(type(client), name) or name in vars(client)


class GuardedClient:
    """What a guarded client does itself; all else is the client's that it guards, as far as decided."""

    _guarding: Guarding

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401  # anything that a client has
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        guarding: Guarding = object.__getattribute__(self, "_guarding")
        decision = SURFACES.get(name, Decision.REFUSED)
        if decision is Decision.SHELL:
            return object.__getattribute__(self, name)
        if decision is Decision.GUARDED:
            return self._resource(name)
        if decision is Decision.REFUSED and name not in guarding.allow and _has(guarding.client, name):
            raise refusal(name)
        return getattr(guarding.client, name)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """What is private is the client's: its own methods use it."""
        return getattr(object.__getattribute__(self, "_guarding").client, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Settings are those of the client that is guarded."""
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        if SURFACES.get(name) is not Decision.CLIENT:
            raise ConfigError(
                f"{name} of a guarded client cannot be set: set it on the client before it is wrapped"
            )
        setattr(self._guarding.client, name, value)

    def __repr__(self) -> str:
        return f"<guarded {self._guarding.client!r}>"

    def copy(self, **options: Any) -> Any:  # noqa: ANN401  # as the client's own
        """A guarded client with other options; see the client's own ``copy``."""
        how = self._guarding
        return wrap(how.guard, how.client.copy(**options), allow=how.allow, overlap=how.overlap)

    with_options = copy

    def _resource(self, name: str) -> object:
        made = vars(self)
        if name not in made:
            sync, asynchronous = RESOURCES[name]
            client = self._guarding.client
            made[name] = (
                asynchronous(AsyncChannel(self._guarding, client))
                if isinstance(client, AsyncOpenAI)
                else sync(Channel(self._guarding, client))
            )
        return made[name]
