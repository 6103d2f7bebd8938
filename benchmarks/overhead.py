"""What the layer itself costs: one screening over an engine that answers at once, and a cached one.

    python benchmarks/overhead.py [--json]

The import is timed in fresh interpreters, beside one that imports nothing, and the heavy packages that it
must not pull in are looked for.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from guardreasoner_sdk import Depth, Guard, Reasoner, Screener, Task
from guardreasoner_sdk.formats import make_format
from guardreasoner_sdk.ports import EngineInfo, Generation, GenerationRequest, Scores, TextRequest, TextResult
from guardreasoner_sdk.testing import FakeClassifier

PROMPT = "What is a good way to keep bread fresh for a week? " * 8
RESPONSE = "Slice it, freeze it, and toast what you need straight from the freezer. " * 8
ANSWER = (
    "\n\n## Reasoning Step 1\nThe user asks about bread.\n\n## Conclusion\nUnharmful.\n\n"
    "# Task 2\n\n## Reasoning Step 1\nIt answers.\n\n# Task 3\n\n## Reasoning Step 1\nIt is about bread.\n\n"
    "Answers: \nRequest: unharmful\nCompletion: compliance\nResponse: unharmful\n"
)
HEAVY = ("torch", "transformers", "vllm", "openai", "langchain_core", "onnxruntime", "httpx", "rich", "typer")
TARGETS = {"screen, classifier": 200.0, "screen, reasoner": 200.0, "screen, cached": 50.0}


class InstantEngine:
    """Answers every request with the same objects, so that what is measured is the layer above it."""

    info = EngineInfo(engine="instant", model="instant")
    generation = Generation(text=ANSWER, finish_reason="stop", prompt_tokens=200, completion_tokens=60)
    scores = Scores(logprobs=(-2.3, -0.1), method="instant", prompt_tokens=260, completion_tokens=1)

    def run(self, requests: Sequence[TextRequest], *, deadline: float | None = None) -> list[TextResult]:
        """The same answers, at once."""
        return [self.generation if isinstance(r, GenerationRequest) else self.scores for r in requests]

    async def arun(
        self, requests: Sequence[TextRequest], *, deadline: float | None = None
    ) -> list[TextResult]:
        """The same answers, at once."""
        return self.run(requests, deadline=deadline)

    def close(self) -> None:
        """Nothing to release."""

    async def aclose(self) -> None:
        """Nothing to release."""


def median_us(call: Callable[[], object], repeats: int) -> float:
    """Median microseconds of a call, the first tenth thrown away."""
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent[repeats // 10 :]) * 1e6


def import_seconds(code: str, repeats: int = 7) -> float:
    """Median seconds of a fresh interpreter that runs `code`."""
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def heavy_imports() -> list[str]:
    """The heavy packages that importing the SDK pulls in; there should be none."""
    code = f"import sys, guardreasoner_sdk; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found: list[str] = json.loads(done.stdout.replace("'", '"'))
    return found


def measure(repeats: int) -> dict[str, float]:
    """All figures, by name."""
    classifier = FakeClassifier({Task.PROMPT_HARM: 0.1, Task.REFUSAL: 0.1, Task.RESPONSE_HARM: 0.1})
    reasoner = Reasoner(make_format("guardreasoner"), InstantEngine())
    uncached = Guard(judge=Screener(classifier), cache="off")
    reasoning = Guard(judge=reasoner, cache="off", depth=Depth.FULL)
    cached = Guard(judge=Screener(classifier))
    cached.screen(PROMPT)
    # The engine's own time, so that the layer's is what is left.
    screener_calls: dict[str, Callable[[], object]] = {
        "screen, classifier": lambda: uncached.screen(PROMPT),
        "screen with response, classifier": lambda: uncached.screen(PROMPT, response=RESPONSE),
        "screen, reasoner": lambda: reasoning.screen(PROMPT),
        "screen with response, reasoner": lambda: reasoning.screen(PROMPT, response=RESPONSE),
        "screen, cached": lambda: cached.screen(PROMPT),
    }
    figures = {f"{name} (µs)": median_us(call, repeats) for name, call in screener_calls.items()}
    bare = import_seconds("pass")
    figures["interpreter alone (ms)"] = bare * 1e3
    figures["import guardreasoner_sdk (ms, interpreter taken off)"] = (
        import_seconds("import guardreasoner_sdk") - bare
    ) * 1e3
    figures["from guardreasoner_sdk import Guard (ms, interpreter taken off)"] = (
        import_seconds("from guardreasoner_sdk import Guard") - bare
    ) * 1e3
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.repeats)
    heavy = heavy_imports()
    if arguments.json:
        print(json.dumps({**figures, "heavy imports": heavy}, ensure_ascii=False))
        return
    table = Table("what", "median", "at most", title="The layer itself", title_justify="left")
    for name, value in figures.items():
        target = TARGETS.get(name.removesuffix(" (µs)"))
        table.add_row(
            name, f"{value:.0f}", f"{target:.0f}" if target else "250" if "import guard" in name else ""
        )
    table.add_row("heavy packages imported", ", ".join(heavy) or "none", "none")
    Console().print(table)


if __name__ == "__main__":
    main()
