"""Tool results behind `GuardMiddleware`: none that is not allowed reaches the model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from guardreasoner_langchain.middleware import GuardMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langgraph.types import Command

from guardreasoner_sdk import Blocked
from guardreasoner_sdk.testing import FakeClassifier
from tests.integrations.langchain.agents import Rig, history, rig, told
from tests.integrations.upstream import Reply, ToolCall, Upstream
from tests.sdk import guards

NO = "I can't help with that."


@dataclass
class Update:
    """A state update that is no mapping."""

    messages: list[ToolMessage]


@pytest.fixture(params=["sync", "async"])
def made(upstream: Upstream, request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig(upstream, asynchronous=request.param == "async") as one:
        yield one


def calling(*queries: str) -> Reply:
    """A reply that calls the tool once for each."""
    calls = [ToolCall("lookup", json.dumps({"query": query}), f"call_{n}") for n, query in enumerate(queries)]
    return Reply(text=None, tool_calls=calls)


@pytest.mark.parametrize("exit_behavior", ["error", "end", "replace"])
def test_a_harmful_result_does_not_reach_the_model(made: Rig, exit_behavior: Any) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior=exit_behavior)])
    made.results["bread"] = "HARM"
    made.upstream.reply(calling("bread"), Reply("Fine."))
    try:
        made.ask(agent, "hello")
    except Blocked:
        assert exit_behavior == "error"
    assert made.ran == [("lookup", "bread")]
    assert "HARM" not in str([call.body for call in made.upstream.calls])
    assert "HARM" not in str(history(agent))


def test_a_replaced_result_is_an_error_for_the_model_which_goes_on(made: Rig) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    made.results["bread"] = "HARM"
    made.upstream.reply(calling("bread", "butter"), Reply("Only butter, then."))
    answer = made.ask(agent, "hello")
    _, _, bread, butter, last = answer["messages"]
    assert (bread.content, bread.status, bread.name) == (NO, "error", "lookup")
    assert (butter.content, butter.status) == ("found butter", "success")
    assert last.content == "Only butter, then."


def test_with_end_a_harmful_result_ends_the_run(made: Rig) -> None:
    made.results["bread"] = "HARM"
    made.upstream.reply(calling("bread", "butter"))
    answer = made.ask(made.agent(), "hello")
    assert told(answer["messages"]) == [
        ("human", "hello"),
        ("ai", ""),
        ("tool", NO),
        ("tool", "found butter"),
        ("ai", NO),
    ]
    assert len(made.upstream.calls) == 1


def test_with_error_a_harmful_result_is_raised_and_its_turn_does_not_stay(made: Rig) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="error")])
    made.results["bread"] = "HARM"
    made.upstream.reply(calling("bread", "butter"), Reply("Fine."))
    with pytest.raises(Blocked) as raised:
        made.ask(agent, "hello")
    assert raised.value.decision.reasons == ("harmful_request",)
    assert history(agent) == []
    made.ask(agent, "again")
    assert history(agent) == [("human", "again"), ("ai", "Fine.")]


def test_a_result_that_says_nothing_passes(made: Rig) -> None:
    made.results["bread"] = "  "
    made.upstream.reply(calling("bread"), Reply("Fine."))
    answer = made.ask(made.agent(), "hello")
    assert told(answer["messages"])[-1] == ("ai", "Fine.")
    assert len(made.asked) == 3


def test_the_messages_of_a_command_that_a_tool_returns_are_judged(made: Rig) -> None:
    message = ToolMessage("HARM", tool_call_id="call_0")
    made.results["bread"] = Command(update={"messages": [message, HumanMessage("HARM, too")]})
    made.upstream.reply(calling("bread"), Reply("Fine."))
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    answer = made.ask(agent, "hello")
    assert told(answer["messages"])[2:] == [("tool", NO), ("human", NO), ("ai", "Fine.")]


def test_of_a_list_that_a_tool_returns_each_message_is_judged(made: Rig) -> None:
    made.results["bread"] = [
        ToolMessage("HARM", tool_call_id="call_0"),
        Command(update={"messages": [HumanMessage("HARM, too")]}),
    ]
    made.upstream.reply(calling("bread"), Reply("Fine."))
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    answer = made.ask(agent, "hello")
    assert "HARM" not in str(answer["messages"])


@pytest.mark.parametrize("exit_behavior", ["error", "end", "replace"])
def test_a_result_of_a_tool_that_returns_directly_is_judged_and_the_next_turn_works(
    made: Rig, exit_behavior: Any
) -> None:
    tool = StructuredTool.from_function(made.tools[0], return_direct=True)
    made.results["bread"] = "HARM"
    made.upstream.reply(calling("bread"), Reply("Fine."))
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior=exit_behavior)], tools=[tool])
    try:
        answer = made.ask(agent, "hello")
    except Blocked:
        assert exit_behavior == "error"
    else:
        assert told(answer["messages"])[-1] == ("tool", NO)
    made.ask(agent, "again")
    assert history(agent)[-2:] == [("human", "again"), ("ai", "Fine.")]
    assert "HARM" not in str(history(agent))


def test_a_command_in_which_no_messages_can_be_found_does_not_reach_the_model(made: Rig) -> None:
    made.results["bread"] = Command(update=Update(messages=[ToolMessage("HARM", tool_call_id="call_0")]))
    made.upstream.reply(calling("bread"), Reply("Fine."))
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    made.ask(agent, "hello")
    assert "HARM" not in str(made.shown_to_model(2))


def test_results_that_the_client_sends_are_judged_whatever_they_say_of_themselves(made: Rig) -> None:
    lenient = GuardMiddleware(guards.guard(FakeClassifier(guards.SAFE)))
    made.results["bread"] = "HARM"
    made.upstream.reply(calling("bread"), Reply("Fine."))
    allowed = made.ask(made.agent([lenient]), "hello")["messages"][2].response_metadata
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    call = {"name": "lookup", "args": {"query": "bread"}, "id": "c", "type": "tool_call"}
    sent = [
        HumanMessage("hello"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("HARM", tool_call_id="c", response_metadata=allowed),
    ]
    answer = made.ask(agent, {"messages": sent})
    assert ("tool", NO) in told(answer["messages"])
    assert "HARM" not in str(made.shown_to_model(3))


def test_a_result_that_is_not_text_does_not_reach_the_model(made: Rig) -> None:
    picture = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    made.results["bread"] = ToolMessage([picture], tool_call_id="call_0")
    made.upstream.reply(calling("bread"), Reply("Fine."))
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    made.ask(agent, "hello")
    assert "AAAA" not in str(made.shown_to_model(2))
