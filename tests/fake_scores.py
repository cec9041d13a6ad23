"""Synthetic tables in the bundle's shape, with a leak and a shift of known size planted in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest

from precompute import evidence
from precompute.adjustment import squares_check
from precompute.attack import dataset_folds, membership_scores, sigmoid
from precompute.blind import ACOUSTIC, FAMILIES, METADATA, BlindFit
from precompute.indicators import EXTRAS, INDICATORS

WORDS = [
    "the",
    "a",
    "one",
    "press",
    "star",
    "key",
    "to",
    "hear",
    "your",
    "message",
    "please",
    "hold",
    "call",
    "line",
    "name",
]
SHIFTED_WORDS = ["invoice", "ledger"]
CONDITIONS = {"original": 1, "silence": 1, "noise": 1, "resynthesis": 3}


@dataclass(frozen=True)
class FakeDataset:
    """What to plant.

    Parameters
    ----------
    name : str
    n : int
        Clips per class.
    leak : float
        How many standard deviations surer the target is of members, under the original audio; negative is the reverse.
    shift : float
        How many standard deviations longer and louder members are; above 0 they also use other words.
    prefix : str or None
        Of the clip ids; two datasets with one prefix share their clips.
    """

    name: str
    n: int = 60
    leak: float = 0.0
    shift: float = 0.0
    prefix: str | None = None


@dataclass(frozen=True)
class FakeAudit:
    """The tables of a bundle."""

    clips: pd.DataFrame
    scores: pd.DataFrame
    blind: pd.DataFrame
    audit: dict
    fits: dict[str, BlindFit]
    folds: dict[str, pd.Series]


def _rng(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for every table, so that no two datasets share their noise."""
    return np.random.default_rng([seed, *"/".join(names).encode()])


def fake_clips(dataset: FakeDataset, seed: int = 0) -> pd.DataFrame:
    """Rows of ``clips.parquet``: members first."""
    rng = _rng(seed, "clips", dataset.name)
    labels = np.repeat([1, 0], dataset.n)
    words = [WORDS + SHIFTED_WORDS * 6 if dataset.shift and label else WORDS for label in labels]
    return pd.DataFrame(
        {
            "clip_id": [f"{dataset.prefix or dataset.name}/{i:04d}" for i in range(2 * dataset.n)],
            "dataset": dataset.name,
            "label": labels,
            "trained": pd.array([bool(dataset.leak) and bool(label) for label in labels], dtype="boolean"),
            "text": [" ".join(rng.choice(choice, size=6)) for choice in words],
            "duration_s": 2.0 + 0.3 * (rng.standard_normal(2 * dataset.n) + dataset.shift * labels),
            "group": None,
        }
    )


def fake_features(clips: pd.DataFrame, shift: float, seed: int = 0) -> pd.DataFrame:
    """Blind features with the shift along one direction."""
    rng = _rng(seed, "features", clips["dataset"].iloc[0])
    labels, n = clips["label"].to_numpy(), len(clips)
    acoustic = rng.standard_normal((n, len(ACOUSTIC))) + shift * labels[:, None] * (np.arange(len(ACOUSTIC)) == 0)
    metadata = np.zeros((n, len(METADATA)))
    metadata[:, 0] = clips["duration_s"]
    metadata[:, 1] = 16_000 * clips["duration_s"]
    return pd.DataFrame(np.hstack([metadata, acoustic]), columns=[*METADATA, *ACOUSTIC])


def fake_blind(clips: pd.DataFrame, shift: float, seed: int = 0) -> BlindFit:
    """Blind scores without fitting anything; `tests/test_blind.py` fits them."""
    rng = _rng(seed, "blind", clips["dataset"].iloc[0])
    labels = clips["label"].to_numpy()
    logits = rng.standard_normal((len(FAMILIES), len(clips))) + shift * (labels - labels.mean())
    top = {family: [{"feature": f"{family}.first", "weight": 0.5}] for family in FAMILIES}
    return BlindFit(
        scores=pd.DataFrame({f"{family}_score": sigmoid(row) for family, row in zip(FAMILIES, logits, strict=True)}),
        top=top,
        models={family: {"top": top[family], "features": None, "folds": []} for family in FAMILIES},
        typicality={"features": [], "folds": []},
    )


def fake_scores(
    clips: pd.DataFrame, target: str = "fake-target", leak: float = 0.0, shift: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """Rows of ``scores.parquet``: the leak shows in the original audio, and in the reference text everywhere."""
    rng = _rng(seed, "scores", clips["dataset"].iloc[0], target)
    labels, n = clips["label"].to_numpy(), len(clips)
    own = rng.standard_normal(n)
    parts = []
    for condition, realizations in CONDITIONS.items():
        for realization in range(realizations):
            for text in ("generated", "carried", "reference"):
                if (condition, text) == ("original", "carried"):
                    continue
                strength = leak if condition == "original" else 0.6 * leak * (text == "reference")
                sure = own + (strength + shift) * labels + 0.3 * rng.standard_normal(n)
                noise = rng.standard_normal((n, len(INDICATORS)))
                values = pd.DataFrame(-0.5 * sure[:, None] + 0.3 * noise + 2.0, columns=list(INDICATORS))
                values["prob_gap"] = 0.5 + 0.1 * sure + 0.02 * rng.standard_normal(n)
                values[list(EXTRAS)] = noise[:, : len(EXTRAS)]
                parts.append(
                    pd.concat(
                        [
                            clips[["clip_id", "dataset", "label", "trained"]],
                            pd.DataFrame(
                                {
                                    "target": target,
                                    "condition": condition,
                                    "realization": realization,
                                    "scored_text": text,
                                    "generated_text": clips["text"],
                                    "n_tokens": 6 + rng.integers(0, 4, n),
                                    "wer": 1.0 if condition in ("silence", "noise") else 0.2 + 0.1 * (labels == 0),
                                }
                            ),
                            values,
                        ],
                        axis=1,
                    )
                )
    return pd.concat(parts, ignore_index=True)


def fake_audit(datasets: Sequence[FakeDataset], targets: Sequence[str] = ("fake-target",), seed: int = 0) -> FakeAudit:
    """All tables of a bundle over several datasets and targets, membership and blind scores included."""
    clips, scores, blind, fits = [], [], [], {}
    for dataset in datasets:
        table = fake_clips(dataset, seed)
        features = fake_features(table, dataset.shift, seed)
        fits[dataset.name] = fake_blind(table, dataset.shift, seed)
        clips.append(table)
        blind.append(pd.concat([table[["clip_id", "dataset", "label"]], fits[dataset.name].scores, features], axis=1))
        scores += [fake_scores(table, target, dataset.leak, dataset.shift, seed) for target in targets]
    audit = {
        "schema": 1,
        "seed": seed,
        "targets": [{"id": target, "prompt": "Say it.", "max_new_tokens": 8} for target in targets],
        "datasets": [{"name": d.name, "truth": f"planted leak {d.leak}, shift {d.shift}"} for d in datasets],
        "conditions": [{"name": name, "realizations": count} for name, count in CONDITIONS.items()],
    }
    folds = {d.name: dataset_folds(table, seed) for d, table in zip(datasets, clips, strict=True)}
    table = membership_scores(pd.concat(scores, ignore_index=True), folds)
    return FakeAudit(
        pd.concat(clips, ignore_index=True), table, pd.concat(blind, ignore_index=True), audit, fits, folds
    )


@contextmanager
def few_draws(draws: int = 199, plain: int = 40) -> Iterator[None]:
    """Let an audit draw fewer labels and check balance with squares instead of trees: seconds, not a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "find_overlap", partial(evidence.find_overlap, check=squares_check))
        for name in ("find_headline", "given_headline"):
            patch.setattr(evidence, name, partial(getattr(evidence, name), draws=draws, plain=plain))
        patch.setattr(evidence, "FACTOR_DRAWS", 20)
        yield
