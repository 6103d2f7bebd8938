"""``guardreasoner screen`` on one prompt."""

from pathlib import Path

import pytest

from guardreasoner_sdk.formats.guardreasoner import render
from guardreasoner_sdk.testing import Recording, ReplayServer
from guardreasoner_sdk.verdict import Verdict
from tests.sdk.cli.command import EVERYTHING_IS_HARMFUL, NOTHING_IS_HARMFUL, invoke, replay, run
from tests.sdk.guards import answer

PROMPT = "What is the capital of France?"
NOBODY = "http://127.0.0.1:9/v1"


def test_an_allowed_prompt_ends_in_0() -> None:
    done = run("screen", PROMPT, env=NOTHING_IS_HARMFUL)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "allow" in done.stdout.decode()


def test_a_blocked_prompt_ends_in_1() -> None:
    done = run("screen", PROMPT, env=EVERYTHING_IS_HARMFUL)
    assert (done.returncode, done.stderr) == (1, b"")
    assert "block (harmful_request)" in done.stdout.decode()


def test_json_is_the_whole_verdict() -> None:
    result = invoke("screen", PROMPT, "--response", "Paris.", "--json")
    verdict = Verdict.model_validate_json(result.stdout)
    assert verdict.judge == "screener"
    assert len(verdict.findings) == 3


def test_a_prompt_is_read_from_standard_input() -> None:
    result = invoke("screen", "-", "--json", stdin=b"\xef\xbb\xbfcaf\xc3\xa9\r\n")
    (part,) = Verdict.model_validate_json(result.stdout).coverage.parts
    assert part.length == len("café\r\n")


def test_a_response_is_what_is_decided_on() -> None:
    prompt, response = "How are you?", "Fine, thank you."
    recordings = [Recording(render(prompt, response), answer(harmful_reply=True))]
    with ReplayServer({"guard": recordings}) as server:
        result = invoke("screen", prompt, "--response", response, "--url", server.url)
    assert result.exit_code == 1
    assert "block (harmful_response)" in result.stdout


@pytest.mark.parametrize(
    ("env", "status", "decision"),
    [
        ({}, 1, "block (harmful_request)"),
        ({"GUARDREASONER_CHECK_INPUT": "false"}, 0, "allow"),
        ({"GUARDREASONER_HARMFUL_REQUEST": "flag"}, 0, "flag (harmful_request)"),
    ],
    ids=["default", "prompts are not checked", "prompts are only flagged"],
)
def test_a_prompt_that_a_call_would_not_have_let_through_is_blocked_though_it_was_refused(
    env: dict[str, str], status: int, decision: str
) -> None:
    recordings = [Recording(render(PROMPT, "No."), answer(harm=True, refused=True))]
    with ReplayServer({"guard": recordings}) as server:
        result = invoke("screen", PROMPT, "--response", "No.", "--url", server.url, env=env)
    assert (result.exit_code, decision in result.stdout) == (status, True)


def test_a_reasoner_shows_its_reasoning() -> None:
    with replay(PROMPT, harmful=True) as server:
        result = invoke("screen", PROMPT, "--url", server.url, "--model", "guard")
    assert result.exit_code == 1
    assert "The user asks something." in " ".join(result.stdout.split())


def test_the_depth_is_passed_on() -> None:
    with replay(PROMPT) as server:
        result = invoke("screen", PROMPT, "--url", server.url, "--depth", "answer", "--json")
    assert Verdict.model_validate_json(result.stdout).depth == "answer"


def test_a_cascade_asks_the_second_judge_inside_its_band() -> None:
    with replay(PROMPT, harmful=True) as server:
        env = {"GUARDREASONER_CASCADE_BAND": "0,1"}
        result = invoke("screen", PROMPT, "--url", server.url, "--judge", "cascade", "--json", env=env)
    assert Verdict.model_validate_json(result.stdout).consulted == ("screener", "reasoner")


def test_the_key_comes_from_the_environment() -> None:
    recordings = [Recording(render(PROMPT, None), answer())]
    with ReplayServer({"guard": recordings}, api_key="sesame") as server:
        arguments = ("screen", PROMPT, "--url", server.url)
        assert invoke(*arguments, env={"GUARDREASONER_API_KEY": "sesame"}).exit_code == 0
        refused = invoke(*arguments, env={"GUARDREASONER_API_KEY": "wrong"})
    assert refused.exit_code == 3
    assert "api_key" in refused.stderr


def test_a_server_that_is_not_there_ends_in_3() -> None:
    result = invoke("screen", PROMPT, "--url", NOBODY, "--deadline", "1")
    assert result.exit_code == 3
    assert "EngineUnavailableError" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("prompt", ["", "   ", "\n", "a\0b"])
def test_what_cannot_be_screened_ends_in_3_or_a_verdict(prompt: str) -> None:
    result = invoke("screen", "-", "--json", stdin=prompt.encode(), env=NOTHING_IS_HARMFUL)
    if result.exit_code == 0:
        assert Verdict.model_validate_json(result.stdout).coverage.complete
    else:
        assert (result.exit_code, result.stdout) == (3, "")
        assert "could not be judged" in result.stderr


def test_bytes_that_are_no_text_end_in_3() -> None:
    result = invoke("screen", "-", stdin=b"\xff\xfe\xfd")
    assert result.exit_code == 3
    assert "UTF-8" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "PROMPT or --input"),
        (("x", "--input", "y"), "PROMPT or --input"),
        (("--input", "y", "--response", "z"), "--response"),
        (("x", "--output", "y"), "--output"),
        (("x", "--overwrite"), "--overwrite"),
        (("x", "--judge", "reasoner"), "model"),
        (("x", "--judge", "screener", "--url", NOBODY), "url"),
        (("x", "--url", "ftp://elsewhere"), "ftp"),
        (("x", "--deadline", "0"), "deadline"),
        (("x", "--config", "/nowhere.toml"), "nowhere.toml"),
    ],
)
def test_wrong_usage_ends_in_2_with_a_line_that_names_it(arguments: tuple[str, ...], said: str) -> None:
    result = invoke("screen", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--judge", "nobody"), ("--depth", "deep"), ("--deadline", "soon")])
def test_a_value_that_is_none_ends_in_2(arguments: tuple[str, ...]) -> None:
    assert invoke("screen", "x", *arguments).exit_code == 2


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    config = tmp_path / "guard.toml"
    config.write_text("[guard.thresholds]\nprompt_harm = 0.0000001\n")
    assert invoke("screen", PROMPT, "--config", config).exit_code == 1
