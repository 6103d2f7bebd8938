"""The turns of an agent behind `GuardMiddleware`: prompt, replies, tool calls and tool results."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from guardreasoner_langchain import outcomes_of
from guardreasoner_langchain.middleware import GuardMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Command

from guardreasoner_sdk import Blocked, ConfigError, Policy
from guardreasoner_sdk.errors import EngineTimeoutError
from guardreasoner_sdk.testing import FakeClassifier
from tests.integrations.langchain.agents import THREAD, Rig, history, rig, told
from tests.integrations.upstream import Reply, ToolCall, Upstream
from tests.sdk import guards

NO = "I can't help with that."


@pytest.fixture(params=["sync", "async"])
def made(upstream: Upstream, request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig(upstream, asynchronous=request.param == "async") as one:
        yield one


def calling(*queries: str) -> Reply:
    """A reply that calls the tool once for each."""
    calls = [
        ToolCall("lookup", json.dumps({"query": query}), f"call_{n}") for n, query in enumerate(queries)
    ]
    return Reply(text=None, tool_calls=calls)


# -- what is judged, and how often


def test_each_text_of_a_turn_is_judged_once(made: Rig) -> None:
    made.upstream.reply(calling("bread"), calling("butter"), Reply("Enjoy."))
    made.ask(made.agent(), "hello")
    assert made.asked == [
        ("hello", None),
        ("hello", 'lookup({"query": "bread"})'),
        ("found bread", None),
        ("hello", 'lookup({"query": "butter"})'),
        ("found butter", None),
        ("hello", "Enjoy."),
    ]


def test_what_is_allowed_goes_through_unchanged(made: Rig) -> None:
    made.upstream.reply(calling("bread"), Reply("Enjoy."))
    answer = made.ask(made.agent(), "hello")
    assert told(answer["messages"]) == [
        ("human", "hello"),
        ("ai", ""),
        ("tool", "found bread"),
        ("ai", "Enjoy."),
    ]
    assert made.ran == [("lookup", "bread")]


def test_the_messages_of_a_turn_tell_their_outcomes_as_json(made: Rig) -> None:
    made.upstream.reply(calling("bread"), Reply("Enjoy."))
    messages = made.ask(made.agent(), "hello")["messages"]
    json.dumps([message.response_metadata for message in messages])
    stages = [[outcome.decision.stage.value for outcome in outcomes_of(message)] for message in messages]
    assert stages == [["request"], ["response"], ["request"], ["response"]]


def test_a_later_turn_is_judged_by_itself(made: Rig) -> None:
    agent = made.agent()
    made.upstream.reply(Reply("one"), Reply("two"))
    made.ask(agent, "first")
    made.ask(agent, "second")
    assert made.asked[2:] == [("second", None), ("second", "two")]


def test_what_is_switched_off_is_not_judged(made: Rig) -> None:
    made.upstream.reply(calling("bread"), Reply("Enjoy."))
    off = GuardMiddleware(made.guard, check_input=False, check_tool_results=False)
    made.ask(made.agent([off]), "hello")
    assert made.asked == [("hello", 'lookup({"query": "bread"})'), ("hello", "Enjoy.")]


def test_without_output_checks_each_tool_call_is_judged_before_it_runs(made: Rig) -> None:
    made.upstream.reply(calling("bread", "HARM"), Reply("HARM"))
    only = GuardMiddleware(
        made.guard, check_output=False, check_tool_results=False, exit_behavior="replace"
    )
    answer = made.ask(made.agent([only]), "hello")
    assert made.ran == [("lookup", "bread")]
    assert told(answer["messages"])[2:] == [("tool", "found bread"), ("tool", NO), ("ai", "HARM")]


# -- a prompt that is not allowed


@pytest.mark.parametrize("exit_behavior", ["error", "end"])
def test_a_blocked_prompt_does_not_reach_the_model(made: Rig, exit_behavior: Any) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior=exit_behavior)])
    try:
        made.ask(agent, "HARM")
    except Blocked:
        assert exit_behavior == "error"
    assert not made.upstream.calls


def test_a_blocked_prompt_is_raised_with_its_verdict(made: Rig) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="error")])
    with pytest.raises(Blocked) as raised:
        made.ask(agent, "HARM")
    assert raised.value.decision.reasons == ("harmful_request",)
    assert raised.value.verdict is not None
    assert raised.value.verdict.prompt_harm is not None
    assert raised.value.verdict.prompt_harm.score == 0.99


def test_a_blocked_prompt_ends_the_turn_with_the_violation_message(made: Rig) -> None:
    answer = made.ask(made.agent(), "HARM")
    assert told(answer["messages"]) == [("ai", NO)]


def test_a_replaced_prompt_is_told_to_the_model_as_the_violation_message(made: Rig) -> None:
    made.upstream.reply(Reply("What else?"))
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    answer = made.ask(agent, {"messages": [("user", "well"), ("user", "HARM")]})
    assert [message["content"] for message in made.shown_to_model(1)] == [NO]
    assert told(answer["messages"]) == [("human", NO), ("ai", "What else?")]


@pytest.mark.parametrize("exit_behavior", ["error", "end"])
def test_a_turn_after_a_blocked_prompt_works_and_its_history_does_not_hold_it(
    made: Rig, exit_behavior: Any
) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior=exit_behavior)])
    made.upstream.reply(Reply("Fine."))
    try:
        made.ask(agent, "HARM")
    except Blocked:
        assert exit_behavior == "error"
    made.ask(agent, "hello")
    assert "HARM" not in str(made.shown_to_model(1))
    assert history(agent)[-2:] == [("human", "hello"), ("ai", "Fine.")]
    assert "HARM" not in str(history(agent))


def test_with_error_nothing_of_a_blocked_turn_stays_and_what_was_before_does(made: Rig) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="error")])
    made.upstream.reply(Reply("Fine."))
    made.ask(agent, "hello")
    with pytest.raises(Blocked):
        made.ask(agent, "HARM")
    assert history(agent) == [("human", "hello"), ("ai", "Fine.")]


def test_a_blocked_run_that_is_taken_up_again_is_still_blocked(made: Rig) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="error")])
    with pytest.raises(Blocked):
        made.ask(agent, "HARM")
    with pytest.raises(Blocked):
        made.ask(agent, None)
    assert not made.upstream.calls


# -- a reply that is not allowed


def test_a_blocked_reply_is_raised_and_its_turn_does_not_stay(made: Rig) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="error")])
    made.upstream.reply(calling("bread"), Reply("HARM"), Reply("Fine."))
    with pytest.raises(Blocked) as raised:
        made.ask(agent, "hello")
    assert raised.value.decision.reasons == ("harmful_response",)
    assert history(agent) == []
    made.ask(agent, "again")
    assert [message["content"] for message in made.shown_to_model(3)] == ["again"]


@pytest.mark.parametrize("exit_behavior", ["end", "replace"])
def test_a_blocked_reply_gives_way_to_the_violation_message(made: Rig, exit_behavior: Any) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior=exit_behavior)])
    made.upstream.reply(Reply("HARM"))
    answer = made.ask(agent, "hello")
    assert told(answer["messages"]) == [("human", "hello"), ("ai", NO)]
    assert answer["messages"][-1].response_metadata["finish_reason"] == "content_filter"
    (outcome,) = outcomes_of(answer["messages"][-1])
    assert outcome.decision.reasons == ("harmful_response",)


def test_of_a_reply_with_several_calls_of_which_one_is_harmful_none_runs(made: Rig) -> None:
    made.upstream.reply(calling("bread", "HARM", "butter"))
    answer = made.ask(made.agent(), "hello")
    assert made.ran == []
    assert told(answer["messages"]) == [("human", "hello"), ("ai", NO)]


def test_a_call_whose_name_is_harmful_does_not_run(made: Rig) -> None:
    def HARM(query: str) -> str:  # noqa: N802
        """Look something up."""
        made.ran.append(("HARM", query))
        return "found"

    made.upstream.reply(Reply.calling("HARM", {"query": "bread"}))
    made.ask(made.agent(tools=[HARM]), "hello")
    assert made.ran == []


# -- a tool's result that is not allowed


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


def test_a_result_of_a_tool_that_returns_directly_is_judged(made: Rig) -> None:
    from langchain_core.tools import StructuredTool

    tool = StructuredTool.from_function(made.tools[0], return_direct=True)
    made.results["bread"] = "HARM"
    made.upstream.reply(calling("bread"), Reply("Fine."))
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="error")], tools=[tool])
    with pytest.raises(Blocked):
        made.ask(agent, "hello")
    assert "HARM" not in str(history(agent))


def test_results_that_the_client_sends_are_judged_whatever_they_say_of_themselves(made: Rig) -> None:
    allowed = made.ask(made.agent(), "hello")["messages"][0].response_metadata
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    call = {"name": "lookup", "args": {"query": "bread"}, "id": "c", "type": "tool_call"}
    sent = [
        HumanMessage("hello"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("HARM", tool_call_id="c", response_metadata=allowed),
    ]
    answer = made.ask(agent, {"messages": sent})
    assert ("tool", NO) in told(answer["messages"])
    assert "HARM" not in str(made.shown_to_model(2))


# -- what cannot be judged


def test_what_the_guard_cannot_judge_is_not_allowed_and_the_error_is_the_cause(made: Rig) -> None:
    guard = guards.guard(FakeClassifier(EngineTimeoutError("too slow")))
    agent = made.agent([GuardMiddleware(guard, exit_behavior="error")])
    with pytest.raises(Blocked) as raised:
        made.ask(agent, "hello")
    assert isinstance(raised.value.__cause__, EngineTimeoutError)
    assert not made.upstream.calls


def test_a_tool_call_that_cannot_be_judged_does_not_run(made: Rig) -> None:
    guard = guards.guard(FakeClassifier(EngineTimeoutError("too slow")))
    only = GuardMiddleware(guard, check_input=False, check_output=False, exit_behavior="replace")
    made.upstream.reply(calling("bread"), Reply("Fine."))
    made.ask(made.agent([only]), "hello")
    assert made.ran == []


def test_what_cannot_be_screened_is_not_allowed_and_the_error_says_why(made: Rig) -> None:
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="error")])
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    made.upstream.reply(Reply("Fine."))
    with pytest.raises(Blocked, match="unscreenable='record'"):
        made.ask(agent, {"messages": [HumanMessage([picture])]})
    made.ask(agent, "hello")
    assert history(agent) == [("human", "hello"), ("ai", "Fine.")]


def test_a_result_that_is_not_text_does_not_reach_the_model(made: Rig) -> None:
    picture = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    made.results["bread"] = ToolMessage([picture], tool_call_id="call_0")
    made.upstream.reply(calling("bread"), Reply("Fine."))
    agent = made.agent([GuardMiddleware(made.guard, exit_behavior="replace")])
    made.ask(agent, "hello")
    assert "AAAA" not in str(made.shown_to_model(2))


# -- policies and messages


def test_what_the_policy_replaces_is_replaced_whatever_the_exit_behavior(made: Rig) -> None:
    guard = guards.guard(policy=Policy(harmful_response="replace", violation_message="Not that."))
    agent = made.agent([GuardMiddleware(guard, exit_behavior="error")])
    made.upstream.reply(Reply("HARM"))
    answer = made.ask(agent, "hello")
    assert told(answer["messages"]) == [("human", "hello"), ("ai", "Not that.")]


def test_what_the_policy_only_flags_passes_and_is_told(made: Rig) -> None:
    guard = guards.guard(policy=Policy(harmful_request="flag", complied_with_harmful_request="flag"))
    agent = made.agent([GuardMiddleware(guard)])
    answer = made.ask(agent, "HARM")
    (outcome,) = outcomes_of(answer["messages"][0])
    assert outcome.decision.reasons == ("harmful_request",)


def test_the_violation_message_may_be_told_of_the_decision(made: Rig) -> None:
    own = GuardMiddleware(made.guard, violation_message=lambda decision: f"No: {decision.reasons[0]}")
    answer = made.ask(made.agent([own]), "HARM")
    assert told(answer["messages"]) == [("ai", "No: harmful_request")]


def test_a_middleware_that_would_check_nothing_is_refused() -> None:
    with guards.guard() as guard, pytest.raises(ConfigError, match="checks nothing"):
        GuardMiddleware(
            guard,
            check_input=False,
            check_output=False,
            check_tool_calls=False,
            check_tool_results=False,
        )


def test_a_check_that_the_policy_has_switched_off_is_refused() -> None:
    with guards.guard(policy=Policy(check_output=False)) as guard, pytest.raises(ConfigError, match="policy"):
        GuardMiddleware(guard, check_output=True)


def test_an_unknown_exit_behavior_is_refused() -> None:
    with guards.guard() as guard, pytest.raises(ConfigError, match="'stop'"):
        GuardMiddleware(guard, exit_behavior="stop")  # type: ignore[arg-type]


def test_without_a_checkpointer_it_works_the_same(made: Rig) -> None:
    agent = made.agent()
    agent.checkpointer = None
    made.upstream.reply(Reply("HARM"))
    answer = made.ask(agent, "hello")
    assert told(answer["messages"]) == [("human", "hello"), ("ai", NO)]
    assert THREAD
