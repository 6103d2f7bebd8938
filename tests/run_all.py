"""Run every check, one after the other, and say at the end what passed. For `make test`; needs `make env`.

    python tests/run_all.py [--full]

A failing check does not keep the later ones from running. The last line counts all tests; a check that is
no test (lint, types, layers) counts as one. Test files that begin by asking for torch, and those in
`tests/live`, run in the vLLM environment, which has it; LangChain's own tests in the environment with its
plug-ins for pytest; all others in the light one.

Standard library only.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
LIGHT = Path(sys.executable)
VLLM = ROOT / ".venv-vllm" / "bin" / "python"
STANDARD = ROOT / ".venv-standard" / "bin" / "python"
NEEDS_TORCH = 'importorskip("torch"'
NOTHING_COLLECTED = 5
ASYNCIO = ("--override-ini=asyncio_mode=auto", "--override-ini=asyncio_default_fixture_loop_scope=function")
"""Settings of a plug-in that only LangChain's tests bring."""


@dataclass(frozen=True)
class Check:
    """Something that has to hold."""

    name: str
    command: Sequence[str | Path]
    is_pytest: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def checks(*, full: bool) -> list[Check]:
    """What is run, cheapest first."""
    tools = LIGHT.parent
    heavy = sorted(path.relative_to(ROOT) for path in TESTS.rglob("test_*.py") if _is_heavy(path))
    packaging = Path("tests/packaging")
    standard = Path("tests/integrations/langchain/standard")
    light = [f"--ignore={path}" for path in (*heavy, packaging, standard)]
    return [
        Check("lint", [tools / "ruff", "check", "--output-format=concise", "."]),
        Check("format", [tools / "ruff", "format", "--check", "--output-format=concise", "."]),
        Check("layers", [tools / "lint-imports", "--no-cache"]),
        Check("types", [tools / "mypy"]),
        _pytest("tests", LIGHT, [*light, "tests"], full=full),
        _pytest("packaging", LIGHT, [packaging], full=full),
        _pytest("LangChain's tests", STANDARD, [*ASYNCIO, standard], full=full),
        _pytest("torch and vLLM", VLLM, heavy, full=full),
    ]


def _is_heavy(path: Path) -> bool:
    return "live" in path.parts or NEEDS_TORCH in path.read_text(encoding="utf-8")


def _pytest(name: str, python: Path, arguments: Sequence[str | Path], *, full: bool) -> Check:
    marks = [] if full else ["-m", "not full"]
    # Two cores: more threads than one a process only get into each other's way.
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return Check(name, [python, "-m", "pytest", "-q", *marks, *arguments], True, environment)


def run(check: Check) -> Counter[str]:
    """Run one check, its output passed on, and count what passed, failed and was skipped."""
    if not check.is_pytest:
        return Counter(passed=1) if _call(check, ()) == 0 else Counter(failed=1)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        status = _call(check, (f"--junit-xml={report}",))
        counted = _counted(report) if report.exists() else Counter()
    if status not in (0, NOTHING_COLLECTED) and not counted["failed"]:
        counted["failed"] += 1  # pytest itself could not run, or was killed
    return counted


def _call(check: Check, more: Sequence[str]) -> int:
    environment = {**os.environ, **check.environment}
    return subprocess.run([*check.command, *more], cwd=ROOT, env=environment, check=False).returncode


def _counted(report: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    for suite in ElementTree.parse(report).iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        counted["failed"] += failed
        counted["skipped"] += skipped
        counted["passed"] += int(suite.get("tests", 0)) - failed - skipped
    return counted


def main() -> int:
    """Entry point. The exit status is 0 if nothing failed."""
    parser = argparse.ArgumentParser(description="Run every check.")
    parser.add_argument("--full", action="store_true", help="also what takes minutes")
    total: Counter[str] = Counter()
    lines = []
    for check in checks(full=parser.parse_args().full):
        print(f"\n=== {check.name}", flush=True)
        started = time.monotonic()
        counted = run(check)
        total += counted
        seconds = time.monotonic() - started
        lines.append(f"{check.name:<16} {_said(counted)} ({seconds:.0f} s)")
    print("\n=== summary", *lines, _said(total), sep="\n", flush=True)
    return 1 if total["failed"] else 0


def _said(counted: Counter[str]) -> str:
    skipped = f", {counted['skipped']} skipped" if counted["skipped"] else ""
    return f"{counted['passed']} passed, {counted['failed']} failed{skipped}"


if __name__ == "__main__":
    sys.exit(main())
