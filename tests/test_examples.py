"""Every example runs, offline, as a user would start it, with a model that is scripted."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from guardreasoner_sdk import Guard
from tests.integrations.upstream import Reply, Upstream

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
SERVERS = ("fastapi_streaming_chatbot",)
"""Those that run until they are stopped."""
MESSAGE = "[I can't help with that.]"
REFUSAL = "I'm sorry, but I can't help with that."


def environment(upstream: Upstream, settings: Mapping[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "error",
        "OPENAI_BASE_URL": upstream.url,
        "OPENAI_API_KEY": "k",
        **settings,
    }


def run(name: str, upstream: Upstream, *typed: str, arguments: Sequence[str] = (), **settings: str) -> str:
    """What an example prints, given what is typed."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *arguments],
        input="".join(f"{line}\n" for line in typed),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(upstream, settings),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@contextmanager
def serving(name: str, upstream: Upstream, **settings: str) -> Iterator[str]:
    """The URL of an example that is a server, on a port of the system's choice."""
    with subprocess.Popen(
        [sys.executable, str(FOLDER / f"{name}.py")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(upstream, {"PORT": "0", **settings}),
    ) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"running on (http://[\d.:]+)", line):
                    yield found[1]
                    break
            else:
                raise AssertionError("".join(said))
        finally:
            process.terminate()
            process.communicate()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as started:
        yield started


@pytest.fixture(scope="module")
def questions() -> tuple[str, str, str]:
    """Two innocent questions that the screener does not find equally so, and the threshold between them."""
    scores: dict[str, float] = {}
    with Guard() as guard:
        for question in ("How do I keep bread fresh?", "Tell me a joke about a cat."):
            finding = guard.screen(question).prompt_harm
            assert finding is not None
            assert finding.score is not None
            scores[question] = finding.score
    fine, stopped = sorted(scores, key=scores.__getitem__)
    between = (scores[fine] + scores[stopped]) / 2
    assert scores[fine] < between < scores[stopped]
    return fine, stopped, f"prompt_harm={between}"


@pytest.mark.parametrize("name", [path.stem for path in EXAMPLES if path.stem not in SERVERS])
def test_an_example_runs_offline_and_says_something(name: str, upstream: Upstream) -> None:
    assert run(name, upstream).strip()


@pytest.mark.parametrize("name", ["anthropic_client", "litellm_client"])
def test_a_client_of_another_shape_is_guarded(name: str, upstream: Upstream) -> None:
    assert run(name, upstream).count("Bread keeps for days") == 2
    assert run(name, upstream, GUARDREASONER_THRESHOLDS="prompt_harm=0.000001").strip() == MESSAGE


def test_the_terminal_chatbot_answers_and_remembers(upstream: Upstream) -> None:
    upstream.reply(Reply("In a bag of cloth."), Reply("Two days."))
    printed = run("openai_terminal_chatbot", upstream, "How do I keep bread fresh?", "For how long?")
    assert re.findall(r"> (.*)", printed) == ["In a bag of cloth.", "Two days.", ""]
    assert [message["content"] for message in messages_of(upstream, 2)] == [
        "How do I keep bread fresh?",
        "In a bag of cloth.",
        "For how long?",
    ]


def test_the_terminal_chatbot_does_not_remember_a_turn_that_was_blocked(
    upstream: Upstream, questions: tuple[str, str, str]
) -> None:
    fine, stopped, thresholds = questions
    upstream.answer(lambda call: Reply("Fine." if call.last == fine else "Not seen."))
    printed = run("openai_terminal_chatbot", upstream, stopped, fine, GUARDREASONER_THRESHOLDS=thresholds)
    assert re.findall(r"> (.*)", printed) == [MESSAGE, "Fine.", ""]
    asked = [messages_of(upstream, n + 1) for n in range(len(upstream.calls))]
    assert [{"role": "user", "content": fine}] in asked
    assert all(len(messages) == 1 for messages in asked)


def test_the_terminal_chatbot_shows_nothing_of_an_answer_that_is_blocked(upstream: Upstream) -> None:
    upstream.reply(Reply(REFUSAL))
    printed = run(
        "openai_terminal_chatbot", upstream, "How do I keep bread fresh?", GUARDREASONER_REFUSAL="block"
    )
    assert re.findall(r"> (.*)", printed) == [MESSAGE, ""]


def test_the_web_chatbot_streams_and_ends_cleanly_on_a_block(
    upstream: Upstream, questions: tuple[str, str, str]
) -> None:
    fine, stopped, thresholds = questions
    upstream.answer(lambda call: Reply("In a bag of cloth. " * 40))
    with serving("fastapi_streaming_chatbot", upstream, GUARDREASONER_THRESHOLDS=thresholds) as url:
        answered = httpx.get(f"{url}/chat", params={"prompt": fine})
        blocked = httpx.get(f"{url}/chat", params={"prompt": stopped})
    assert (answered.status_code, answered.text) == (200, "In a bag of cloth. " * 40)
    assert (blocked.status_code, blocked.text) == (200, MESSAGE)


def test_the_web_chatbot_sends_nothing_of_an_answer_that_is_blocked(upstream: Upstream) -> None:
    upstream.reply(Reply(REFUSAL))
    with serving("fastapi_streaming_chatbot", upstream, GUARDREASONER_REFUSAL="block") as url:
        answer = httpx.get(f"{url}/chat", params={"prompt": "How do I keep bread fresh?"})
    assert (answer.status_code, answer.text) == (200, MESSAGE)


def test_the_web_chatbot_streams_and_stops_the_model_when_the_reader_goes_away(upstream: Upstream) -> None:
    upstream.reply(Reply("In a bag of cloth. " * 40, gate=threading.Event(), gate_after=70))  # it never ends
    with serving("fastapi_streaming_chatbot", upstream) as url:
        with httpx.stream("GET", f"{url}/chat", params={"prompt": "How do I keep bread fresh?"}) as answer:
            assert next(answer.iter_text()).startswith("In a bag")
        assert upstream.wait_for_call().wait_until_disconnected()


def test_the_chain_answers_from_what_it_found(upstream: Upstream) -> None:
    upstream.reply(Reply("In paper."))
    printed = run("langchain_rag_chain", upstream, arguments=["How do I keep cheese?"])
    system, user = messages_of(upstream, 1)
    assert printed == "In paper.\n"
    assert re.findall(r"To keep (\w+) fresh", system["content"]) == ["cheese"]
    assert user == {"role": "user", "content": "How do I keep cheese?"}


def test_the_chain_guards_the_question_and_the_answer(
    upstream: Upstream, questions: tuple[str, str, str]
) -> None:
    _, stopped, thresholds = questions
    upstream.reply(Reply(REFUSAL))
    by_question = run(
        "langchain_rag_chain", upstream, arguments=[stopped], GUARDREASONER_THRESHOLDS=thresholds
    )
    by_answer = run("langchain_rag_chain", upstream, GUARDREASONER_REFUSAL="block")
    assert (by_question, by_answer) == (f"{MESSAGE}\n", f"{MESSAGE}\n")


def messages_of(upstream: Upstream, number: int) -> list[dict[str, str]]:
    """The messages of the n-th request that the model got."""
    messages = upstream.calls[number - 1].body["messages"]
    assert isinstance(messages, list)
    return messages


def test_the_agent_calls_its_tools_where_that_is_allowed(
    upstream: Upstream, questions: tuple[str, str, str]
) -> None:
    _, stopped, thresholds = questions
    upstream.reply(Reply.calling("order", {"item": "flour", "bags": 2}), Reply("It is on its way."))
    printed = run("agent_with_tools", upstream).splitlines()
    assert printed[:2] == ["(ordering 2 bags of flour)", "It is on its way."]
    assert printed[2:] == ["human: allow", "ai: allow", "tool: allow", "ai: allow"]
    assert len(upstream.calls) == 2
    printed = run(
        "agent_with_tools", upstream, arguments=[stopped], GUARDREASONER_THRESHOLDS=thresholds
    ).splitlines()
    assert printed == ["I can't help with that.", "ai: block"]
    assert len(upstream.calls) == 2


def test_the_graph_goes_to_the_model_where_its_guard_allows_the_prompt(
    upstream: Upstream, questions: tuple[str, str, str]
) -> None:
    fine, stopped, thresholds = questions
    upstream.reply(Reply("Here you are."))
    allowed = run("langgraph_node", upstream, arguments=[fine], GUARDREASONER_THRESHOLDS=thresholds)
    refused = run("langgraph_node", upstream, arguments=[stopped], GUARDREASONER_THRESHOLDS=thresholds)
    assert (allowed, refused) == ("Here you are.\n", "I can't help with that.\n")
    assert len(upstream.calls) == 1


def test_there_are_examples() -> None:
    assert EXAMPLES
