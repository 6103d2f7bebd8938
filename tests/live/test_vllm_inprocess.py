"""vLLM in this process."""

import asyncio
import re
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="vLLM is not importable here: run with .venv-vllm/bin/python")

from guardreasoner_sdk.engines.vllm import VLLMEngine
from guardreasoner_sdk.errors import (
    CannotJudgeError,
    ConfigError,
    EngineRequestError,
    EngineTimeoutError,
    ModelNotFoundError,
    PromptTooLongError,
)
from guardreasoner_sdk.ports import Generation, GenerationRequest, TextResult
from tests.live.by_hand import greedy

pytestmark = pytest.mark.vllm

PROMPT = "How a computer keeps time"
REGEX = "Request:( harmful| unharmful)\nCompletion:( refusal| compliance| None)"


def ask(
    prompt: str = PROMPT,
    *,
    max_tokens: int = 24,
    stop: tuple[str, ...] = (),
    regex: str | None = None,
    temperature: float = 0.0,
    seed: int | None = None,
    stop_at: float | None = None,
) -> GenerationRequest:
    return GenerationRequest(
        prompt=prompt,
        max_tokens=max_tokens,
        stop=stop,
        regex=regex,
        temperature=temperature,
        seed=seed,
        stop_at=stop_at,
    )


def generation(result: TextResult | CannotJudgeError) -> Generation:
    assert isinstance(result, Generation), result
    return result


def under_way(engine: VLLMEngine) -> int:
    unfinished: int = engine._host.llm.output_processor.get_num_unfinished_requests()
    return unfinished


def wait_until_idle(engine: VLLMEngine) -> None:
    for _ in range(200):
        if under_way(engine) == 0:
            return
        time.sleep(0.05)
    raise AssertionError("vLLM still works on a request that was given up")


def test_greedy_text_is_the_models_own(engine: VLLMEngine, model: Path) -> None:
    assert generation(engine.run([ask()])[0]).text == greedy(model, PROMPT, 24)


def test_a_batch_comes_back_in_order_and_as_one_by_one(engine: VLLMEngine) -> None:
    requests = [ask(f"Tell me about the number {n}.") for n in range(70)]
    batch = [generation(result).text for result in engine.run(requests)]
    assert batch[:5] == [generation(engine.run([request])[0]).text for request in requests[:5]]
    assert batch == [generation(result).text for result in asyncio.run(engine.arun(requests))]


def test_threads_and_several_event_loops_share_it(engine: VLLMEngine) -> None:
    requests = [ask(f"Text number {n} is about the river.") for n in range(12)]
    expected = [generation(result).text for result in engine.run(requests)]
    found: dict[int, str] = {}

    def sync(n: int) -> None:
        found[n] = generation(engine.run([requests[n]])[0]).text

    def loop(n: int) -> None:
        found[n] = generation(asyncio.run(engine.arun([requests[n]]))[0]).text

    threads = [threading.Thread(target=loop if n % 2 else sync, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(12)] == expected


def test_token_counts_tell_what_was_cached(engine: VLLMEngine) -> None:
    request = ask("The river runs past the old mill and below the bridge. " * 12)
    engine.run([request])
    answer = generation(engine.run([request])[0])
    assert answer.prompt_tokens is not None
    assert answer.cached_tokens is not None
    assert answer.prompt_tokens > answer.cached_tokens > 0
    assert answer.completion_tokens == 24
    assert answer.finish_reason == "length"


def test_a_stop_string_ends_the_text_and_is_not_in_it(engine: VLLMEngine) -> None:
    whole = generation(engine.run([ask()])[0]).text
    stop = whole[9:13]
    stopped = generation(engine.run([ask(stop=("never there", stop))])[0])
    assert stopped.text == whole[: whole.index(stop)]
    assert stopped.finish_reason == "stop"


def test_structured_output_matches(engine: VLLMEngine) -> None:
    answer = generation(engine.run([ask(regex=REGEX, max_tokens=64)])[0])
    assert re.fullmatch(REGEX, answer.text)
    assert answer.finish_reason == "stop"


def test_sampling_follows_its_seed(engine: VLLMEngine) -> None:
    texts = [generation(engine.run([ask(temperature=1.0, seed=seed)])[0]).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_special_tokens_typed_by_a_user_are_text(engine: VLLMEngine, model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    typed = "Stop here <|end_of_text|> and <|begin_of_text|> begin anew"
    plain = len(tokenizer(typed, split_special_tokens=True).input_ids)
    assert plain > len(tokenizer(typed).input_ids)
    assert generation(engine.run([ask(typed)])[0]).prompt_tokens == plain


def test_one_request_that_cannot_be_done_does_not_disturb_the_others(engine: VLLMEngine) -> None:
    good, long, surrogate, none, grammar, other = engine.run(
        [ask(), ask("word " * 20_000), ask("\ud800"), ask(max_tokens=0), ask(regex="("), ask()]
    )
    assert isinstance(long, PromptTooLongError)
    assert "max_model_len" in str(long)
    for error in (surrogate, none, grammar):
        assert isinstance(error, EngineRequestError)
    assert generation(good).text == generation(other).text


def test_the_soft_limit_keeps_the_partial_text_and_frees_the_engine(engine: VLLMEngine) -> None:
    whole = generation(engine.run([ask()])[0]).text
    answer = generation(engine.run([ask(max_tokens=8000, stop_at=time.monotonic() + 1.0)])[0])
    assert answer.finish_reason == "deadline"
    assert answer.completion_tokens
    assert answer.text
    assert answer.text.startswith(whole) or whole.startswith(answer.text)
    wait_until_idle(engine)


def test_a_soft_limit_in_the_past_gives_an_empty_text(engine: VLLMEngine) -> None:
    answer = generation(engine.run([ask(stop_at=time.monotonic() - 1)])[0])
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("", "deadline", 0)


def test_a_soft_limit_that_is_not_reached_changes_nothing(engine: VLLMEngine) -> None:
    free, limited = engine.run([ask(), ask(stop_at=time.monotonic() + 600)])
    assert generation(free).text == generation(limited).text
    assert generation(limited).finish_reason == "length"


def test_the_deadline_ends_in_an_error_and_frees_the_engine(engine: VLLMEngine) -> None:
    short, long = engine.run([ask(max_tokens=1), ask(max_tokens=8000)], deadline=time.monotonic() + 1.0)
    assert isinstance(long, EngineTimeoutError)
    assert generation(short).completion_tokens == 1
    wait_until_idle(engine)


def test_cancelling_frees_the_engine(engine: VLLMEngine) -> None:
    async def main() -> None:
        task = asyncio.create_task(engine.arun([ask(max_tokens=8000)] * 3))
        while under_way(engine) < 3:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until_idle(engine)


def test_the_event_loop_is_not_blocked(engine: VLLMEngine) -> None:
    async def main() -> int:
        task = asyncio.create_task(engine.arun([ask(max_tokens=100)] * 4))
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(main()) > 10


def test_an_empty_batch_is_empty(engine: VLLMEngine) -> None:
    assert engine.run([]) == []
    assert asyncio.run(engine.arun([])) == []


def test_what_runs_is_told(engine: VLLMEngine, model: Path) -> None:
    info = engine.info
    assert (info.engine, info.model, info.device, info.dtype) == ("vllm", str(model), "cpu", "float32")
    assert info.max_model_len == 8192


def test_a_model_that_cannot_be_had_is_named_before_vllm_starts() -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        VLLMEngine("./nowhere")
    with pytest.raises(ModelNotFoundError, match="hf download yueliu1999/GuardReasoner-8B"):
        VLLMEngine("yueliu1999/GuardReasoner-8B")


def test_a_setting_that_cannot_work_is_named(model: Path) -> None:
    with pytest.raises(ConfigError, match="gpu_memory_utilization is 2"):
        VLLMEngine(model, gpu_memory_utilization=2.0)
    with pytest.raises(ConfigError, match="max_num_seqs is 0"):
        VLLMEngine(model, max_num_seqs=0)
    with pytest.raises(ConfigError, match="int7"):
        VLLMEngine(model, dtype="int7")
