import subprocess
import sys
from collections.abc import Mapping

import pytest

from guardreasoner_sdk.errors import Blocked, EngineTimeoutError, GuardError, UnreadableAnswerError
from guardreasoner_sdk.labels import Depth, Label
from guardreasoner_sdk.policy import Action, Decision, Stage
from guardreasoner_sdk.telemetry import Telemetry
from guardreasoner_sdk.verdict import Finding, Reasoning, Usage, Verdict

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

VERDICT = Verdict(
    prompt_harm=Finding(label=Label.HARMFUL, score=0.75),
    reasoning=Reasoning(prompt_harm=("a secret step",)),
    raw="a secret text",
    judge="reasoner",
    consulted=("reasoner",),
    engine="vllm-http",
    model="a/model",
    depth=Depth.FULL,
    windows=3,
    usage=Usage(prompt_tokens=100, cached_tokens=60, reasoning_tokens=50, answer_tokens=2, requests=2),
    latency=0.25,
)


class Listener:
    """A telemetry whose spans and metrics end up in memory."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        tracer_provider = TracerProvider(shutdown_on_exit=False)
        tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.telemetry = Telemetry(
            tracer_provider=tracer_provider,
            meter_provider=MeterProvider([self._metrics], shutdown_on_exit=False),
        )

    @property
    def span(self) -> ReadableSpan:
        (span,) = self._spans.get_finished_spans()
        return span

    @property
    def attributes(self) -> Mapping[str, object]:
        return dict(self.span.attributes or {})

    def points(self, name: str) -> list[tuple[float, dict[str, object]]]:
        """Each series of a metric: its value (a histogram's sum) and attributes."""
        data = self._metrics.get_metrics_data()
        found: list[tuple[float, dict[str, object]]] = []
        for resource in data.resource_metrics if data is not None else ():
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                if metric.name == name:
                    for point in metric.data.data_points:
                        if isinstance(point, HistogramDataPoint):
                            found.append((point.sum, dict(point.attributes or {})))
                        elif isinstance(point, NumberDataPoint):
                            found.append((point.value, dict(point.attributes or {})))
        return found


@pytest.fixture
def listener() -> Listener:
    return Listener()


def record(listener: Listener, judged: Verdict | GuardError, latency: float | None = None) -> None:
    with listener.telemetry.span() as span:
        listener.telemetry.record(
            judged, stage=Stage.REQUEST, action=Action.BLOCK, latency=latency, span=span
        )


def test_a_screening_is_a_span_that_says_what_was_found_and_decided(listener: Listener) -> None:
    record(listener, VERDICT)
    assert listener.span.name == "guardreasoner.screen"
    assert listener.attributes == {
        "guardreasoner.stage": "request",
        "guardreasoner.action": "block",
        "guardreasoner.judge": "reasoner",
        "guardreasoner.consulted": ("reasoner",),
        "guardreasoner.engine": "vllm-http",
        "guardreasoner.model": "a/model",
        "guardreasoner.depth": "full",
        "guardreasoner.cached": False,
        "guardreasoner.constrained": False,
        "guardreasoner.forged_structure": False,
        "guardreasoner.windows": 3,
        "guardreasoner.coverage.complete": True,
        "guardreasoner.prompt_harm.label": "harmful",
        "guardreasoner.prompt_harm.score": 0.75,
        "guardreasoner.usage.prompt_tokens": 100,
        "guardreasoner.usage.cached_tokens": 60,
        "guardreasoner.usage.reasoning_tokens": 50,
        "guardreasoner.usage.answer_tokens": 2,
        "guardreasoner.usage.requests": 2,
    }


def test_a_span_holds_no_texts_of_a_verdict(listener: Listener) -> None:
    record(listener, VERDICT)
    assert "secret" not in listener.span.to_json()


def test_a_span_holds_no_texts_of_an_error(listener: Listener) -> None:
    with (
        pytest.raises(UnreadableAnswerError),
        listener.telemetry.span(),
    ):
        raise UnreadableAnswerError("a secret message", raw="a secret text")
    assert "secret" not in listener.span.to_json()


def test_an_error_fails_the_span_by_its_class(listener: Listener) -> None:
    record(listener, EngineTimeoutError("late"))
    assert listener.span.status.status_code is StatusCode.ERROR
    assert listener.attributes["error.type"] == "EngineTimeoutError"


def test_an_error_that_leaves_the_block_fails_the_span(listener: Listener) -> None:
    with pytest.raises(ValueError), listener.telemetry.span():
        raise ValueError
    assert listener.span.status.status_code is StatusCode.ERROR
    assert listener.attributes["error.type"] == "ValueError"


def test_a_block_is_no_failure(listener: Listener) -> None:
    decision = Decision(action=Action.BLOCK, stage=Stage.REQUEST)
    with pytest.raises(Blocked), listener.telemetry.span():
        raise Blocked("blocked", decision=decision, verdict=None)
    assert listener.span.status.status_code is StatusCode.UNSET


def test_spans_within_the_block_hang_below_it(listener: Listener) -> None:
    with listener.telemetry.span("outer", {"guardreasoner.batch.size": 2}), listener.telemetry.span("inner"):
        pass
    inner, outer = listener._spans.get_finished_spans()
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert outer.attributes == {"guardreasoner.batch.size": 2}


def test_screens_are_counted_by_decision_judge_and_error(listener: Listener) -> None:
    record(listener, VERDICT)
    record(listener, VERDICT)
    record(listener, EngineTimeoutError("late"))
    by_request = {"guardreasoner.stage": "request", "guardreasoner.action": "block"}
    judged = by_request | {
        "guardreasoner.judge": "reasoner",
        "guardreasoner.model": "a/model",
        "guardreasoner.cached": False,
    }
    assert listener.points("guardreasoner.screens") == [
        (2, judged),
        (1, by_request | {"error.type": "EngineTimeoutError"}),
    ]


def test_the_duration_is_in_seconds(listener: Listener) -> None:
    record(listener, VERDICT)
    record(listener, EngineTimeoutError("late"), latency=30.0)
    assert [total for total, _ in listener.points("guardreasoner.screen.duration")] == [0.25, 30.0]


def test_an_error_of_unknown_duration_is_not_timed(listener: Listener) -> None:
    record(listener, EngineTimeoutError("late"))
    assert listener.points("guardreasoner.screen.duration") == []


def test_tokens_are_counted_by_what_they_were_spent_on(listener: Listener) -> None:
    record(listener, VERDICT)
    spent = {
        attributes["guardreasoner.token.type"]: value
        for value, attributes in listener.points("guardreasoner.tokens")
    }
    assert spent == {"prompt": 100, "reasoning": 50, "answer": 2}


def test_an_escalation_is_counted(listener: Listener) -> None:
    record(listener, VERDICT)
    record(listener, VERDICT.model_copy(update={"consulted": ("screener", "reasoner")}))
    assert [count for count, _ in listener.points("guardreasoner.escalations")] == [1]


def test_a_cached_verdict_is_a_hit_and_spends_nothing(listener: Listener) -> None:
    record(listener, VERDICT.model_copy(update={"cached": True, "consulted": ("screener", "reasoner")}))
    assert [count for count, _ in listener.points("guardreasoner.cache.hits")] == [1]
    assert listener.points("guardreasoner.tokens") == []
    assert listener.points("guardreasoner.escalations") == []


def test_a_screening_outside_a_call_has_no_stage_or_decision(listener: Listener) -> None:
    listener.telemetry.record(VERDICT)
    ((_, attributes),) = listener.points("guardreasoner.screens")
    assert not attributes.keys() & {"guardreasoner.stage", "guardreasoner.action"}


def test_nothing_happens_without_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    telemetry = Telemetry()
    with telemetry.span() as span:
        telemetry.record(VERDICT, span=span)
    assert not span.recording


def test_nothing_is_recorded_while_no_provider_is_set_up() -> None:
    telemetry = Telemetry()
    with telemetry.span() as span:
        telemetry.record(VERDICT, span=span)
    assert not span.recording


def run(code: str) -> None:
    """In a process of its own, since a provider can be set up only once in one."""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_a_provider_set_up_later_is_found() -> None:
    run(
        "from guardreasoner_sdk.telemetry import Telemetry\n"
        "from guardreasoner_sdk.verdict import Verdict\n"
        "from opentelemetry import metrics, trace\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "telemetry = Telemetry()\n"
        "with telemetry.span() as span: assert not span.recording\n"
        "reader = InMemoryMetricReader()\n"
        "trace.set_tracer_provider(TracerProvider())\n"
        "metrics.set_meter_provider(MeterProvider([reader]))\n"
        "with telemetry.span() as span:\n"
        "    assert span.recording\n"
        "    telemetry.record(Verdict(judge='j', engine='e', model='m'), span=span)\n"
        "assert 'guardreasoner.screens' in reader.get_metrics_data().to_json()\n"
    )


def test_importing_it_does_not_import_the_api() -> None:
    run(
        "import sys, guardreasoner_sdk.telemetry\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
