import logging
import multiprocessing
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardreasoner_sdk.caches import Cache
from guardreasoner_sdk.caches.sqlite import APPLICATION_ID, SQLiteCache
from guardreasoner_sdk.errors import ConfigError
from guardreasoner_sdk.verdict import Verdict
from tests.sdk.verdict_strategies import verdicts

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="file modes are POSIX")


def verdict(name: str) -> Verdict:
    return Verdict(judge="reasoner", engine="vllm", model=name, raw=f"text of {name}")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "verdicts.sqlite"


@pytest.fixture
def cache(path: Path) -> Iterator[SQLiteCache]:
    cache = SQLiteCache(path)
    yield cache
    cache.close()


def rows(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM verdicts").fetchone()[0])
    finally:
        connection.close()


def test_it_is_a_cache_that_does_io(cache: SQLiteCache) -> None:
    assert isinstance(cache, Cache)
    assert cache.blocking


def test_what_was_stored_comes_back_in_the_order_of_the_keys(cache: SQLiteCache) -> None:
    cache.set_many([("a", verdict("a")), ("b", verdict("b"))])
    assert cache.get_many(["b", "missing", "a", "b"]) == [verdict("b"), None, verdict("a"), verdict("b")]


def test_verdicts_outlive_the_cache_object(path: Path) -> None:
    first = SQLiteCache(path)
    first.set_many([("a", verdict("a"))])
    first.close()
    second = SQLiteCache(path)
    assert second.get_many(["a"]) == [verdict("a")]
    second.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(verdicts, min_size=1, max_size=3))
def test_any_verdict_comes_back_equal(cache: SQLiteCache, stored: list[Verdict]) -> None:
    items = [(str(n), verdict) for n, verdict in enumerate(stored)]
    cache.set_many(items)
    assert cache.get_many([key for key, _ in items]) == stored


@given(verdicts)
def test_any_verdict_survives_json(stored: Verdict) -> None:
    assert Verdict.model_validate_json(stored.model_dump_json()) == stored


def test_an_entry_lives_for_its_ttl(path: Path) -> None:
    clock = Clock()
    cache = SQLiteCache(path, ttl=10, clock=clock)
    cache.set_many([("a", verdict("a"))])
    clock.now += 9.9
    assert cache.get_many(["a"]) == [verdict("a")]
    clock.now += 0.2
    assert cache.get_many(["a"]) == [None]
    cache.close()


def test_the_ttl_of_the_reader_counts(path: Path) -> None:
    clock = Clock()
    writer = SQLiteCache(path, ttl=1000, clock=clock)
    writer.set_many([("a", verdict("a"))])
    writer.close()
    clock.now += 100
    reader = SQLiteCache(path, ttl=50, clock=clock)
    assert reader.get_many(["a"]) == [None]
    reader.close()


def test_an_entry_from_before_the_clock_was_set_back_is_a_miss(path: Path) -> None:
    clock = Clock()
    cache = SQLiteCache(path, ttl=10, clock=clock)
    cache.set_many([("a", verdict("a"))])
    clock.now -= 5000
    assert cache.get_many(["a"]) == [None]
    cache.close()


def test_expired_rows_are_deleted_on_opening(path: Path) -> None:
    clock = Clock()
    cache = SQLiteCache(path, ttl=10, clock=clock)
    cache.set_many([("a", verdict("a"))])
    cache.close()
    clock.now += 11
    SQLiteCache(path, ttl=10, clock=clock).close()
    assert rows(path) == 0


def test_storing_keeps_the_file_within_bounds_and_drops_the_oldest(path: Path) -> None:
    clock = Clock()
    cache = SQLiteCache(path, max_entries=5, clock=clock)
    for n in range(600):
        clock.now += 1
        cache.set_many([(str(n), verdict(str(n)))])
    cache.prune()
    assert rows(path) == 5
    assert cache.get_many(["594", "595", "599"]) == [None, verdict("595"), verdict("599")]
    cache.close()


def test_storing_prunes_by_itself(path: Path) -> None:
    cache = SQLiteCache(path, max_entries=5)
    for n in range(600):
        cache.set_many([(str(n), verdict("a"))])
    assert rows(path) < 300
    cache.close()


@posix_only
def test_only_the_owner_can_read_the_file_and_its_journals(cache: SQLiteCache, path: Path) -> None:
    cache.set_many([("a", verdict("a"))])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert len(modes) > 1
    assert set(modes.values()) == {0o600}


@posix_only
def test_a_file_that_others_can_write_to_is_warned_about(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    SQLiteCache(path).close()
    path.chmod(0o666)
    SQLiteCache(path).close()
    assert "other users can write to it" in caplog.text


def test_a_file_that_is_no_database_is_refused_with_a_remedy(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to have a header " * 10)
    with pytest.raises(ConfigError, match=r"verdicts\.sqlite is damaged.*delete it"):
        SQLiteCache(path)


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (name)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="something else"):
        SQLiteCache(path)
    assert path.read_bytes() == before


def test_a_cache_of_another_schema_version_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match=r"schema version 99.*delete it"):
        SQLiteCache(path)


def test_an_empty_file_becomes_a_cache(path: Path) -> None:
    path.touch()
    cache = SQLiteCache(path)
    cache.set_many([("a", verdict("a"))])
    assert cache.get_many(["a"]) == [verdict("a")]
    cache.close()


def test_a_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder that exists"):
        SQLiteCache(tmp_path / "nowhere" / "verdicts.sqlite")


def test_a_folder_in_place_of_the_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        SQLiteCache(tmp_path)


@pytest.mark.parametrize("name", ["", ":memory:"])
def test_a_database_in_memory_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="MemoryCache"):
        SQLiteCache(name)


def test_a_locked_file_misses_and_is_logged_once(
    cache: SQLiteCache, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cache.set_many([("a", verdict("a"))])
    cache.set_many([("a", verdict("a"))])
    other.execute("ROLLBACK")
    other.close()
    assert cache.get_many(["a"]) == [None]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "locked" in warnings[0].getMessage()


def test_it_works_again_when_the_lock_is_gone(cache: SQLiteCache, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cache.set_many([("a", verdict("a"))])
    other.execute("ROLLBACK")
    other.close()
    cache.set_many([("a", verdict("a"))])
    assert cache.get_many(["a"]) == [verdict("a")]


def test_reading_goes_on_while_another_process_writes(cache: SQLiteCache, path: Path) -> None:
    cache.set_many([("a", verdict("a"))])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM verdicts")
    assert cache.get_many(["a"]) == [verdict("a")]
    other.execute("ROLLBACK")
    other.close()


def test_an_entry_that_is_no_verdict_is_a_miss(
    cache: SQLiteCache, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.set_many([("a", verdict("a")), ("b", verdict("b"))])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE verdicts SET verdict = ? WHERE key = 'a'", (b'{"judge": "screener"}',))
    other.close()
    assert cache.get_many(["a", "b"]) == [None, verdict("b")]
    assert "judged anew" in caplog.text


def test_damage_while_in_use_is_a_miss(
    path: Path, caplog: pytest.LogCaptureFixture, cache: SQLiteCache
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("DROP TABLE verdicts")
    other.close()
    cache.set_many([("a", verdict("a"))])
    assert cache.get_many(["a"]) == [None]
    assert "no such table" in caplog.text


def test_a_verdict_that_has_no_json_is_not_stored(
    cache: SQLiteCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.set_many([("a", verdict("\ud800")), ("b", verdict("b"))])
    assert cache.get_many(["a", "b"]) == [None, verdict("b")]
    assert "not stored" in caplog.text


def test_a_closed_cache_misses_and_stores_nothing(
    path: Path, cache: SQLiteCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.set_many([("a", verdict("a"))])
    cache.close()
    cache.close()
    cache.set_many([("b", verdict("b"))])
    assert cache.get_many(["a", "b"]) == [None, None]
    assert rows(path) == 1
    assert not caplog.records


def test_it_closes_what_other_threads_opened(cache: SQLiteCache, path: Path) -> None:
    for _ in range(3):
        thread = threading.Thread(target=cache.get_many, args=(["a"],))
        thread.start()
        thread.join()
    cache.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # the last to close removes the WAL


def _work(path: str, name: str, start: Barrier) -> None:
    start.wait()
    cache = SQLiteCache(path)
    for n in range(100):
        key = f"{name}-{n}"
        cache.set_many([(key, verdict(key)), ("shared", verdict("shared"))])
        found = cache.get_many([key, "shared"])
        if found not in ([verdict(key), verdict("shared")], [None, verdict("shared")]):
            sys.exit(3)
    cache.close()


def test_processes_that_start_together_share_one_file(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    workers = [spawn.Process(target=_work, args=(str(path), str(n), start)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    cache = SQLiteCache(path)
    found = cache.get_many([f"{w}-{n}" for w in range(3) for n in range(100)])
    stored = [verdict for verdict in found if verdict is not None]
    assert len({verdict.model for verdict in stored}) == len(stored)
    # A store may give way to a lock; most must not.
    assert len(stored) > 250
    cache.close()


def test_threads_share_one_cache(cache: SQLiteCache) -> None:
    failures: list[object] = []

    def work(name: str) -> None:
        try:
            for n in range(50):
                key = f"{name}-{n}"
                cache.set_many([(key, verdict(key))])
                (found,) = cache.get_many([key])
                if found not in (None, verdict(key)):
                    failures.append((key, found))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_opens_its_own_connection(cache: SQLiteCache) -> None:
    cache.set_many([("parent", verdict("parent"))])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            found = cache.get_many(["parent"])
            cache.set_many([("child", verdict("child"))])
            cache.close()
            status = 0 if found == [verdict("parent")] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get_many(["parent", "child"]) == [verdict("parent"), verdict("child")]
