"""How `Guard.wrap` finds the adapter of a client library.

An adapter is an entry point of the group ``guardreasoner.adapters``: its name is the top-level package of the
clients it knows, its value a function ``wrap(guard, client)`` that gives back a guarded client.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias

GROUP = "guardreasoner.adapters"

Adapter: TypeAlias = Callable[..., object]
"""``wrap(guard, client)``."""


@cache
def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def adapter_for(client: object) -> Adapter | None:
    """The adapter of the client's library, found by the packages its class and base classes come from.

    ``None`` when no installed adapter knows it.
    """
    registered = _registered()
    for base in type(client).__mro__:
        entry = registered.get(base.__module__.partition(".")[0])
        if entry is not None:
            adapter: Adapter = entry.load()
            return adapter
    return None
