"""Every published output of the released models, screened over HTTP and read as the published reader does."""

from collections import Counter
from collections.abc import Iterator

import pytest

from guardreasoner_sdk import Guard, Label, Task, Verdict
from guardreasoner_sdk.errors import GuardError, UnreadableAnswerError
from guardreasoner_sdk.testing import ReplayServer
from tests.sdk.formats.recordings import DATA, ROWS, Recording, needs_recordings, published_reader, recordings

pytestmark = needs_recordings

WHOLE = 1_000_000
"""Longer than any text here: as published, no text is judged in windows."""

Screened = list[tuple[Recording, Verdict | GuardError]]


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with ReplayServer.of_predictions(DATA / "predictions") as running:
        yield running


def screen_all(server: ReplayServer, *, hardening: bool) -> Screened:
    """All rows, each asked of the model and the file that it stands in."""
    screened: Screened = []
    for model in server.models:
        rows = [row for row in recordings() if f"{row.size}/{row.benchmark}" == model]
        with Guard(model, url=server.url, hardening=hardening, cache="off", window_chars=WHOLE) as guard:
            sources = [row.request if row.response is None else (row.request, row.response) for row in rows]
            screened += zip(rows, guard.screen_batch(sources, return_errors=True), strict=True)
    assert len(screened) == ROWS
    return screened


@pytest.fixture(scope="module")
def released(server: ReplayServer) -> Screened:
    return screen_all(server, hardening=False)


@pytest.fixture(scope="module")
def hardened(server: ReplayServer) -> Screened:
    return screen_all(server, hardening=True)


def expected(row: Recording) -> dict[Task, Label] | None:
    """What the published reader makes of a row; `None` where it finds no label for a task."""
    labels = {task: published_reader(row.output, task) for task in row.tasks}
    read = {task: Label(label) for task, label in labels.items() if label is not None}
    return read if len(read) == len(row.tasks) else None


def found(verdict: Verdict) -> dict[Task, Label]:
    return {task: finding.label for task, finding in verdict.findings.items()}


def how(row: Recording, result: Verdict | GuardError) -> str:
    """One row's outcome in words."""
    readable = expected(row)
    if isinstance(result, GuardError):
        return f"{type(result).__name__}, {'unreadable' if readable is None else 'readable'}"
    asked = "constrained" if result.constrained else "free"
    if readable is None:
        return f"{asked}, unreadable"
    return f"{asked}, {'same labels' if found(result) == readable else 'other labels'}"


def test_as_released_every_label_is_the_published_readers(released: Screened) -> None:
    assert Counter(how(row, result) for row, result in released) == {
        "free, same labels": 4382,
        "UnreadableAnswerError, unreadable": 8,
    }


def test_as_released_every_row_gets_its_own_output(released: Screened) -> None:
    swapped = [
        (row.size, row.benchmark, row.row)
        for row, result in released
        if (result.raw if isinstance(result, Verdict | UnreadableAnswerError) else None) != row.output
    ]
    assert swapped == []


def test_hardened_every_row_ends_in_a_verdict(hardened: Screened) -> None:
    assert Counter(how(row, result) for row, result in hardened) == {
        "free, same labels": 4380,
        # Whether a prefilled model would have written the same after its heading is not known.
        "constrained, same labels": 2,
        "constrained, unreadable": 8,
    }


def test_hardened_a_row_that_cannot_be_read_raises_the_alarm(hardened: Screened) -> None:
    for row, result in hardened:
        if expected(row) is None:
            assert isinstance(result, Verdict)
            assert result.constrained
            assert result.findings[Task.PROMPT_HARM].label is Label.HARMFUL


def test_no_row_has_a_finding_that_was_not_asked_for(released: Screened, hardened: Screened) -> None:
    for row, result in [*released, *hardened]:
        if isinstance(result, Verdict):
            assert set(result.findings) == row.tasks


def test_scores_agree_with_the_labels(released: Screened) -> None:
    # The replay server gives 0.9 to the token that comes next and 0.05 to others.
    for row, result in released:
        if isinstance(result, Verdict):
            for task, finding in result.findings.items():
                assert finding.score is not None, (row.size, row.benchmark, row.row, task)
                assert (finding.score > 0.5) is finding.positive, (row.size, row.benchmark, row.row, task)
