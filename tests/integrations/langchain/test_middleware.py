"""The turns of an agent behind `GuardMiddleware`: prompt, replies, tool calls and tool results."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from guardreasoner_langchain import outcomes_of
from guardreasoner_langchain.middleware import GuardMiddleware
from langchain_core.messages import HumanMessage

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
    calls = [ToolCall("lookup", json.dumps({"query": query}), f"call_{n}") for n, query in enumerate(queries)]
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
    only = GuardMiddleware(made.guard, check_output=False, check_tool_results=False, exit_behavior="replace")
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
