"""Scores: what is asked for them, and what the reading then says."""

import math

import pytest

from guardreasoner_sdk.errors import (
    BadEngineResponseError,
    EngineRequestError,
)
from guardreasoner_sdk.formats import GuardReasonerFormat
from guardreasoner_sdk.formats._asking import positive_share
from guardreasoner_sdk.labels import Depth, Label, Task
from guardreasoner_sdk.ports import (
    Generation,
    PlanOptions,
)
from guardreasoner_sdk.testing import FakeEngine
from tests.sdk.formats.asking import (
    PROMPT_WITH_RESPONSE,
    RESPONSE,
    ask,
    labels,
    options,
    scorings,
)
from tests.sdk.formats.outputs import CONSTRAINED, FREE, FULL, STEM

CHANCES = {" harmful": 0.1, " unharmful": 0.3, " refusal": 0.2, " compliance": 0.05}


def test_each_label_of_a_free_answer_is_scored_where_it_stands_all_in_one_round() -> None:
    engine = FakeEngine(FREE, scores=CHANCES)
    reading = ask(engine, response=RESPONSE, options=options(scores=True))
    block = FULL.rpartition("Answers:")[0] + "Answers: \n"
    assert [asked.prompt for asked in scorings(engine)] == [
        f"{PROMPT_WITH_RESPONSE}{block}Request:",
        f"{PROMPT_WITH_RESPONSE}{block}Request: unharmful\nCompletion:",
        f"{PROMPT_WITH_RESPONSE}{block}Request: unharmful\nCompletion: compliance\nResponse:",
    ]
    assert [len(batch) for batch in engine.batches] == [1, 3]
    scores = {task: found.score for task, found in reading.findings.items()}
    assert scores == pytest.approx({Task.PROMPT_HARM: 0.25, Task.REFUSAL: 0.8, Task.RESPONSE_HARM: 0.25})
    assert reading.score_method == "fake"


def test_each_label_of_a_constrained_answer_is_scored_where_it_stands() -> None:
    engine = FakeEngine("", constrained=CONSTRAINED, scores=CHANCES)
    tasks = frozenset({Task.REFUSAL, Task.RESPONSE_HARM})
    ask(engine, response=RESPONSE, tasks=tasks, options=options(Depth.ANSWER, scores=True))
    assert [(asked.prompt, asked.continuations) for asked in scorings(engine)] == [
        (f"{PROMPT_WITH_RESPONSE}{STEM} harmful\nCompletion:", (" refusal", " compliance")),
        (f"{PROMPT_WITH_RESPONSE}{STEM} harmful\nCompletion: refusal\nResponse:", (" harmful", " unharmful")),
    ]


def test_a_request_alone_is_answered_and_scored_in_the_same_round() -> None:
    engine = FakeEngine("", constrained=" unharmful", scores=CHANCES)
    reading = ask(engine, options=options(Depth.ANSWER, scores=True))
    assert [len(batch) for batch in engine.batches] == [2]
    assert reading.findings[Task.PROMPT_HARM].score == pytest.approx(0.25)
    assert reading.findings[Task.PROMPT_HARM].label is Label.UNHARMFUL


def test_a_label_that_the_score_speaks_against_is_kept_as_written() -> None:
    reading = ask(FakeEngine(FREE, scores={" harmful": 0.9}), options=options(scores=True))
    found = reading.findings[Task.PROMPT_HARM]
    assert found.label is Label.UNHARMFUL
    assert found.score == pytest.approx(0.9)


@pytest.mark.parametrize("depth", list(Depth))
@pytest.mark.parametrize("response", [None, RESPONSE])
def test_an_engine_that_cannot_score_gives_findings_without_scores(
    depth: Depth, response: str | None
) -> None:
    engine = FakeEngine(FREE, constrained=CONSTRAINED, scores=EngineRequestError("no log-probabilities"))
    reading = ask(engine, response=response, options=options(depth, scores=True))
    assert {found.score for found in reading.findings.values()} == {None}
    assert reading.score_method is None


def test_an_engine_that_has_neither_grammars_nor_scores_still_answers() -> None:
    no = EngineRequestError("not supported")
    engine = FakeEngine(" harmful", constrained=no, scores=no)
    reading = ask(engine, options=options(Depth.ANSWER, scores=True))
    assert labels(reading) == {Task.PROMPT_HARM: Label.HARMFUL}
    assert (reading.score_method, reading.usage.requests) == (None, 1)


def test_scores_that_were_not_asked_for_are_not_had() -> None:
    engine = FakeEngine(FREE, constrained=CONSTRAINED)
    ask(engine, options=options(Depth.TASK))
    assert scorings(engine) == []


def test_labels_that_are_both_impossible_give_no_score() -> None:
    engine = FakeEngine(FREE, scores={" harmful": 0.0, " unharmful": 0.0})
    reading = ask(engine, options=options(scores=True))
    assert (reading.findings[Task.PROMPT_HARM].score, reading.score_method) == (None, None)


@pytest.mark.parametrize(
    ("positive", "negative", "share"),
    [
        (-1.0, -1.0, 0.5),
        (math.log(0.03), math.log(0.01), 0.75),
        (-5000.0, -0.0, 0.0),
        (-0.0, -5000.0, 1.0),
        (-math.inf, -1.0, 0.0),
        (-1.0, -math.inf, 1.0),
        (-math.inf, -math.inf, None),
        (math.nan, -1.0, None),
    ],
)
def test_a_score_is_the_positive_labels_share_of_both(
    positive: float, negative: float, share: float | None
) -> None:
    assert positive_share(positive, negative) == (None if share is None else pytest.approx(share))


def test_scoring_counts_as_answering() -> None:
    engine = FakeEngine(FREE)
    usage = ask(engine, options=options(scores=True)).usage
    assert (usage.answer_tokens, usage.requests) == (0, 2)


def test_a_score_of_the_wrong_kind_is_the_engines_error() -> None:
    plan = GuardReasonerFormat().plan("Hi", None, tasks=frozenset({Task.PROMPT_HARM}), options=PlanOptions())
    next(plan)
    plan.send([Generation(text=FREE, finish_reason="stop")])
    with pytest.raises(BadEngineResponseError, match="Generation"):
        plan.send([Generation(text=FREE, finish_reason="stop")])
