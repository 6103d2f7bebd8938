import math
import threading

import pytest

from guardreasoner_sdk.caches import Cache
from guardreasoner_sdk.caches.memory import MemoryCache
from guardreasoner_sdk.errors import ConfigError
from guardreasoner_sdk.verdict import Verdict


def verdict(name: str) -> Verdict:
    return Verdict(judge="screener", engine="onnx", model=name)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_is_a_cache_that_does_no_io() -> None:
    cache = MemoryCache()
    assert isinstance(cache, Cache)
    assert not cache.blocking


def test_what_was_stored_comes_back_in_the_order_of_the_keys() -> None:
    cache = MemoryCache()
    cache.set_many([("a", verdict("a")), ("b", verdict("b"))])
    assert cache.get_many(["b", "missing", "a", "b"]) == [verdict("b"), None, verdict("a"), verdict("b")]


def test_storing_again_replaces() -> None:
    cache = MemoryCache()
    cache.set_many([("a", verdict("old"))])
    cache.set_many([("a", verdict("new"))])
    assert cache.get_many(["a"]) == [verdict("new")]


def test_the_entry_used_longest_ago_is_evicted_first() -> None:
    cache = MemoryCache(max_entries=2)
    cache.set_many([("a", verdict("a")), ("b", verdict("b"))])
    cache.get_many(["a"])
    cache.set_many([("c", verdict("c"))])
    assert cache.get_many(["a", "b", "c"]) == [verdict("a"), None, verdict("c")]


def test_storing_again_counts_as_use() -> None:
    cache = MemoryCache(max_entries=2)
    cache.set_many([("a", verdict("a")), ("b", verdict("b")), ("a", verdict("a"))])
    cache.set_many([("c", verdict("c"))])
    assert cache.get_many(["a", "b", "c"]) == [verdict("a"), None, verdict("c")]


def test_a_miss_is_not_a_use() -> None:
    cache = MemoryCache(max_entries=1)
    cache.get_many(["x"])
    cache.set_many([("a", verdict("a"))])
    assert cache.get_many(["x", "a"]) == [None, verdict("a")]


def test_an_entry_lives_for_its_ttl_and_use_does_not_prolong_it() -> None:
    clock = Clock()
    cache = MemoryCache(ttl=10, clock=clock)
    cache.set_many([("a", verdict("a"))])
    clock.now += 9.9
    assert cache.get_many(["a"]) == [verdict("a")]
    clock.now += 0.1
    assert cache.get_many(["a"]) == [None]


def test_storing_again_starts_the_ttl_anew() -> None:
    clock = Clock()
    cache = MemoryCache(ttl=10, clock=clock)
    cache.set_many([("a", verdict("a"))])
    clock.now += 9
    cache.set_many([("a", verdict("a"))])
    clock.now += 9
    assert cache.get_many(["a"]) == [verdict("a")]


def test_expired_entries_do_not_stay_in_memory() -> None:
    clock = Clock()
    cache = MemoryCache(ttl=10, clock=clock)
    cache.set_many([(str(n), verdict("a")) for n in range(50)])
    clock.now += 10
    cache.set_many([("new", verdict("new"))])
    assert len(cache) == 1


def test_an_infinite_ttl_keeps_entries() -> None:
    clock = Clock()
    cache = MemoryCache(ttl=math.inf, clock=clock)
    cache.set_many([("a", verdict("a"))])
    clock.now += 1e12
    assert cache.get_many(["a"]) == [verdict("a")]


def test_one_store_of_more_than_fits_keeps_the_last() -> None:
    cache = MemoryCache(max_entries=3)
    cache.set_many([(str(n), verdict(str(n))) for n in range(10)])
    assert cache.get_many([str(n) for n in range(10)]) == [None] * 7 + [verdict(str(n)) for n in (7, 8, 9)]


def test_a_closed_cache_misses() -> None:
    cache = MemoryCache()
    cache.set_many([("a", verdict("a"))])
    cache.close()
    cache.close()
    assert cache.get_many(["a"]) == [None]


@pytest.mark.parametrize(("max_entries", "ttl"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, math.nan)])
def test_limits_that_keep_nothing_are_refused(max_entries: int, ttl: float) -> None:
    with pytest.raises(ConfigError, match="keeps nothing"):
        MemoryCache(max_entries, ttl=ttl)


def test_threads_never_get_the_verdict_of_another_key() -> None:
    cache = MemoryCache(max_entries=20)
    wrong: list[object] = []

    def work(seed: int) -> None:
        try:
            for n in range(2000):
                key = str((n * (seed + 1)) % 40)
                cache.set_many([(key, verdict(key))])
                (found,) = cache.get_many([key])
                if found is not None and found.model != key:
                    wrong.append((key, found))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(cache) <= 20
