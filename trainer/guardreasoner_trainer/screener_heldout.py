"""What held-out rows say about a finished run: figures by source, calibration, and the cost of 8 bits."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from guardreasoner_trainer.screener_calibrate import text_logits
from guardreasoner_trainer.screener_evaluate import agreement
from guardreasoner_trainer.screener_graph import save_graph
from guardreasoner_trainer.screener_metrics import (
    Floats,
    best_threshold,
    calibration_error,
    figures,
    ranking_auc,
    sigmoid,
)
from guardreasoner_trainer.screener_proxy import split_held, weigh
from guardreasoner_trainer.screener_reference import Head, ReferenceScreener
from guardreasoner_trainer.screener_train import Run

AGREEMENT_ROWS = 600
"""Held-out texts, besides the development sets, on which both precisions are compared."""


def held_out_figures(run: Run, heads: Mapping[str, Head]) -> dict[str, object]:
    """The calibration model's figures on rows it never saw: over the proxy, by source, and on pairs."""
    model = run.calibration_model()
    _, held = split_held(run.mixture.train)
    prompts = [e for e in (*held, *run.mixture.dev) if e.response is None]
    head = heads["prompt_harm"]
    logits = text_logits(model, run.encoder, prompts, head=head.index, windows=head.windows)
    scores = _probabilities(head, logits)
    labels = np.array([e.targets[0] or 0 for e in prompts], dtype=np.float64)
    proxy = weigh(prompts)
    over = figures(scores[proxy.positions], proxy.labels, head.threshold, proxy.weights)
    sources: dict[str, object] = {}
    for source in sorted({e.source for e in prompts}):
        members = np.array([e.source == source for e in prompts])
        sources[source] = asdict(figures(scores[members], labels[members], head.threshold))
    pairs: dict[str, object] = {}
    for name in ("response_harm", "refusal"):
        pair_head = heads[name]
        rows = [e for e in held if e.response is not None and e.targets[pair_head.index] is not None]
        logits = text_logits(model, run.encoder, rows, head=pair_head.index, windows=pair_head.windows)
        wanted = np.array([e.targets[pair_head.index] for e in rows], dtype=np.float64)
        pairs[name] = asdict(figures(_probabilities(pair_head, logits), wanted, pair_head.threshold))
    return {
        "f1": over.f1,
        "auc": over.auc,
        "best_f1": best_threshold(scores[proxy.positions], proxy.labels, proxy.weights)[1],
        "calibration_error": calibration_error(scores[proxy.positions], proxy.labels, proxy.weights),
        "sources": sources,
        "pairs": pairs,
    }


def _probabilities(head: Head, logits: Floats) -> Floats:
    return sigmoid(head.scale * logits + head.bias)


def eight_bit_agreement(run: Run, artefact: Path) -> dict[str, float]:
    """The shipped graph against the same weights in float32, on rows that a label exists for."""
    _, held = split_held(run.mixture.train)
    prompts = [e for e in held if e.response is None]
    step = max(1, len(prompts) // AGREEMENT_ROWS)
    rows = [*prompts[::step], *run.mixture.dev]
    texts = [e.prompt for e in rows]
    labels = np.array([e.targets[0] or 0 for e in rows], dtype=np.float64)
    eight = ReferenceScreener(artefact, threads=2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_graph(run.shipped_model(), folder / "model.onnx", ranges=None)
        for file in ("tokenizer.json", "config.json"):
            (folder / file).write_bytes((artefact / file).read_bytes())
        exact = ReferenceScreener(folder, threads=2).score_prompts(texts)
    scores = eight.score_prompts(texts)
    return {
        "rows": len(rows),
        "same_label": agreement(scores.tolist(), exact.tolist(), eight.heads["prompt_harm"].threshold),
        "mean_difference": float(np.abs(scores - exact).mean()),
        "auc_int8": ranking_auc(scores, labels),
        "auc_float32": ranking_auc(exact, labels),
    }
