"""Trains the embedded screener: one command from the mixture to the artefact and its card.

    python -m guardreasoner_trainer.screener_train --data ../shared/data/screener \\
        --output guardreasoner_sdk/assets/screener

Two models are trained with the same recipe. The first goes without the held-out sources of `screener_proxy`; on
those its logits are turned into probabilities and the threshold is chosen, since a model is sure of itself on
sources it has seen. The second sees every row and ships, with the first one's calibration.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from guardreasoner_trainer.screener_augment import Augmenter
from guardreasoner_trainer.screener_calibrate import calibrate_heads
from guardreasoner_trainer.screener_data import (
    DEV_FILES,
    TRAIN_FILES,
    BalancedSampler,
    Example,
    file_sha256,
    read_examples,
    refuse_overlaps,
)
from guardreasoner_trainer.screener_encoding import Encoded, WindowEncoder, plain_tokenizer
from guardreasoner_trainer.screener_export import Contract, write_artefact
from guardreasoner_trainer.screener_fit import encode_rows, fit
from guardreasoner_trainer.screener_model import ScreenerModel, default_encoder
from guardreasoner_trainer.screener_overlap import OverlapIndex
from guardreasoner_trainer.screener_proxy import split_held
from guardreasoner_trainer.screener_recipe import SHIPPED, VERSION, Recipe
from guardreasoner_trainer.screener_reference import Head

RANGE_ROWS = 400
"""Training rows on which the ranges of the 8-bit products are measured."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The training rows, the development rows, and the hashes of the files they came from."""

    train: list[Example]
    dev: list[Example]
    hashes: Mapping[str, str]


def load_mixture(folder: Path, recipe: Recipe, *, drop_overlaps: bool) -> Mixture:
    """Read the mixture and refuse rows that overlap the benchmarks.

    Raises:
        ScreenerDataError: a file is missing or malformed, or rows overlap.
    """
    rows = [example for name in TRAIN_FILES for example in read_examples(folder / name)]
    rows = [example for example in rows if example.source.removesuffix(" (responses)") not in recipe.left_out_sources]
    kept = refuse_overlaps(rows, OverlapIndex.shipped(), drop=drop_overlaps)
    if len(kept) < len(rows):
        Console().print(f"{len(rows) - len(kept)} rows overlap benchmark texts and were left out")
    dev = [replace(e, source=f"dev {Path(name).stem}") for name in DEV_FILES for e in read_examples(folder / name)]
    hashes = {name: file_sha256(folder / name) for name in (*TRAIN_FILES, *DEV_FILES)}
    return Mixture(kept, dev, hashes)


def train_model(
    examples: Sequence[Example], encoder: WindowEncoder, recipe: Recipe, *, encoder_folder: Path, title: str
) -> ScreenerModel:
    """Train one model for each seed and average their weights (they share their start, so the mean is a model)."""
    models = []
    with Progress() as bars:
        for seed in recipe.seeds:
            bar = bars.add_task(f"{title}, seed {seed}", total=1.0)
            torch.manual_seed(seed)
            model = ScreenerModel.from_pretrained(encoder_folder, recipe.model)
            sampler = BalancedSampler(examples, quotas=recipe.quotas, default_quota=10_000, seed=seed)
            augment = Augmenter(examples, recipe.augment, seed=seed)
            fit(
                model,
                lambda sampler=sampler, augment=augment: augment(sampler.epoch()),
                encoder,
                recipe.fit,
                seed=seed,
                progress=lambda done, loss, bar=bar, seed=seed: bars.update(
                    bar, completed=done, description=f"{title}, seed {seed}, loss {loss:.3f}"
                ),
            )
            models.append(model)
    return average(models)


@torch.no_grad()
def average(models: Sequence[ScreenerModel]) -> ScreenerModel:
    """The mean of the models' weights, in the first of them."""
    states = [dict(model.named_parameters()) for model in models]
    for name, parameter in states[0].items():
        parameter.copy_(torch.stack([state[name] for state in states]).mean(0))
    return models[0].eval()


def run(recipe: Recipe, mixture: Mixture, *, work: Path, output: Path, only: str | None) -> None:
    """Both trainings, the calibration and the export. Finished steps stand in `work` and are not repeated."""
    work.mkdir(parents=True, exist_ok=True)
    folder = default_encoder()
    encoder = WindowEncoder(plain_tokenizer(folder / "tokenizer.json"), recipe.windowing)
    heads_file, weights_file = work / "heads.json", work / "weights.pt"
    if not heads_file.exists() and only != "weights":
        rest, held = split_held(mixture.train)
        model = train_model(rest, encoder, recipe, encoder_folder=folder, title="without held-out sources")
        torch.save(model.state_dict(), work / "calibration.pt")
        heads = calibrate_heads(model, encoder, [*held, *mixture.dev], recipe.windows)
        heads_file.write_text(json.dumps({n: asdict(h) for n, h in heads.items()}, indent=2), encoding="utf-8")
    if not weights_file.exists() and only != "calibration":
        model = train_model(mixture.train, encoder, recipe, encoder_folder=folder, title="with all sources")
        torch.save(model.state_dict(), weights_file)
    if heads_file.exists() and weights_file.exists():
        model = ScreenerModel.from_pretrained(folder, recipe.model)
        model.load_state_dict(torch.load(weights_file, weights_only=True))
        heads = {n: Head(**h) for n, h in json.loads(heads_file.read_text(encoding="utf-8")).items()}
        contract = Contract(VERSION, recipe.windowing, heads, mixture.hashes, recipe.seeds[0])
        ranges = range_windows(mixture.train, encoder, recipe)
        revision = write_artefact(
            model, tokenizer=folder / "tokenizer.json", contract=contract, ranges_from=ranges, output=output
        )
        Console().print(f"screener {VERSION} ({revision}) is in {output}")


def range_windows(examples: Sequence[Example], encoder: WindowEncoder, recipe: Recipe) -> list[Encoded]:
    """Windows of training rows, even by source, for measuring ranges."""
    rng = random.Random(0)
    quotas = {e.source: 20 for e in examples}
    drawn = BalancedSampler(examples, quotas=quotas, default_quota=20, seed=0).epoch()[:RANGE_ROWS]
    return [row for row, _ in encode_rows(drawn, encoder, max_tokens=recipe.windowing.max_tokens, rng=rng)]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description="Train the embedded screener.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/screener"), help="folder of the mixture")
    parser.add_argument("--output", type=Path, default=Path("guardreasoner_sdk/assets/screener"))
    parser.add_argument("--work", type=Path, default=Path("build/screener"), help="finished steps are kept here")
    parser.add_argument("--only", choices=["calibration", "weights"], help="run one of the two trainings")
    parser.add_argument("--drop-overlaps", action="store_true", help="leave out rows that overlap a benchmark")
    parser.add_argument("--without", action="append", default=[], metavar="SOURCE", help="leave out a source")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = replace(SHIPPED, left_out_sources=frozenset(arguments.without))
    mixture = load_mixture(arguments.data, recipe, drop_overlaps=arguments.drop_overlaps)
    run(recipe, mixture, work=arguments.work, output=arguments.output, only=arguments.only)


if __name__ == "__main__":
    main()
