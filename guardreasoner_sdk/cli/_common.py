"""What the commands share: making a guard from options, exit statuses, and showing verdicts."""

import sys
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from guardreasoner_sdk.errors import ConfigError, GuardError
from guardreasoner_sdk.labels import Task
from guardreasoner_sdk.policy import Decision
from guardreasoner_sdk.verdict import Verdict

if TYPE_CHECKING:
    from rich.table import Table

    from guardreasoner_sdk.guard import Guard
    from guardreasoner_sdk.options import GuardOptions


class Status(IntEnum):
    """Exit statuses."""

    ALLOWED = 0
    BLOCKED = 1
    USAGE = 2
    UNJUDGED = 3
    INTERRUPTED = 130


def fail(message: str, status: Status = Status.USAGE) -> NoReturn:
    """Say what is wrong on standard error and exit."""
    sys.stderr.write(f"guardreasoner: {message}\n")
    raise SystemExit(int(status))


def make_guard(
    model: str | None, *, judge: str | None, config: str | None, options: "GuardOptions"
) -> "Guard":
    """A guard, or exit with what is wrong with its settings."""
    from guardreasoner_sdk.guard import Guard

    try:
        return Guard(model, judge=judge, config=config, **options)
    except ConfigError as error:
        fail(str(error))
    except GuardError as error:
        fail(f"{type(error).__name__}: {error}", Status.UNJUDGED)


_NAMES = {Task.PROMPT_HARM: "request", Task.REFUSAL: "refusal", Task.RESPONSE_HARM: "response"}


def findings_line(verdict: Verdict) -> str:
    """The findings in one line, such as ``request harmful 0.98``."""
    shown = []
    for task, finding in verdict.findings.items():
        score = "" if finding.score is None else f" {finding.score:.2f}"
        shown.append(f"{_NAMES[task]} {finding.label.value}{score}")
    return ", ".join(shown) or "nothing to judge"


def styled(decision: Decision) -> str:
    """The action with its colour."""
    colours = {"allow": "green", "flag": "yellow", "replace": "magenta", "block": "red"}
    colour = colours[decision.action.value]
    return f"[{colour}]{decision.action.value}[/{colour}]"


def verdict_table(verdict: Verdict, decision: Decision) -> "Table":
    """One verdict for a terminal."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    why = f" ({', '.join(decision.reasons)})" if decision.reasons else ""
    table.add_row("decision", styled(decision) + why)
    for task, finding in verdict.findings.items():
        score = "no score" if finding.score is None else f"score {finding.score:.3f}"
        table.add_row(_NAMES[task], f"{finding.label.value} ({score})")
        for number, step in enumerate(verdict.reasoning.steps(task), 1):
            table.add_row("", f"{number}. {escape(step)}")
    revision = f"@{verdict.revision}" if verdict.revision else ""
    table.add_row("judge", f"{verdict.judge}: {escape(verdict.model)}{revision} ({verdict.engine})")
    notes = [
        text
        for text, holds in (
            (f"reasoning cut short: {verdict.cut_short}", verdict.cut_short is not None),
            ("answer from a constrained completion", verdict.constrained),
            (f"judged in {verdict.windows} windows", verdict.windows > 1),
            ("the text imitates the guard's own structure", verdict.forged_structure),
            ("not everything was looked at", not verdict.coverage.complete),
            ("from the cache", verdict.cached),
        )
        if holds
    ]
    if notes:
        table.add_row("notes", "; ".join(notes))
    table.add_row("time", f"{verdict.latency * 1000:.1f} ms")
    return table
