"""Makes the fingerprints of the benchmark texts that ship with this package.

    python -m guardreasoner_trainer.screener_fingerprints --benchmarks ../shared/data/benchmarks

Run it again when benchmark files are added, and commit the asset.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from guardreasoner_trainer.screener_overlap import OverlapIndex, normalised_words

MIN_RESPONSE_WORDS = 30
"""Shorter responses are left out: they are stock sentences ("I cannot assist with that request") that any
two data sets share, and say nothing about a benchmark's rows."""

_USER = "Human user:\n"
_ASSISTANT = "\n\nAI assistant:\n"


def benchmark_parts(text: str) -> tuple[str, str | None]:
    """Prompt and response of an `input` field in the released format; a response of `None` means there is
    none."""
    prompt, _, response = text.removeprefix(_USER).rpartition(_ASSISTANT)
    response = response.strip()
    return prompt.strip(), None if response == "None" else response


def benchmark_texts(folder: Path) -> Iterator[str]:
    """Every prompt and every longer response of the files in a folder."""
    for path in sorted(folder.glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            prompt, response = benchmark_parts(row["input"])
            yield prompt
            if response and len(normalised_words(response)) >= MIN_RESPONSE_WORDS:
                yield response


def main() -> None:
    """Read the benchmarks, write the asset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", type=Path, default=Path("../shared/data/benchmarks"))
    default = Path(__file__).parent / "assets" / "benchmark_fingerprints.npz"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    index = OverlapIndex.from_texts(benchmark_texts(arguments.benchmarks))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    index.save(arguments.output)
    size = arguments.output.stat().st_size
    Console().print(f"{len(index.exact)} texts fingerprinted in {arguments.output} ({size} bytes)")


if __name__ == "__main__":
    main()
