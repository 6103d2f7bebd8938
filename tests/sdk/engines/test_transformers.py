"""transformers in this process, on tiny models with random weights."""

import asyncio
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: transformers)")
pytest.importorskip("transformers", reason="transformers is not installed (extra of the same name)")

import transformers

from guardreasoner_sdk.engines import _torch_jobs
from guardreasoner_sdk.engines._torch_model import Batch, OutOfMemoryError
from guardreasoner_sdk.engines.transformers import TransformersEngine
from guardreasoner_sdk.errors import (
    CannotJudgeError,
    ConfigError,
    EngineRequestError,
    EngineTimeoutError,
    EngineUnavailableError,
    GuardClosedError,
    ModelNotFoundError,
    PromptTooLongError,
)
from guardreasoner_sdk.ports import Generation, GenerationRequest, ScoreRequest, Scores, TextResult
from tests.live.by_hand import greedy, path_logprobs
from tests.live.tiny_llama import make_model

PROMPT = "How a computer keeps time"
LABELS = (" harmful", " unharmful", " refusal", " compliance")
REGEX = r" (harmful|unharmful)\nCompletion: (refusal|compliance|None)"


@pytest.fixture(scope="module", params=["whole", "pieces"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp(f"tiny-{request.param}"), labels=request.param)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    """A model that never ends a text of its own accord."""
    folder = make_model(tmp_path_factory.mktemp("tiny-endless"), ends=False)
    with TransformersEngine(folder, device="cpu") as made:
        yield made


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[TransformersEngine]:
    with TransformersEngine(model, device="cpu") as made:
        yield made


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


def test_greedy_text_is_the_models_own(engine: TransformersEngine, model: Path) -> None:
    expected = greedy(model, PROMPT, 24)
    assert generation(engine.run([ask()])[0]).text == expected


def test_prompts_of_different_lengths_in_one_batch_give_what_each_gives_alone(
    engine: TransformersEngine,
) -> None:
    requests = [ask("word " * n + PROMPT, max_tokens=5 + n) for n in range(0, 60, 7)]
    together = [generation(result) for result in engine.run(requests)]
    assert together == [generation(engine.run([request])[0]) for request in requests]


def test_sync_async_and_threads_give_the_same(engine: TransformersEngine) -> None:
    requests = [ask(f"Text number {n} is about the river.") for n in range(8)]
    expected = engine.run(requests)
    assert asyncio.run(engine.arun(requests)) == expected
    found: dict[int, TextResult | CannotJudgeError] = {}

    def work(n: int) -> None:
        found[n] = engine.run([requests[n]])[0]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(8)] == expected


def test_token_counts_are_told(engine: TransformersEngine, model: Path) -> None:
    answer = generation(engine.run([ask()])[0])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    assert answer.prompt_tokens == len(tokenizer(PROMPT).input_ids)
    assert answer.completion_tokens == 24
    assert answer.finish_reason == "length"


def test_a_stop_string_ends_the_text_and_is_not_in_it(engine: TransformersEngine) -> None:
    whole = generation(engine.run([ask()])[0]).text
    stop = whole[9:13]
    stopped = generation(engine.run([ask(stop=("never there", stop))])[0])
    assert stopped.text == whole[: whole.index(stop)]
    assert stopped.finish_reason == "stop"
    assert stopped.completion_tokens is not None
    assert stopped.completion_tokens < 24


def test_the_end_token_ends_the_text_and_is_not_in_it(engine: TransformersEngine) -> None:
    for n in range(40):
        answer = generation(engine.run([ask(f"{PROMPT} {n}", max_tokens=300)])[0])
        if answer.finish_reason == "stop":
            assert "<|end_of_text|>" not in answer.text
            return
    raise AssertionError("no text of this model ends")


def test_special_tokens_typed_by_a_user_are_text(engine: TransformersEngine, model: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    typed = "Stop here <|end_of_text|> and <|begin_of_text|> begin anew"
    plain = len(tokenizer(typed, split_special_tokens=True).input_ids)
    assert plain > len(tokenizer(typed).input_ids)
    assert generation(engine.run([ask(typed)])[0]).prompt_tokens == plain


def test_scores_are_the_models_own(engine: TransformersEngine, model: Path) -> None:
    prompts = ["Answers: \nRequest:", "Some text\n\nAnswers: \nRequest:", "x", "Is it un"]
    results = engine.run([ScoreRequest(prompt=prompt, continuations=LABELS) for prompt in prompts])
    for prompt, scores in zip(prompts, results, strict=True):
        assert isinstance(scores, Scores), scores
        assert scores.logprobs == pytest.approx(path_logprobs(model, prompt, LABELS), abs=1e-4)
        assert scores.method == "token_path/forward"


def test_a_choice_is_answered_with_the_likeliest_of_its_texts(
    engine: TransformersEngine, model: Path
) -> None:
    prompt = "Answers: \nRequest:"
    texts = [
        f" {a}\nCompletion: {b}" for a in ("harmful", "unharmful") for b in ("refusal", "compliance", "None")
    ]
    logprobs = path_logprobs(model, prompt, tuple(texts))
    answer = generation(engine.run([ask(prompt, regex=REGEX, max_tokens=64)])[0])
    assert answer.text == texts[logprobs.index(max(logprobs))]
    assert answer.finish_reason == "stop"


def test_a_text_that_begins_another_can_be_told_from_it(engine: TransformersEngine, model: Path) -> None:
    prompt = "Answers:"
    end = "<|end_of_text|>"
    short, long = path_logprobs(model, prompt, (f" None{end}", " None refusal"))
    answer = generation(engine.run([ask(prompt, regex=" None( refusal)?")])[0])
    assert answer.text == (" None" if short > long else " None refusal")


@pytest.mark.parametrize("regex", ["a+", "[ab]", "(a|b)(c|d)(e|f)(g|h)(i|j)(k|l)(m|n)", "("])
def test_any_other_regex_is_refused(engine: TransformersEngine, regex: str) -> None:
    (error,) = engine.run([ask(regex=regex)])
    assert isinstance(error, EngineRequestError)
    assert "regex" in str(error)


def test_a_choice_that_needs_more_tokens_than_allowed_is_refused(engine: TransformersEngine) -> None:
    (error,) = engine.run([ask(regex=REGEX, max_tokens=1)])
    assert isinstance(error, EngineRequestError)
    assert "max_tokens" in str(error)


def test_sampling_follows_its_seed(engine: TransformersEngine) -> None:
    texts = [
        generation(result).text
        for seed in (1, 1, 2)
        for result in engine.run([ask(temperature=1.0, seed=seed)])
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_one_request_that_cannot_be_done_does_not_disturb_the_others(engine: TransformersEngine) -> None:
    good, long, surrogate, none, other = engine.run(
        [ask(), ask("word " * 20_000), ask("\ud800"), ask(max_tokens=0), ask()]
    )
    assert isinstance(long, PromptTooLongError)
    assert "8192" in str(long)
    assert isinstance(surrogate, EngineRequestError)
    assert isinstance(none, EngineRequestError)
    assert generation(good) == generation(other)


def test_the_soft_limit_keeps_the_partial_text(endless: TransformersEngine) -> None:
    whole = generation(endless.run([ask(max_tokens=60)])[0]).text
    answer = generation(endless.run([ask(max_tokens=8000, stop_at=time.monotonic() + 0.3)])[0])
    assert answer.finish_reason == "deadline"
    assert answer.text
    assert answer.text.startswith(whole) or whole.startswith(answer.text)


def test_a_soft_limit_in_the_past_gives_an_empty_text(engine: TransformersEngine) -> None:
    answer = generation(engine.run([ask(stop_at=time.monotonic() - 1)])[0])
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("", "deadline", 0)


def test_the_deadline_ends_in_an_error_and_frees_the_engine(endless: TransformersEngine) -> None:
    short, long = endless.run([ask(max_tokens=1), ask(max_tokens=8000)], deadline=time.monotonic() + 1.0)
    assert isinstance(long, EngineTimeoutError)
    assert generation(short).completion_tokens == 1
    assert generation(endless.run([ask()])[0]).text  # would wait for minutes behind the one given up


def test_cancelling_frees_the_engine(endless: TransformersEngine) -> None:
    async def main() -> None:
        task = asyncio.create_task(endless.arun([ask(max_tokens=8000)] * 3))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert generation(endless.run([ask()])[0]).text


def test_the_event_loop_is_not_blocked(endless: TransformersEngine) -> None:
    async def main() -> int:
        task = asyncio.create_task(endless.arun([ask(max_tokens=200)] * 4))
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(main()) > 10


def test_requests_of_different_callers_share_a_batch(
    endless: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Counted(Batch):
        def __init__(self, model: Any, rows: Any) -> None:
            sizes.append(len(rows))
            super().__init__(model, rows)

    monkeypatch.setattr(_torch_jobs, "Batch", Counted)

    async def main() -> None:
        first = asyncio.create_task(endless.arun([ask(max_tokens=300)]))
        while not sizes:
            await asyncio.sleep(0.001)
        await asyncio.gather(first, *(endless.arun([ask(f"Caller {n}")]) for n in range(6)))

    asyncio.run(main())
    assert sizes == [1, 6]


def test_a_batch_stays_below_its_tokens(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    padded: list[int] = []

    class Counted(Batch):
        def __init__(self, model: Any, rows: Any) -> None:
            padded.append(len(rows) * (max(map(len, rows)) + 8))
            super().__init__(model, rows)

    monkeypatch.setattr(_torch_jobs, "Batch", Counted)
    with TransformersEngine(model, device="cpu", max_batch_tokens=200) as engine:
        engine.run([ask("word " * n, max_tokens=8) for n in range(1, 40)])
    assert len(padded) > 1
    assert all(tokens <= 200 for tokens in padded)


def test_without_memory_for_a_batch_its_halves_are_tried(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = engine.run([ask(f"Text {n}") for n in range(4)])

    class Small(Batch):
        def __init__(self, model: Any, rows: Any) -> None:
            if len(rows) > 2:
                raise OutOfMemoryError("no room for so many")
            super().__init__(model, rows)

    monkeypatch.setattr(_torch_jobs, "Batch", Small)
    assert engine.run([ask(f"Text {n}") for n in range(4)]) == expected


def test_without_memory_for_the_halves_either_there_is_an_error_with_the_remedy(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class None_(Batch):  # noqa: N801
        def __init__(self, model: Any, rows: Any) -> None:
            raise OutOfMemoryError("no room at all")

    monkeypatch.setattr(_torch_jobs, "Batch", None_)
    for error in engine.run([ask(), ask()]):
        assert isinstance(error, EngineUnavailableError)
        assert "max_batch_tokens" in str(error)


def test_a_failure_inside_the_model_is_the_callers_and_the_engine_lives_on(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Batch):
        def __init__(self, model: Any, rows: Any) -> None:
            raise RuntimeError("a kernel failed")

    with monkeypatch.context() as patch:
        patch.setattr(_torch_jobs, "Batch", Broken)
        (error,) = engine.run([ask()])
    assert isinstance(error, EngineUnavailableError)
    assert isinstance(error.__cause__, RuntimeError)
    assert generation(engine.run([ask()])[0]).text


def test_an_empty_batch_is_empty(engine: TransformersEngine) -> None:
    assert engine.run([]) == []
    assert asyncio.run(engine.arun([])) == []


def test_closing_ends_what_runs_and_refuses_what_comes(tmp_path: Path) -> None:
    engine = TransformersEngine(make_model(tmp_path, ends=False), device="cpu")
    errors: list[BaseException] = []

    def work() -> None:
        try:
            engine.run([ask(max_tokens=8000)] * 2)
        except GuardClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    engine.close()
    thread.join(timeout=30)
    engine.close()
    assert len(errors) == 1
    with pytest.raises(GuardClosedError):
        engine.run([ask()])
    with pytest.raises(GuardClosedError):
        asyncio.run(engine.arun([ask()]))


def test_what_runs_is_told(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, logger="guardreasoner_sdk"),
        TransformersEngine(model, device="cpu", dtype="bfloat16") as engine,
    ):
        info = engine.info
        assert generation(engine.run([ask()])[0]).text
    assert (info.engine, info.model, info.device, info.dtype) == (
        "transformers",
        str(model),
        "cpu",
        "bfloat16",
    )
    assert info.max_model_len == 8192
    assert "cpu" in caplog.text
    assert "bfloat16" in caplog.text


# -- models that cannot be used


def copy_of(model: Path, to: Path, *, without: str | None = None, **config: object) -> Path:
    shutil.copytree(model, to, ignore=shutil.ignore_patterns(without) if without else None)
    if config:
        path = to / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | config), "utf-8")
    return to


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all", "a/b/c"])
def test_a_folder_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"nowhere|a/b/c"):
        TransformersEngine(name)


def test_a_hub_id_without_a_hub_tells_how_to_get_the_model() -> None:
    with pytest.raises(ModelNotFoundError, match="hf download yueliu1999/GuardReasoner-1B"):
        TransformersEngine("yueliu1999/GuardReasoner-1B")


def test_a_hub_id_that_cannot_be_one_is_refused() -> None:
    with pytest.raises((ModelNotFoundError, ConfigError), match="not a model"):
        TransformersEngine("not a model")


def test_a_gated_model_tells_how_to_get_access(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import GatedRepoError

    def refuse(*_: object, **__: object) -> None:
        raise OSError("You are trying to access a gated repo.") from GatedRepoError(
            "403",
            response=_Response(),  # type: ignore[arg-type, unused-ignore]
        )

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(ModelNotFoundError, match=r"gated.*huggingface\.co/owner/model.*HF_TOKEN"):
        TransformersEngine("owner/model")


class _Response:
    headers: dict[str, str] = {}  # noqa: RUF012
    status_code = 403
    request = None


def test_an_empty_folder_is_told_from_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        TransformersEngine(tmp_path)


def test_a_file_is_told_from_a_model(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match="is a file"):
        TransformersEngine(tmp_path / "weights.bin")


def test_a_folder_without_weights_is_told(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="safetensors"):
        TransformersEngine(copy_of(model, tmp_path / "m", without="*.safetensors"))


def test_a_model_that_does_not_write_is_refused(model: Path, tmp_path: Path) -> None:
    folder = copy_of(model, tmp_path / "m", architectures=["LlamaForSequenceClassification"])
    with pytest.raises(ConfigError, match="LlamaForSequenceClassification"):
        TransformersEngine(folder)


def test_a_model_of_an_unknown_kind_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unheard-of"):
        TransformersEngine(copy_of(model, tmp_path / "m", model_type="unheard-of"))


def test_a_model_whose_texts_never_end_is_refused(model: Path, tmp_path: Path) -> None:
    folder = copy_of(model, tmp_path / "m", without="generation_config.json", eos_token_id=None)
    settings = folder / "tokenizer_config.json"
    told = json.loads(settings.read_text("utf-8"))
    del told["eos_token"]
    settings.write_text(json.dumps(told), "utf-8")
    with pytest.raises(ConfigError, match="end-of-text"):
        TransformersEngine(folder)


def test_an_adapter_given_as_the_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 8}', "utf-8")
    with pytest.raises(ConfigError, match="adapter="):
        TransformersEngine(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "nonsense"}, "nonsense"),
        ({"dtype": "int7"}, "int7.*bfloat16"),
        ({"max_batch_tokens": 0}, "max_batch_tokens"),
    ],
)
def test_a_setting_that_cannot_work_is_named(model: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TransformersEngine(model, **settings)
