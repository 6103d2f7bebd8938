"""Where verdicts are kept between calls.

Keys are digests that the guard makes of everything that can change a verdict; a cache never sees the texts
as keys. Verdicts themselves quote the texts: a reasoning guard repeats the user's words in its steps.

`caches.memory` is in the process and does no I/O; `caches.sqlite` is a file that processes share.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from guardreasoner_sdk.errors import ConfigError
from guardreasoner_sdk.verdict import Verdict


@runtime_checkable
class Cache(Protocol):
    """Keeps verdicts by key. Safe to use from several threads.

    A cache is an optimisation: a look-up that fails is a miss and a store that fails is forgotten, both
    logged by the cache. Neither raises, so a broken cache costs time and never a verdict.
    """

    @property
    def blocking(self) -> bool:
        """Whether it does I/O, so that async callers have to use it in a thread."""

    def get_many(self, keys: Sequence[str]) -> list[Verdict | None]:
        """The verdict of every key, in order, ``None`` where there is none.

        A verdict comes back equal to the one that was stored: marking it as cached is the caller's part.
        """

    def set_many(self, items: Sequence[tuple[str, Verdict]]) -> None:
        """Keep these verdicts, replacing what their keys held."""

    def close(self) -> None:
        """Release what it holds. Idempotent. A closed cache only misses."""


def check_limits(max_entries: int, ttl: float) -> None:
    """Refuse limits under which a cache would never hit.

    Raises:
        ConfigError: one of them is not positive.
    """
    if max_entries < 1:
        raise ConfigError(f"max_entries={max_entries} keeps nothing: give at least 1, or use cache='off'")
    if not ttl > 0:
        raise ConfigError(f"ttl={ttl} keeps nothing: give a number of seconds above 0, or use cache='off'")
