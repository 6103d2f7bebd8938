"""Guardrails for the OpenAI Agents SDK, made from a `Guard`.

::

    from agents import Agent, OpenAIChatCompletionsModel
    from guardreasoner_openai.agents import input_guardrail, output_guardrail

    agent = Agent(
        name="helper",
        model=OpenAIChatCompletionsModel("gpt-5", openai_client=guard.wrap(AsyncOpenAI())),
        input_guardrails=[input_guardrail(guard)],
        output_guardrails=[output_guardrail(guard)],
    )

Every result carries an `Outcome` (decision, verdict, error) in ``output_info``, those that trip and those
that do not. A guard that cannot judge trips, unless its policy says ``on_error="allow"``.

**What the SDK's guardrails cannot do, and a guarded model does.** Input guardrails look at the input of the
first agent of a run, output guardrails at the output of the last: what the agents between them say, which
tools they call and what handoffs carry is seen by neither. An output guardrail runs when the output is whole:
a stream has shown it by then. An input guardrail with ``run_in_parallel=True`` runs beside the first model
call, whose tools may run before it trips. So give the agents a model whose client is wrapped, as above
(``OpenAIResponsesModel`` works the same way): then no text and no tool call of any agent reaches the SDK
before a verdict allowed it, streamed or not. The guardrails are then for what does not come from such a
model: other models, and the results of tools.

A blocked model call raises `guardreasoner_sdk.Blocked` out of ``Runner.run`` or the stream's events. What a
policy replaces reaches the agent as the model's answer with chat completions. Of the Responses API it is an
incomplete response, which the SDK raises as ``ModelBehaviorError``.
"""

from typing import Any, Final, TypeVar

import pydantic_core
from openai.types.responses import ResponseFunctionToolCall

from guardreasoner_openai.responses_items import content_parts
from guardreasoner_openai.responses_request import conversation_of
from guardreasoner_sdk.conversation import Conversation, Message, Part, PartKind, Role, tool_call_text
from guardreasoner_sdk.errors import ConfigError, MissingDependencyError, UnsupportedContentError
from guardreasoner_sdk.guard import Guard
from guardreasoner_sdk.outcomes import Outcome
from guardreasoner_sdk.policy import Action, Stage

try:
    from agents import (
        Agent,
        GuardrailFunctionOutput,
        InputGuardrail,
        ItemHelpers,
        OutputGuardrail,
        RunContextWrapper,
        ToolGuardrailFunctionOutput,
        ToolInputGuardrail,
        ToolInputGuardrailData,
        ToolOutputGuardrail,
        ToolOutputGuardrailData,
        TResponseInputItem,
    )
except ImportError as error:
    raise MissingDependencyError(
        "openai-agents", "agents", purpose="guardrails for the OpenAI Agents SDK"
    ) from error

C = TypeVar("C")
"""The context of a run, whatever it is."""

_NAME: Final = "guardreasoner"


def input_guardrail(guard: Guard, *, name: str = _NAME, run_in_parallel: bool = False) -> InputGuardrail[C]:
    """A guardrail over the input of a run: it trips where the guard's policy stops the request.

    Args:
        guard: who judges.
        name: what it is called in traces.
        run_in_parallel: judge beside the first model call, which saves time and gives up that nothing happens
            before the verdict: the model is asked, and its tools may run. Default: before it.

    Raises:
        ConfigError: the guard's policy does not check the input.
    """
    _check_that_it_checks(guard, Stage.REQUEST, "input_guardrail")

    async def judge(
        context: RunContextWrapper[C], agent: Agent[Any], given: str | list[TResponseInputItem]
    ) -> GuardrailFunctionOutput:
        return _tripped(await guard.acheck(conversation_of({"input": given}), stage=Stage.REQUEST))

    return InputGuardrail(guardrail_function=judge, name=name, run_in_parallel=run_in_parallel)


def output_guardrail(guard: Guard, *, name: str = _NAME) -> OutputGuardrail[C]:
    """A guardrail over the final output of a run, judged with the run's input.

    Structured output is judged as JSON. In a streamed run it trips after the text was shown: see the module's
    text for what closes that.

    Args:
        guard: who judges.
        name: what it is called in traces.

    Raises:
        ConfigError: the guard's policy does not check the output.
    """
    _check_that_it_checks(guard, Stage.RESPONSE, "output_guardrail")

    async def judge(
        context: RunContextWrapper[C], agent: Agent[Any], output: object
    ) -> GuardrailFunctionOutput:
        return _tripped(await guard.acheck(_asked(context), response=_text(output), stage=Stage.RESPONSE))

    return OutputGuardrail(guardrail_function=judge, name=name)


def tool_input_guardrail(guard: Guard, *, name: str = _NAME) -> ToolInputGuardrail[C]:
    """A guardrail over the calls of a function tool, each judged as a response to the run's input.

    What the policy blocks ends the run; what it replaces becomes the violation message, which the model gets
    in place of the tool's result. Either way the tool does not run.

    Args:
        guard: who judges.
        name: what it is called in traces.

    Raises:
        ConfigError: the guard's policy does not check the output.
    """
    _check_that_it_checks(guard, Stage.RESPONSE, "tool_input_guardrail")

    async def judge(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
        context = data.context
        path = f"tool_call[{context.tool_name}]"
        text = tool_call_text(context.qualified_tool_name, context.tool_arguments, path)
        call = Message(Role.ASSISTANT, (Part(path, PartKind.TOOL_CALL, text),))
        return _behaviour(await guard.acheck(_asked(context), response=call, stage=Stage.RESPONSE))

    return ToolInputGuardrail(guardrail_function=judge, name=name)


def tool_output_guardrail(guard: Guard, *, name: str = _NAME) -> ToolOutputGuardrail[C]:
    """A guardrail over the results of a function tool, before the model reads them.

    A result is judged as part of the request, with the run's input before it, since it can carry
    instructions; the guard's `check_tool_results` need not be set. What the policy blocks ends the run; what
    it replaces becomes the violation message, which the model gets in place of the result.

    Args:
        guard: who judges.
        name: what it is called in traces.

    Raises:
        ConfigError: the guard's policy does not check the input.
    """
    _check_that_it_checks(guard, Stage.REQUEST, "tool_output_guardrail")

    async def judge(data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
        given = _as_the_model_reads_it(data)
        parts = tuple(content_parts(given, f"tool_output[{data.context.tool_name}]"))
        if not any(part.kind is PartKind.OPAQUE or part.text.strip() for part in parts):
            return ToolGuardrailFunctionOutput.allow()
        asked = Conversation((*_asked(data.context).messages, Message(Role.USER, parts)))
        return _behaviour(await guard.acheck(asked, stage=Stage.REQUEST))

    return ToolOutputGuardrail(guardrail_function=judge, name=name)


def _check_that_it_checks(guard: Guard, stage: Stage, what: str) -> None:
    if not guard.policy.checks(stage):
        switch = "check_input" if stage is Stage.REQUEST else "check_output"
        raise ConfigError(
            f"{what} would check nothing: the guard's policy has {switch}=False. Leave the guardrail out, or "
            f"use a guard whose policy has {switch}=True"
        )


def _asked(context: RunContextWrapper[Any]) -> Conversation:
    """The run's input."""
    return conversation_of({"input": context.turn_input})


def _text(output: object) -> str:
    if isinstance(output, str):
        return output
    try:
        return pydantic_core.to_json(output).decode()
    except ValueError as error:
        raise UnsupportedContentError(
            f"the agent's output is a {type(output).__name__} that is not JSON: it cannot be judged ({error})"
        ) from error


def _as_the_model_reads_it(data: ToolOutputGuardrailData) -> object:
    context = data.context
    call = context.tool_call or ResponseFunctionToolCall(
        type="function_call",
        call_id=context.tool_call_id,
        name=context.tool_name,
        arguments=context.tool_arguments,
    )
    return ItemHelpers.tool_call_output_item(call, data.output)["output"]


def _tripped(outcome: Outcome) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info=outcome, tripwire_triggered=not outcome.allowed)


def _behaviour(outcome: Outcome) -> ToolGuardrailFunctionOutput:
    message = outcome.decision.message
    if outcome.allowed:
        return ToolGuardrailFunctionOutput.allow(outcome)
    if outcome.decision.action is Action.REPLACE and message is not None:
        return ToolGuardrailFunctionOutput.reject_content(message, outcome)
    return ToolGuardrailFunctionOutput.raise_exception(outcome)
