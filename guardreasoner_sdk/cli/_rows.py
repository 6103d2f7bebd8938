"""A file of rows in, a file of verdicts out, in the same order; resumable, and nothing lost on the way."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from guardreasoner_sdk.cli._common import Status, fail
from guardreasoner_sdk.errors import GuardError, InputError
from guardreasoner_sdk.guard import Guard
from guardreasoner_sdk.policy import Stage
from guardreasoner_sdk.verdict import Verdict

CHUNK = 128
"""Rows judged at once. An interrupted run loses at most so many."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the input: what is to be judged, or why it cannot be."""

    source: str | tuple[str, str] | InputError

    @property
    def stage(self) -> Stage:
        return Stage.RESPONSE if isinstance(self.source, tuple) else Stage.REQUEST


def screen_rows(guard: Guard, source: str, output: Path | None, *, overwrite: bool) -> Status:
    """Judge every row of a JSON Lines file; the status is the worst of the rows."""
    data = _read(source)
    lines = [line for line in data.split(b"\n") if line.strip()]
    numbers = [n for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    rows = [_row(line, f"line {number} of {source}") for line, number in zip(lines, numbers, strict=True)]
    if not rows:
        fail(f"{source} has no rows")
    run = _digest(data, guard)
    try:
        with _opened(output, run, overwrite=overwrite) as (file, done):
            before = [_status_of(guard, row, line) for row, line in zip(rows, done, strict=False)]
            worst = max([*before, _judge_rest(guard, rows, len(done), file)], key=_badness)
    except KeyboardInterrupt:
        hint = " Run the same command again to go on from there." if output is not None else ""
        sys.stderr.write(f"\nguardreasoner: interrupted; what was judged is kept.{hint}\n")
        return Status.INTERRUPTED
    if output is not None:
        _mark(output).unlink(missing_ok=True)
    return worst


def _judge_rest(guard: Guard, rows: Sequence[_Row], start: int, file: IO[str]) -> Status:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("screening"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    worst = Status.ALLOWED
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("screening", total=len(rows), completed=start)
        rest = iter(rows[start:])
        while chunk := list(islice(rest, CHUNK)):
            judgeable = [row.source for row in chunk if not isinstance(row.source, InputError)]
            results = iter(guard.screen_batch(judgeable, return_errors=True))
            for row in chunk:
                result = row.source if isinstance(row.source, InputError) else next(results)
                status, line = _shown(guard, row, result)
                worst = max(worst, status, key=_badness)
                file.write(line + "\n")
            file.flush()
            progress.advance(task, len(chunk))
    return worst


def _shown(guard: Guard, row: _Row, result: Verdict | GuardError) -> tuple[Status, str]:
    if isinstance(result, Verdict):
        allowed = guard.policy.decide(result, row.stage).allowed
        return (Status.ALLOWED if allowed else Status.BLOCKED), result.model_dump_json()
    return Status.UNJUDGED, json.dumps({"error": f"{type(result).__name__}: {result}"}, ensure_ascii=False)


def _row(line: bytes, where: str) -> _Row:
    try:
        row = json.loads(line)
    except ValueError as error:  # JSON or UTF-8
        return _Row(InputError(f"{where} is not JSON: {error}"))
    if not isinstance(row, dict) or "prompt" not in row:
        return _Row(InputError(f'{where} has no "prompt"'))
    unknown = sorted(set(row) - {"prompt", "response"})
    if unknown:
        hint = 'known are "prompt" and "response"'
        return _Row(InputError(f"{where} has the unknown field {unknown[0]!r}; {hint}"))
    prompt, response = row["prompt"], row.get("response")
    for name, value in (("prompt", prompt), ("response", response)):
        if not isinstance(value, str) and not (name == "response" and value is None):
            return _Row(InputError(f'"{name}" of {where} is not text'))
    return _Row(prompt if response is None else (prompt, response))


def _read(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        fail(f"{source} cannot be read: {error.strerror}")


def _digest(data: bytes, guard: Guard) -> str:
    """What an interrupted output belongs to: these rows and this judge."""
    return hashlib.sha256(data + b"\0" + guard.judge.identity.encode()).hexdigest()


def _mark(output: Path) -> Path:
    """The file that says that an output is not complete, and what it belongs to."""
    return output.with_name(output.name + ".part")


@contextlib.contextmanager
def _opened(output: Path | None, run: str, *, overwrite: bool) -> Iterator[tuple[IO[str], list[bytes]]]:
    """The output, open at its end, and the lines that are there already."""
    if output is None:
        yield sys.stdout, []
        return
    mark = _mark(output)
    done: list[bytes] = []
    try:
        if output.exists() and not overwrite:
            if not mark.exists():
                fail(f"{output} is there already and complete: give --overwrite to replace it")
            if mark.read_text() != run:
                fail(
                    f"{output} is the unfinished output of other rows or another judge: "
                    "give --overwrite to begin anew, or another --output"
                )
            kept = output.read_bytes()
            kept = kept[: kept.rfind(b"\n") + 1]  # a line that was cut off is judged again
            os.truncate(output, len(kept))
            done = kept.splitlines()
        else:
            mark.write_text(run)
            output.write_bytes(b"")
        file = output.open("a", encoding="utf-8")
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}")
    with file:
        yield file, done


def _badness(status: Status) -> int:
    return [Status.ALLOWED, Status.BLOCKED, Status.UNJUDGED].index(status)


def _status_of(guard: Guard, row: _Row, line: bytes) -> Status:
    """The status of a row that an earlier run judged."""
    if line.startswith(b'{"error":'):
        return Status.UNJUDGED
    decision = guard.policy.decide(Verdict.model_validate_json(line), row.stage)
    return Status.ALLOWED if decision.allowed else Status.BLOCKED
