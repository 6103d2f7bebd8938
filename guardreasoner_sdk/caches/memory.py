"""Verdicts kept in the process."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from guardreasoner_sdk.caches import check_limits
from guardreasoner_sdk.verdict import Verdict


class MemoryCache:
    """The verdicts used last, each for a limited time. The default cache of a guard.

    Every operation takes the same time however full the cache is. A verdict of a reasoning guard holds its
    reasoning and raw text, some 5 kB; the texts stay in memory until the entry expires and is evicted.

    Args:
        max_entries: verdicts kept; the one used longest ago goes first.
        ttl: seconds a verdict is kept. ``math.inf`` keeps it until it is evicted.
        clock: a monotonic clock, in seconds; for tests.

    Raises:
        ConfigError: `max_entries` or `ttl` is not positive.
    """

    def __init__(
        self,
        max_entries: int = 10_000,
        *,
        ttl: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_limits(max_entries, ttl)
        self._max_entries = max_entries
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, Verdict]] = OrderedDict()  # oldest use first
        self._lock = threading.Lock()

    @property
    def blocking(self) -> bool:
        """Does no I/O."""
        return False

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"MemoryCache(max_entries={self._max_entries}, ttl={self._ttl})"

    def get_many(self, keys: Sequence[str]) -> list[Verdict | None]:
        """See `Cache.get_many`."""
        found: list[Verdict | None] = []
        now = self._clock()
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is None:
                    found.append(None)
                elif entry[0] <= now:
                    del self._entries[key]
                    found.append(None)
                else:
                    self._entries.move_to_end(key)
                    found.append(entry[1])
        return found

    def set_many(self, items: Sequence[tuple[str, Verdict]]) -> None:
        """See `Cache.set_many`."""
        now = self._clock()
        with self._lock:
            for key, verdict in items:
                self._entries[key] = (now + self._ttl, verdict)
                self._entries.move_to_end(key)
                # Expired entries sink to the old end, so dropping them there is constant work a store.
                while self._entries:
                    oldest = next(iter(self._entries))
                    if len(self._entries) <= self._max_entries and self._entries[oldest][0] > now:
                        break
                    del self._entries[oldest]

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
