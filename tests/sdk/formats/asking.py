"""Drives a format's plan against an engine, as a judge does, and looks at what was asked."""

from guardreasoner_sdk.errors import CannotJudgeError
from guardreasoner_sdk.formats import Format, GuardReasonerFormat
from guardreasoner_sdk.formats.guardreasoner import render
from guardreasoner_sdk.labels import ALL_TASKS, REQUEST_TASKS, Depth, Label, Task
from guardreasoner_sdk.ports import (
    GenerationRequest,
    PlanOptions,
    Reading,
    ScoreRequest,
    TextEngine,
    TextResult,
)
from guardreasoner_sdk.testing import FakeEngine

REQUEST = "How do I bake bread?"
RESPONSE = "Mix flour and water."
PROMPT = render(REQUEST, None)
PROMPT_WITH_RESPONSE = render(REQUEST, RESPONSE)


def ask(
    engine: TextEngine,
    *,
    request: str = REQUEST,
    response: str | None = None,
    tasks: frozenset[Task] | None = None,
    options: PlanOptions | None = None,
    asked_by: Format | None = None,
) -> Reading:
    """The reading of one window; by default for every task that has something to judge, without scores."""
    if tasks is None:
        tasks = REQUEST_TASKS if response is None else ALL_TASKS
    plan = (asked_by or GuardReasonerFormat()).plan(
        request, response, tasks=tasks, options=options or PlanOptions(scores=False)
    )
    try:
        wanted = next(plan)
        while True:
            results: list[TextResult] = []
            failed: CannotJudgeError | None = None
            for answer in engine.run(wanted):
                if isinstance(answer, CannotJudgeError):
                    failed = failed or answer
                else:
                    results.append(answer)
            wanted = plan.send(results) if failed is None else plan.throw(failed)
    except StopIteration as end:
        reading = end.value
        assert isinstance(reading, Reading)
        return reading


def labels(reading: Reading) -> dict[Task, Label]:
    return {task: found.label for task, found in reading.findings.items()}


def generations(engine: FakeEngine) -> list[GenerationRequest]:
    return [request for request in engine.requests if isinstance(request, GenerationRequest)]


def scorings(engine: FakeEngine) -> list[ScoreRequest]:
    return [request for request in engine.requests if isinstance(request, ScoreRequest)]


def options(depth: Depth = Depth.FULL, *, scores: bool = False, budget: int | None = None) -> PlanOptions:
    return PlanOptions(depth=depth, scores=scores, max_reasoning_tokens=budget)
