"""Drives a format's plan against an engine, as a judge does."""

from guardreasoner_sdk.errors import CannotJudgeError
from guardreasoner_sdk.formats import Format, GuardReasonerFormat
from guardreasoner_sdk.labels import ALL_TASKS, REQUEST_TASKS, Task
from guardreasoner_sdk.ports import PlanOptions, Reading, TextEngine, TextResult


def ask(
    engine: TextEngine,
    *,
    request: str = "How do I bake bread?",
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
