"""A file of rows in, a file of verdicts out, in the same order; resumable, and nothing lost on the way."""

import contextlib
import hashlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from guardreasoner_sdk._requests import ScreenOptions
from guardreasoner_sdk.cli._common import Status, console, fail
from guardreasoner_sdk.cli._input import Row, RowFile, opened_rows
from guardreasoner_sdk.cli._output import Output, Result, Run, opened_output
from guardreasoner_sdk.engines.vllm_http import VLLMServer
from guardreasoner_sdk.errors import CannotJudgeError, InputError
from guardreasoner_sdk.guard import Guard
from guardreasoner_sdk.ports import EngineInfo
from guardreasoner_sdk.settings import GuardSettings

AHEAD = 4
"""Rows begun for each one judged at a time, so that one long text does not leave an engine idle. As many more
verdicts than are written may be known, which is what an interrupted run loses at most."""


def screen_rows(
    guard: Guard,
    source: str,
    output: Path | None,
    *,
    settings: GuardSettings,
    deadline: float | None,
    overwrite: bool,
) -> Status:
    """Judge every row of a JSON Lines file; the status is that of the worst row.

    Args:
        guard: judges.
        source: path of the file, ``-`` for standard input.
        output: where the verdicts go; ``None`` is standard output.
        settings: those of the guard.
        deadline: seconds for each row.
        overwrite: whether an output that is there already may be replaced.
    """
    with opened_rows(source) as rows:
        if output is not None and source != "-" and output.exists() and output.samefile(source):
            fail(f"{output} is the input: give another --output")
        run = _run(guard, rows, settings)
        try:
            with opened_output(output, run, overwrite=overwrite) as opened:
                return _judge(guard, run, opened, at_once=settings.concurrency, deadline=deadline)
        except KeyboardInterrupt:
            hint = " Run the same command again to go on from there." if output is not None else ""
            sys.stderr.write(f"\nguardreasoner: interrupted; what was written is kept.{hint}\n")
            return Status.INTERRUPTED


def _run(guard: Guard, rows: RowFile, settings: GuardSettings) -> Run:
    for engine in guard.judge.engines:
        if isinstance(engine, VLLMServer):
            # The name of the model is part of what an output is resumed by. A server that does not tell it
            # will fail the rows, too, and they say why.
            with contextlib.suppress(CannotJudgeError):
                engine.models()
    engines = [getattr(engine, "info", None) for engine in guard.judge.engines]
    how = settings.model_dump_json(include={"depth", "max_reasoning_tokens", "scores", "max_input_chars"})
    identity = hashlib.sha256("\0".join([rows.digest, guard.judge.identity, how]).encode()).hexdigest()
    return Run(
        rows=rows,
        policy=guard.policy,
        identity=identity,
        engines=tuple(info for info in engines if isinstance(info, EngineInfo)),
        depth=settings.depth,
    )


def _judge(guard: Guard, run: Run, output: Output, *, at_once: int, deadline: float | None) -> Status:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("screening"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    terminal = console(stderr=True)
    worst = output.worst
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True) as progress:
        task = progress.add_task("screening", total=run.rows.count, completed=output.kept)
        rest = islice(run.rows, output.kept, None)
        for row, result in _results(guard, rest, at_once=at_once, deadline=deadline):
            output.write(result)
            worst = max(worst, run.status(row, result), key=lambda status: status.badness)
            progress.advance(task)
    return worst


def _results(
    guard: Guard, rows: Iterable[Row], *, at_once: int, deadline: float | None
) -> Iterator[tuple[Row, Result]]:
    """What each row comes to, in order, many being judged at a time."""
    how: ScreenOptions = {} if deadline is None else {"deadline": deadline}

    def judged(row: Row) -> Result:
        if isinstance(row.source, InputError):
            return row.source
        # A batch of one: unlike a single screening it has no deadline but the one that is given.
        (result,) = guard.screen_batch([row.source], return_errors=True, **how)
        return result

    begun: deque[tuple[Row, Future[Result]]] = deque()
    workers = ThreadPoolExecutor(at_once, thread_name_prefix="guardreasoner-rows")
    try:
        for row in rows:
            begun.append((row, workers.submit(judged, row)))
            if len(begun) >= AHEAD * at_once:
                first, result = begun.popleft()
                yield first, result.result()
        while begun:
            first, result = begun.popleft()
            yield first, result.result()
    finally:
        # Closing the guard, which the caller does next, ends those that are being judged.
        workers.shutdown(wait=False, cancel_futures=True)
