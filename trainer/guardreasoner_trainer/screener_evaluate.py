"""Scores an artefact on labelled sets, with the windowing that the runtime uses."""

from __future__ import annotations

import json
import re
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from guardreasoner_trainer.screener_data import DEV_FILES, read_examples
from guardreasoner_trainer.screener_fingerprints import benchmark_parts
from guardreasoner_trainer.screener_metrics import Floats, figures
from guardreasoner_trainer.screener_reference import ReferenceScreener, feed

PROMPT_SETS = {
    "ToxicChat": "0_8_toxic_chat.json",
    "AegisSafetyTest": "0_1_AegisSafetyTest.json",
    "SimpleSafetyTests": "0_0_SimpleSafetyTests.json",
    "HarmBenchPrompt": "0_3_harmbench_prompt.json",
}
RESPONSE_SETS = {
    "BeaverTails (even rows)": "0_A_beaver_tails_even_rows.json",
    "HarmBenchResponse": "0_5_harmbench_response.json",
    "XSTestResponseHarmful": "0_6_xstest_response_harmful.json",
}
REFUSAL_SETS = {"XSTestResponseRefusal": "0_7_xstest_response_refusal.json"}

_ANSWER = re.compile(r"(Request|Completion|Response):\s*(\w+)")
_FIELD = {"prompt_harm": "Request", "refusal": "Completion", "response_harm": "Response"}
_POSITIVE = {"harmful": 1.0, "refusal": 1.0, "unharmful": 0.0, "compliance": 0.0}


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Rows of one benchmark file that have a label for the task asked about."""

    prompts: list[str]
    responses: list[str]
    labels: Floats


def read_benchmark(path: Path, task: str) -> LabelledSet:
    """Read a file in the released format. The label is one word, or a block of three answers."""
    prompts: list[str] = []
    responses: list[str] = []
    labels: list[float] = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        answers = dict(_ANSWER.findall(row["output"]))
        word = answers.get(_FIELD[task], "None") if answers else row["output"].strip()
        if word in _POSITIVE:
            prompt, response = benchmark_parts(row["input"])
            prompts.append(prompt)
            responses.append(response or "")
            labels.append(_POSITIVE[word])
    return LabelledSet(prompts, responses, np.array(labels))


def evaluate_benchmarks(screener: ReferenceScreener, folder: Path) -> dict[str, object]:
    """Figures on every benchmark file, and the F1 over the request sets weighted by their rows."""
    heads = screener.heads
    result: dict[str, object] = {}
    requests: dict[str, object] = {}
    weighted: list[tuple[int, float]] = []
    for name, file in PROMPT_SETS.items():
        rows = read_benchmark(folder / file, "prompt_harm")
        found = figures(screener.score_prompts(rows.prompts), rows.labels, heads["prompt_harm"].threshold)
        requests[name] = asdict(found)
        weighted.append((found.rows, found.f1))
    result["requests"] = requests
    result["requests_weighted_f1"] = sum(n * f1 for n, f1 in weighted) / sum(n for n, _ in weighted)
    result["responses"] = {
        name: _responses(screener, read_benchmark(folder / file, "response_harm"))
        for name, file in RESPONSE_SETS.items()
    }
    refusals: dict[str, object] = {}
    for name, file in REFUSAL_SETS.items():
        rows = read_benchmark(folder / file, "refusal")
        scores = screener.score_pairs(rows.prompts, rows.responses)[:, 1]
        refusals[name] = asdict(figures(scores, rows.labels, heads["refusal"].threshold))
    result["refusals"] = refusals
    return result


def _responses(screener: ReferenceScreener, rows: LabelledSet) -> dict[str, object]:
    """The response head, and in its place the rule "the request is harmful and the response is no
    refusal"."""
    heads = screener.heads
    pairs = screener.score_pairs(rows.prompts, rows.responses)
    requests = screener.score_prompts(rows.prompts)
    rule = (requests >= heads["prompt_harm"].threshold) & (pairs[:, 1] < heads["refusal"].threshold)
    return {
        "head": asdict(figures(pairs[:, 0], rows.labels, heads["response_harm"].threshold)),
        "request_harmful_and_not_refused": asdict(figures(rule.astype(np.float64), rows.labels, 0.5)),
    }


def evaluate_development(screener: ReferenceScreener, folder: Path) -> dict[str, object]:
    """Figures on the development sets, which may guide choices."""
    result: dict[str, object] = {}
    for name in DEV_FILES:
        rows = read_examples(folder / name)
        labels = np.array([r.targets[0] or 0 for r in rows], dtype=np.float64)
        scores = screener.score_prompts([r.prompt for r in rows])
        result[Path(name).stem] = asdict(figures(scores, labels, screener.heads["prompt_harm"].threshold))
    return result


def measure_speed(folder: Path, *, tokens: int = 64, runs: int = 200) -> dict[str, float]:
    """Latency and throughput of the bare session, and what loading takes, on this machine.

    Returns:
        Milliseconds for one text on one core (median), for creating the session and the first answer; texts a
        second in batches of 32 on two cores; peak resident memory of this process in MB.
    """
    started = time.perf_counter()
    screener = ReferenceScreener(folder, threads=1)
    loaded = time.perf_counter()
    screener.score_prompts(["How do I bake bread?"])
    first = time.perf_counter()
    window = screener.encoder.prompt(list(range(2000, 2000 + tokens - 2)))
    one = feed([window])
    times = [_timed(lambda: screener.session.run(None, one)) for _ in range(runs)]
    both = ReferenceScreener(folder, threads=2)
    many = feed([window] * 32)
    batches = [_timed(lambda: both.session.run(None, many)) for _ in range(20)]
    return {
        "tokens": tokens,
        "load_ms": 1e3 * (loaded - started),
        "first_answer_ms": 1e3 * (first - loaded),
        "median_ms_one_core": 1e3 * statistics.median(times),
        "fastest_ms_one_core": 1e3 * min(times),
        "texts_per_second_two_cores": 32 / statistics.median(batches),
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _timed(call: object) -> float:
    assert callable(call)
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def agreement(first: Sequence[float], second: Sequence[float], threshold: float) -> float:
    """Share of texts on which two versions of the model give the same label."""
    a, b = np.asarray(first) >= threshold, np.asarray(second) >= threshold
    return float((a == b).mean())
