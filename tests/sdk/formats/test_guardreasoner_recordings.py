"""The reader against the published outputs of the released models.

What these outputs cannot show is unmeasured here: they were written without hardening, so nothing in them
says what a model writes after a prefilled heading, about quoted lines, or in a constrained completion.
"""

import re
from collections import Counter, defaultdict

from guardreasoner_sdk.errors import UnreadableAnswerError
from guardreasoner_sdk.formats import RELEASED, GuardReasonerFormat
from guardreasoner_sdk.formats._answers import STEM
from guardreasoner_sdk.formats._asking import _RUN_ON
from guardreasoner_sdk.formats._parsing import SLOTS, ParsedAnswer, parse
from guardreasoner_sdk.labels import POSITIVE, RESPONSE_TASKS, Depth, Task
from guardreasoner_sdk.ports import GenerationRequest, PlanOptions
from guardreasoner_sdk.testing import FakeEngine
from tests.sdk.formats.asking import ask
from tests.sdk.formats.recordings import (
    ROWS,
    SCORED,
    Recording,
    needs_recordings,
    published_reader,
    recordings,
    strict_f1,
)

pytestmark = needs_recordings

PUBLISHED_STRICT_F1 = {
    ("1B", "SimpleSafetyTests"): 98.99,
    ("1B", "AegisSafetyTest"): 88.94,
    ("1B", "HarmBenchPrompt"): 96.31,
    ("1B", "HarmBenchResponse"): 84.69,
    ("1B", "XSTestReponseHarmful"): 90.68,
    ("1B", "XSTestResponseRefusal"): 91.05,
    ("8B", "SimpleSafetyTests"): 99.50,
    ("8B", "AegisSafetyTest"): 89.98,
    ("8B", "HarmBenchPrompt"): 92.10,
    ("8B", "HarmBenchResponse"): 85.32,
    ("8B", "XSTestReponseHarmful"): 93.75,
    ("8B", "XSTestResponseRefusal"): 93.68,
}
"""F1 in % that the published reader gives on the published outputs, unreadable rows counted as wrong."""


def read(row: Recording) -> ParsedAnswer:
    return parse(row.output, tasks=row.tasks, has_response=row.response is not None)


def read_as_published(row: Recording, task: Task) -> str | None:
    return published_reader(row.output, task)


def test_in_every_cell_the_strict_f1_is_at_least_that_of_the_published_reader() -> None:
    ours: dict[tuple[str, str], list[tuple[str, str | None]]] = defaultdict(list)
    published: dict[tuple[str, str], list[tuple[str, str | None]]] = defaultdict(list)
    for row in recordings():
        task, cell = SCORED[row.benchmark], (row.size, row.benchmark)
        label = read(row).labels[task]
        ours[cell].append((row.label, label.value if label else None))
        published[cell].append((row.label, read_as_published(row, task)))
    positive = {cell: POSITIVE[SCORED[cell[1]]].value for cell in PUBLISHED_STRICT_F1}
    scores = {cell: strict_f1(rows, positive[cell]) for cell, rows in ours.items()}
    theirs = {cell: strict_f1(rows, positive[cell]) for cell, rows in published.items()}
    assert {cell: round(score, 2) for cell, score in theirs.items()} == PUBLISHED_STRICT_F1
    assert [cell for cell in PUBLISHED_STRICT_F1 if scores[cell] < theirs[cell]] == []


def test_where_the_two_readers_differ_the_published_one_reads_labels_of_nothing() -> None:
    """Of 13,170 labels: the model filled in a response's labels although there was no response."""
    differences: Counter[str] = Counter()
    for row in recordings():
        labels = read(row).labels
        for task in Task:
            ours, theirs = labels.get(task), read_as_published(row, task)
            if (ours.value if ours else None) == theirs:
                differences["the same"] += 1
            elif row.response is None and task in RESPONSE_TASKS:
                differences["a label for a response that is not there"] += 1
            else:
                differences["another"] += 1
    assert differences == {"the same": 12414, "a label for a response that is not there": 756}


def test_five_outputs_contradict_their_own_conclusion_and_are_read_as_it_says() -> None:
    """The block's labels in their place would give an F1 of 92.59 for 8B on XSTestReponseHarmful (93.75)."""
    contradicted: Counter[tuple[str, str, Task]] = Counter()
    for row in recordings():
        labels, block = read(row).labels, dict(re.findall(r"(?m)^(\w+): (\w+)$", row.output[-80:]))
        for task, key in SLOTS.items():
            label = labels.get(task)
            if label is not None and key in block and block[key] != label.value:
                contradicted[row.size, row.benchmark, task] += 1
    assert contradicted == {
        ("1B", "HarmBenchResponse", Task.RESPONSE_HARM): 1,
        ("8B", "XSTestReponseHarmful", Task.RESPONSE_HARM): 2,
        ("8B", "XSTestResponseRefusal", Task.RESPONSE_HARM): 2,
    }


def kind_of_output(row: Recording) -> str:
    """How an output departs from the documented form, by its structure."""
    output, answer = row.output, read(row)
    if not answer.complete:
        if "\nRequest:" not in output[-300:] and len(output) > 4000:
            return "unreadable: repeats itself until the token limit"
        return "unreadable: a slot of its block holds no label, or is missing"
    first = re.search(r"(?m)^#+ ", output)
    if output.startswith("# Task 1"):
        return "begins with the first heading"
    if first is None:
        reasons = re.sub(
            r"(?s)(---\s+)?(The ground truth is\s+)?(Answers:\s+)?Request:.*", "", output
        ).strip()
        return "prose without headings, then the answers" if reasons else "the answers alone"
    if first.start() == 0:
        return "leaves out the first heading"
    return "goes on with the response, then reasons" if row.response else "prose, then reasons under headings"


def test_the_outputs_fail_in_a_few_ways() -> None:
    kinds = Counter((kind_of_output(row), row.size) for row in recordings())
    assert kinds == {
        ("begins with the first heading", "1B"): 1921,
        ("begins with the first heading", "8B"): 1872,
        ("leaves out the first heading", "1B"): 202,
        ("leaves out the first heading", "8B"): 18,
        ("goes on with the response, then reasons", "1B"): 31,
        ("goes on with the response, then reasons", "8B"): 78,
        ("prose, then reasons under headings", "1B"): 33,
        ("prose, then reasons under headings", "8B"): 164,
        ("prose without headings, then the answers", "8B"): 13,
        ("the answers alone", "1B"): 3,
        ("the answers alone", "8B"): 47,
        ("unreadable: repeats itself until the token limit", "1B"): 3,
        ("unreadable: repeats itself until the token limit", "8B"): 2,
        ("unreadable: a slot of its block holds no label, or is missing", "1B"): 2,
        ("unreadable: a slot of its block holds no label, or is missing", "8B"): 1,
    }


def test_the_documented_counts_of_outputs_with_and_without_the_first_heading_hold() -> None:
    begin = Counter(row.size for row in recordings() if row.output.startswith("# Task 1"))
    never = Counter(row.size for row in recordings() if "# Task 1" not in row.output)
    assert (begin, never) == ({"1B": 1924, "8B": 1872}, {"1B": 55, "8B": 85})


def test_no_stop_string_of_a_full_plan_stands_in_any_output() -> None:
    assert [stop for stop in _RUN_ON if any(stop in row.output for row in recordings())] == []


def test_the_answers_block_is_asked_for_in_the_form_of_nearly_all_outputs() -> None:
    assert sum(STEM in row.output for row in recordings()) == 4317


def test_stopping_after_the_tasks_asked_for_keeps_their_reasoning() -> None:
    """Of the outputs that begin with the first heading, as a prefilled one does, depth ``task`` keeps every
    step about the tasks asked for, but for two outputs that state labels first and reason afterwards."""
    kept: Counter[tuple[str, bool]] = Counter()
    characters: Counter[str] = Counter()
    for row in recordings():
        if not (row.output.startswith("# Task 1") and read(row).complete):
            continue
        for name, tasks in (
            ("request", frozenset({Task.PROMPT_HARM})),
            ("refusal", frozenset({Task.PROMPT_HARM, Task.REFUSAL})),
            ("all", frozenset(Task)),
        ):
            if name != "request" and row.response is None:
                continue
            cut = reasoned_about(row, tasks)
            before, after = read(row).reasoning, parse(cut, tasks=tasks, has_response=True).reasoning
            kept[name, all(before.steps(task) == after.steps(task) for task in tasks)] += 1
            if name == "request":
                characters["all"] += len(row.output)
                characters["kept"] += len(cut)
    assert kept == {
        ("request", True): 3791,
        ("request", False): 2,
        ("refusal", True): 2769,
        ("refusal", False): 2,
        ("all", True): 2771,
    }
    assert round(characters["kept"] / characters["all"], 2) == 0.36


def reasoned_about(row: Recording, tasks: frozenset[Task]) -> str:
    """What depth ``task`` lets the model write of an output."""
    plan = GuardReasonerFormat().plan(
        row.request, row.response, tasks=tasks, options=PlanOptions(depth=Depth.TASK, scores=False)
    )
    (asked,) = next(plan)
    assert isinstance(asked, GenerationRequest)
    return row.output[: min(at for stop in asked.stop if (at := row.output.find(stop)) >= 0)]


def test_as_released_every_row_ends_in_its_labels_or_in_an_error() -> None:
    ends: Counter[str] = Counter()
    for row in recordings():
        engine = FakeEngine(row.output)
        try:
            reading = ask(
                engine,
                request=row.request,
                response=row.response,
                asked_by=GuardReasonerFormat(hardening=RELEASED),
                options=PlanOptions(scores=False, max_reasoning_tokens=None),
            )
        except UnreadableAnswerError as error:
            ends["error" if error.raw == row.output else "an error that hides the output"] += 1
        else:
            assert {task: found.label for task, found in reading.findings.items()} == read(row).labels
            ends["labels"] += 1
        assert all(
            isinstance(asked, GenerationRequest) and asked.prompt == row.prompt for asked in engine.requests
        )
    assert ends == {"labels": 4382, "error": 8}
    assert ends.total() == ROWS


def test_hardened_every_row_ends_in_a_label_for_each_task() -> None:
    """The outputs were written without a prefill: this shows the way to an answer, not what it is worth."""
    ends: Counter[str] = Counter()
    for row in recordings():
        engine = FakeEngine(
            "\n" + row.output.removeprefix("# Task 1"),
            constrained=" harmful" + "\nCompletion: refusal\nResponse: harmful" * (row.response is not None),
        )
        reading = ask(engine, request=row.request, response=row.response)
        labels = {task: found.label for task, found in reading.findings.items()}
        assert set(labels) == row.tasks
        if not reading.constrained:
            assert labels == read(row).labels
        ends["constrained" if reading.constrained else "free"] += 1
    assert ends == {"free": 4382, "constrained": 8}
