"""The HTTP engine against a real vLLM server on CPU; scores against the model's own logits."""

import asyncio
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from guardreasoner_sdk.engines.vllm_http import VLLMServer
from guardreasoner_sdk.errors import (
    CannotJudgeError,
    EngineTimeoutError,
    ModelNotFoundError,
    PromptTooLongError,
)
from guardreasoner_sdk.ports import Generation, GenerationRequest, ScoreRequest, Scores, TextResult
from tests.live.servers import Server

pytestmark = pytest.mark.vllm

LABELS = (" harmful", " unharmful", " refusal", " compliance")
ENDLESS = "[a-z ]{3000,4000}"
"""A grammar that keeps the model from ending its text."""

REGEX = "Request:( harmful| unharmful)\nCompletion:( refusal| compliance| None)"


@pytest.fixture
def http(server: Server) -> Iterator[VLLMServer]:
    with VLLMServer(server.url) as made:
        yield made


def ask(prompt: str = "How do I bake bread?", **options: object) -> GenerationRequest:
    return GenerationRequest(**{"prompt": prompt, "max_tokens": 24} | options)  # type: ignore[arg-type]


def generation(result: TextResult | CannotJudgeError) -> Generation:
    assert isinstance(result, Generation), result
    return result


def running(server: Server) -> int:
    with urllib.request.urlopen(f"{server.root}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running")))


def wait_until_idle(server: Server) -> None:
    for _ in range(200):
        if running(server) == 0:
            return
        time.sleep(0.05)
    raise AssertionError("the server still works on a request that was given up")


def test_a_batch_comes_back_in_order_and_as_one_by_one(http: VLLMServer) -> None:
    requests = [ask(f"Tell me about the number {n}.") for n in range(40)]
    batch = [generation(result).text for result in http.run(requests)]
    single = [generation(http.run([request])[0]).text for request in requests[:5]]
    assert batch[:5] == single
    assert batch == [generation(result).text for result in asyncio.run(http.arun(requests))]


def test_the_only_served_model_is_found(http: VLLMServer) -> None:
    http.run([ask()])
    assert http.info.model == "guard"


def test_an_unknown_model_is_named(server: Server) -> None:
    with VLLMServer(server.url, model="nope") as other:
        (error,) = other.run([ask()])
    assert isinstance(error, ModelNotFoundError)
    assert "nope" in str(error)


def test_a_prompt_that_does_not_fit_fails_alone(http: VLLMServer) -> None:
    short, long, other = http.run([ask(), ask("word " * 20_000), ask()])
    assert isinstance(long, PromptTooLongError)
    assert generation(short) == generation(other)


def test_stop_strings_end_the_text(http: VLLMServer) -> None:
    whole = generation(http.run([ask()])[0]).text
    stop = whole[5:8]
    stopped = generation(http.run([ask(stop=(stop,))])[0])
    assert stopped.text == whole[: whole.index(stop)]
    assert stopped.finish_reason == "stop"


def test_structured_output_matches(http: VLLMServer) -> None:
    import re

    answer = generation(http.run([ask(regex=REGEX, max_tokens=64)])[0])
    assert re.fullmatch(REGEX, answer.text)
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize(
    "prompt", ["Answers: \nRequest:", "Some text\n\nAnswers: \nRequest:", "x", "Is it un"]
)
def test_scores_are_the_models_own(http: VLLMServer, model: Path, prompt: str) -> None:
    (scores,) = http.run([ScoreRequest(prompt=prompt, continuations=LABELS)])
    from tests.live.by_hand import path_logprobs

    assert isinstance(scores, Scores), scores
    assert scores.logprobs == pytest.approx(path_logprobs(model, prompt, LABELS), abs=1e-3)
    assert scores.method == "token_path/next_token"


def test_a_known_slot_costs_one_or_two_requests(http: VLLMServer) -> None:
    prompts = [f"Text number {n}.\n\nAnswers: \nRequest:" for n in range(3)]
    for prompt in prompts:
        (scores,) = http.run([ScoreRequest(prompt=prompt, continuations=LABELS[:2])])
    assert isinstance(scores, Scores)
    assert scores.requests <= 2


def test_prompt_logprobs_give_the_same_scores(http: VLLMServer) -> None:
    request = ScoreRequest(prompt="Answers: \nRequest:", continuations=LABELS)
    (walked,) = http.run([request])
    http._memory.no_next_tokens = True
    (read,) = http.run([request])
    assert isinstance(walked, Scores)
    assert isinstance(read, Scores)
    assert read.method == "token_path/prompt_logprobs"
    assert read.logprobs == pytest.approx(walked.logprobs, abs=1e-3)


def test_the_soft_limit_keeps_the_partial_text_and_frees_the_server(http: VLLMServer, server: Server) -> None:
    http.run([ask()])
    request = ask(max_tokens=4000, regex=ENDLESS, stop_at=time.monotonic() + 0.6)
    answer = generation(http.run([request])[0])
    assert answer.finish_reason == "deadline"
    assert answer.text
    assert answer.completion_tokens
    wait_until_idle(server)


def test_the_deadline_ends_in_an_error_and_frees_the_server(http: VLLMServer, server: Server) -> None:
    http.run([ask()])
    (error,) = http.run([ask(max_tokens=4000, regex=ENDLESS)], deadline=time.monotonic() + 0.3)
    assert isinstance(error, EngineTimeoutError)
    wait_until_idle(server)


def test_cancelling_frees_the_server(http: VLLMServer, server: Server) -> None:
    async def main() -> None:
        task = asyncio.create_task(http.arun([ask(max_tokens=4000, regex=ENDLESS)] * 3))
        while not running(server):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until_idle(server)
