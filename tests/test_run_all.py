"""The runner behind `make test` misses no failure."""

import sys
from pathlib import Path

import pytest

from tests.run_all import Check, checks, run

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir"]


def counts(tmp_path: Path, tests: str) -> dict[str, int]:
    """What is counted for a file of tests."""
    file = tmp_path / "test_made.py"
    file.write_text(tests, encoding="utf-8")
    return dict(run(Check("made", [*PYTEST, str(tmp_path), str(file)], is_pytest=True)))


@pytest.mark.parametrize(("status", "counted"), [(0, "passed"), (1, "failed"), (137, "failed")])
def test_a_check_that_is_no_test_counts_as_one(status: int, counted: str) -> None:
    command = [sys.executable, "-c", f"raise SystemExit({status})"]
    assert dict(run(Check("made", command))) == {counted: 1}


def test_tests_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    tests = """
import pytest
def test_one(): pass
def test_two(): assert False
@pytest.mark.skip
def test_three(): pass
@pytest.fixture
def broken(): raise OSError
def test_four(broken): pass
"""
    assert counts(tmp_path, tests) == {"passed": 1, "failed": 2, "skipped": 1}


def test_a_file_that_cannot_be_read_counts_as_a_failure(tmp_path: Path) -> None:
    assert counts(tmp_path, "import nothing_of_this_name")["failed"] == 1


def test_a_run_that_is_killed_counts_as_a_failure(tmp_path: Path) -> None:
    assert counts(tmp_path, "import os\ndef test_one(): os._exit(9)")["failed"] == 1


def test_every_test_file_is_run_once_and_in_one_environment() -> None:
    root = Path(__file__).resolve().parents[1]
    commands = {check.name: [str(part) for part in check.command] for check in checks(full=True)}
    light = {part.removeprefix("--ignore=") for part in commands["tests"] if part.startswith("--ignore=")}
    others = ("packaging", "LangChain's tests", "torch and vLLM")
    elsewhere = {part for name in others for part in commands[name][4:] if not part.startswith("--")}
    assert light == elsewhere
    assert all((root / path).exists() for path in light)
