"""Guardrails of the OpenAI Agents SDK made from a guard, in real runs against a scripted provider."""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

pytest.importorskip("agents")

from agents import (
    Agent,
    FunctionTool,
    InputGuardrailTripwireTriggered,
    OpenAIChatCompletionsModel,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    RunResult,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    function_tool,
)
from guardreasoner_openai.agents import (
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

from guardreasoner_sdk import Guard, Policy
from guardreasoner_sdk.errors import ConfigError, EngineUnavailableError, MissingDependencyError
from guardreasoner_sdk.outcomes import Outcome
from guardreasoner_sdk.testing import FakeClassifier
from tests.integrations.upstream import Reply, Upstream
from tests.sdk.guards import classifier, guard

QUIET = RunConfig(tracing_disabled=True)


def run(
    upstream: Upstream, prompt: str, agent: Callable[[OpenAIChatCompletionsModel], Agent[None]]
) -> RunResult:
    """Run an agent whose model is the provider, without a guard around it."""

    async def running() -> RunResult:
        async with AsyncOpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
            model = OpenAIChatCompletionsModel("m", openai_client=client)
            return await Runner.run(agent(model), prompt, run_config=QUIET)

    return asyncio.run(running())


def helper(model: OpenAIChatCompletionsModel, **options: object) -> Agent[None]:
    return Agent(name="helper", model=model, **options)  # type: ignore[arg-type]


def outcome_of(info: object) -> Outcome:
    assert isinstance(info, Outcome)
    return info


# -- input


def test_a_harmful_input_trips_before_the_model_is_asked(upstream: Upstream) -> None:
    with guard() as g, pytest.raises(InputGuardrailTripwireTriggered):
        run(upstream, "HARM", lambda model: helper(model, input_guardrails=[input_guardrail(g)]))
    assert upstream.calls == ()


def test_what_trips_on_an_input_tells_the_verdict(upstream: Upstream) -> None:
    with guard() as g, pytest.raises(InputGuardrailTripwireTriggered) as caught:
        run(upstream, "HARM", lambda model: helper(model, input_guardrails=[input_guardrail(g)]))
    outcome = outcome_of(caught.value.guardrail_result.output.output_info)
    assert outcome.verdict is not None
    assert outcome.verdict.prompt_harm is not None
    assert outcome.verdict.prompt_harm.positive


def test_a_harmless_input_passes_and_its_outcome_is_in_the_result(upstream: Upstream) -> None:
    with guard() as g:
        result = run(upstream, "hello", lambda model: helper(model, input_guardrails=[input_guardrail(g)]))
    assert result.final_output == "All is well."
    assert outcome_of(result.input_guardrail_results[0].output.output_info).allowed


def test_in_parallel_the_model_is_asked_while_the_input_is_judged(upstream: Upstream) -> None:
    judge = classifier()
    judge.hold()

    async def running(g: Guard) -> None:
        async with AsyncOpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
            agent = Agent[None](
                name="helper",
                model=OpenAIChatCompletionsModel("m", openai_client=client),
                input_guardrails=[input_guardrail(g, run_in_parallel=True)],
            )
            task = asyncio.create_task(Runner.run(agent, "HARM", run_config=QUIET))
            await asyncio.to_thread(upstream.wait_for_call)
            judge.release()
            await task

    with guard(judge) as g, pytest.raises(InputGuardrailTripwireTriggered):
        asyncio.run(running(g))


def test_a_guard_that_cannot_judge_trips(upstream: Upstream) -> None:
    broken = FakeClassifier(EngineUnavailableError("down"))
    with guard(broken) as g, pytest.raises(InputGuardrailTripwireTriggered) as caught:
        run(upstream, "hello", lambda model: helper(model, input_guardrails=[input_guardrail(g)]))
    assert isinstance(
        outcome_of(caught.value.guardrail_result.output.output_info).error, EngineUnavailableError
    )


# -- output


def test_a_harmful_output_trips(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM"))
    with guard() as g, pytest.raises(OutputGuardrailTripwireTriggered):
        run(upstream, "hello", lambda model: helper(model, output_guardrails=[output_guardrail(g)]))


def test_what_trips_on_an_output_tells_the_verdict(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM"))
    with guard() as g, pytest.raises(OutputGuardrailTripwireTriggered) as caught:
        run(upstream, "hello", lambda model: helper(model, output_guardrails=[output_guardrail(g)]))
    outcome = outcome_of(caught.value.guardrail_result.output.output_info)
    assert outcome.verdict is not None
    assert outcome.verdict.response_harm is not None
    assert outcome.verdict.response_harm.positive


def test_an_output_is_judged_with_the_input_of_the_run(upstream: Upstream) -> None:
    judge = classifier()
    with guard(judge) as g:
        run(upstream, "hello", lambda model: helper(model, output_guardrails=[output_guardrail(g)]))
    (asked,) = judge.requests
    assert (asked.prompt, asked.response) == ("hello", "All is well.")


class Plan(BaseModel):
    """A structured output."""

    step: str


def test_a_structured_output_is_judged_as_json(upstream: Upstream) -> None:
    upstream.reply(Reply.of_json({"step": "HARM"}))
    with guard() as g, pytest.raises(OutputGuardrailTripwireTriggered):
        run(
            upstream,
            "hello",
            lambda model: helper(model, output_type=Plan, output_guardrails=[output_guardrail(g)]),
        )


# -- tools


@dataclass
class Tool:
    """A tool that answers what it is told to, and remembers what it was asked."""

    answer: str
    asked: list[str]

    def guarded(self, g: Guard) -> FunctionTool:
        def look_up(topic: str) -> str:
            """Look a topic up."""
            self.asked.append(topic)
            return self.answer

        return function_tool(
            tool_input_guardrails=[tool_input_guardrail(g)],
            tool_output_guardrails=[tool_output_guardrail(g)],
        )(look_up)


REPLACING = Policy(harmful_request="replace", harmful_response="replace", violation_message="Not that.")


def calling(upstream: Upstream, topic: str) -> None:
    upstream.reply(Reply.calling("look_up", {"topic": topic}), Reply("Done."))


def test_a_tool_is_not_run_with_harmful_arguments(upstream: Upstream) -> None:
    calling(upstream, "HARM")
    tool = Tool("fine", [])
    with guard() as g, pytest.raises(ToolInputGuardrailTripwireTriggered):
        run(upstream, "hello", lambda model: helper(model, tools=[tool.guarded(g)]))
    assert tool.asked == []


def test_what_trips_on_a_tool_call_tells_the_verdict(upstream: Upstream) -> None:
    calling(upstream, "HARM")
    with guard() as g, pytest.raises(ToolInputGuardrailTripwireTriggered) as caught:
        run(upstream, "hello", lambda model: helper(model, tools=[Tool("fine", []).guarded(g)]))
    assert outcome_of(caught.value.output.output_info).verdict is not None


def test_harmful_arguments_that_are_replaced_give_the_model_the_message(upstream: Upstream) -> None:
    calling(upstream, "HARM")
    tool = Tool("fine", [])
    with guard(policy=REPLACING) as g:
        result = run(upstream, "hello", lambda model: helper(model, tools=[tool.guarded(g)]))
    assert result.final_output == "Done."
    assert tool.asked == []
    assert upstream.calls[1].last == "Not that."


def test_a_harmful_result_of_a_tool_does_not_reach_the_model(upstream: Upstream) -> None:
    calling(upstream, "bread")
    with guard() as g, pytest.raises(ToolOutputGuardrailTripwireTriggered):
        run(upstream, "hello", lambda model: helper(model, tools=[Tool("HARM", []).guarded(g)]))
    assert len(upstream.calls) == 1


def test_a_harmful_result_that_is_replaced_gives_the_model_the_message(upstream: Upstream) -> None:
    calling(upstream, "bread")
    with guard(policy=REPLACING) as g:
        run(upstream, "hello", lambda model: helper(model, tools=[Tool("HARM", []).guarded(g)]))
    assert upstream.calls[1].last == "Not that."
    assert "HARM" not in json.dumps(upstream.calls[1].body)


def test_a_tool_that_is_allowed_runs_and_answers(upstream: Upstream) -> None:
    calling(upstream, "bread")
    tool = Tool("Keep it in a bag.", [])
    with guard() as g:
        result = run(upstream, "hello", lambda model: helper(model, tools=[tool.guarded(g)]))
    assert (result.final_output, tool.asked) == ("Done.", ["bread"])
    assert upstream.calls[1].last == "Keep it in a bag."


def test_an_empty_result_of_a_tool_has_nothing_to_judge_and_passes(upstream: Upstream) -> None:
    calling(upstream, "bread")
    with guard() as g:
        result = run(upstream, "hello", lambda model: helper(model, tools=[Tool("", []).guarded(g)]))
    assert result.final_output == "Done."


# -- what cannot work


@pytest.mark.parametrize(
    ("make", "policy"),
    [
        (input_guardrail, Policy(check_input=False)),
        (tool_output_guardrail, Policy(check_input=False)),
        (output_guardrail, Policy(check_output=False)),
        (tool_input_guardrail, Policy(check_output=False)),
    ],
)
def test_a_guardrail_that_would_check_nothing_is_refused(
    make: Callable[[Guard], object], policy: Policy
) -> None:
    with guard(policy=policy) as g, pytest.raises(ConfigError, match="would check nothing"):
        make(g)


def test_without_the_agents_sdk_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agents", None)
    monkeypatch.delitem(sys.modules, "guardreasoner_openai.agents")
    with pytest.raises(MissingDependencyError, match=r"pip install 'guardreasoner-sdk\[agents\]'"):
        importlib.import_module("guardreasoner_openai.agents")
