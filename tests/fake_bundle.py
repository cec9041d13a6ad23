"""Write a small but full SYNTHETIC bundle: invented scores of invented clips, tones instead of speech.

For the tests of the explorer and for looking at it without an audit. Nothing in it was measured, and every title says
so. Run ``python -m tests.fake_bundle FOLDER`` to have one.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from precompute.bundle import Bundle, write_audio, write_bundle
from precompute.conditions import CONDITIONS
from precompute.indicators import EXTRAS, INDICATORS
from precompute.statistics.intervals import Estimate
from precompute.verdicts import Evidence, decide

RATE = 8000
WORDS = (
    "please",
    "enter",
    "your",
    "number",
    "now",
    "then",
    "press",
    "pound",
    "hear",
    "new",
    "message",
    "again",
    "agent",
)
DATASETS = {"synthetic-clean": 0.0, "synthetic-shift": 1.6}
"""Name to how far blind features move the members."""
TARGETS = {"synthetic-target": 1.6, "synthetic-target-weak": 0.35}
"""Name to how much the target remembers."""
FAMILIES = ("metadata", "text", "acoustic", "fingerprint", "joint", "boosted")
READS = {"original": 1.0, "silence": 0.0, "silence_fixed": 0.0, "noise": 0.03, "noise_fixed": 0.0, "resynthesis": 0.1}
"""Share of the memory that shows under each condition, on generated and carried text."""
MISSING_CLIP = "synthetic-clean/003"
"""This clip's audio is left out, as where a licence forbids copying."""


def write_fake_bundle(path: Path, per_class: int = 40, seed: int = 0) -> Bundle:
    """Write the bundle and read it back.

    Parameters
    ----------
    path : Path
    per_class : int
        Clips per class of each dataset.
    seed : int
    """
    rng = np.random.default_rng(seed)
    clips = pd.concat([_clips(name, per_class, rng) for name in DATASETS], ignore_index=True)
    blind = _blind(clips, rng)
    scores = pd.concat([_scores(clips, blind, target, rng) for target in TARGETS], ignore_index=True)
    for clip in clips.itertuples():
        _write_tones(path, clip)
    return write_bundle(
        path,
        audit=_audit(per_class),
        clips=clips,
        scores=scores,
        blind=blind,
        tokens=_tokens(scores, rng),
        models={name: {target: {} for target in TARGETS} for name in DATASETS},
        results=_results(clips, scores, blind),
    )


def _clips(dataset: str, per_class: int, rng: np.random.Generator) -> pd.DataFrame:
    labels = np.repeat([1, 0], per_class)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(3, 10))) for _ in labels]
    return pd.DataFrame(
        {
            "clip_id": [f"{dataset}/{number:03d}" for number in range(len(labels))],
            "dataset": dataset,
            "label": labels,
            "trained": pd.array(labels == 1 if dataset == "synthetic-clean" else [False] * len(labels), "boolean"),
            "half": np.where(labels == 1, "A", "B"),
            "text": texts,
            "duration_s": [round(0.25 * len(text.split()), 3) for text in texts],
            "group": None,
            "language": "en",
        }
    )


def _blind(clips: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    shift = clips["label"] * clips["dataset"].map(DATASETS)
    table = clips[["clip_id", "dataset", "label"]].copy()
    for family in FAMILIES:
        table[f"{family}_score"] = _sigmoid(0.7 * rng.standard_normal(len(clips)) + 0.7 * (shift - shift.mean()))
    table["metadata.duration_s"] = clips["duration_s"]
    table["propensity"] = table["joint_score"]
    table["overlap_weight"] = np.where(clips["label"] == 1, 1 - table["propensity"], table["propensity"])
    return table


def _scores(clips: pd.DataFrame, blind: pd.DataFrame, target: str, rng: np.random.Generator) -> pd.DataFrame:
    memory = TARGETS[target] * clips["trained"].to_numpy(float)
    easy = 0.8 * np.log(blind["joint_score"] / (1 - blind["joint_score"])).to_numpy()
    tables = []
    for condition, realization in inputs():
        wrote = [_written(text, condition, bool(m > 1), rng) for text, m in zip(clips["text"], memory, strict=True)]
        for text in ("generated", "carried", "reference"):
            if condition == "original" and text == "carried":
                continue
            share = max(READS[condition], 0.4) if text == "reference" else READS[condition]
            gain = 1.6 if text == "reference" else 1.0
            logit = 1.2 * gain * share * (memory - memory.mean()) + share * easy + 0.6 * rng.standard_normal(len(clips))
            table = clips[["clip_id", "dataset", "label", "trained"]].assign(
                target=target, condition=condition, realization=realization, scored_text=text
            )
            table["generated_text"] = clips["text"] if text == "reference" else wrote
            table["n_tokens"] = table["generated_text"].str.split().str.len()
            table["wer"] = [min(2.0, _wrong(a, b)) for a, b in zip(clips["text"], wrote, strict=True)]
            numbers = {name: np.abs(2 - logit / 3) for name in (*INDICATORS, *EXTRAS)}
            table = table.assign(**numbers)
            table["mia_score"] = _sigmoid(1.5 * logit)
            table["mia_score_transfer"] = _sigmoid(1.2 * logit - 0.2)
            headline = (condition, text) == ("original", "generated")
            table["mia_score_adjusted"] = _sigmoid(1.5 * (logit - share * easy)) if headline else np.nan
            tables.append(table)
    frame = pd.concat(tables, ignore_index=True)
    silent = (
        (frame["condition"] == "original")
        & (frame["scored_text"] == "generated")
        & frame["clip_id"].str.endswith("/005")
    )
    frame.loc[silent, ["mia_score", "mia_score_transfer", "mia_score_adjusted", *INDICATORS]] = (
        np.nan
    )  # a clip for which nothing was written
    return frame


def inputs() -> list[tuple[str, int]]:
    """Every (condition, realization) pair."""
    return [(name, index) for name in CONDITIONS for index in range(CONDITIONS[name].realizations)]


def _written(text: str, condition: str, recalls: bool, rng: np.random.Generator) -> str:
    if recalls and condition == "original":
        return text
    words = [
        word if rng.random() < (0.6 if condition == "original" else 0.15) else str(rng.choice(WORDS))
        for word in text.split()
    ]
    return " ".join(words)


def _wrong(reference: str, written: str) -> float:
    pairs = zip(reference.split(), written.split(), strict=True)
    return float(np.mean([a != b for a, b in pairs]))


def _tokens(scores: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    first = scores.drop_duplicates(["clip_id", "target", "condition", "realization", "scored_text"])
    table = first[["clip_id", "target", "condition", "realization", "scored_text"]].reset_index(drop=True)
    pieces = [[f" {word}" for word in text.split()] for text in first["generated_text"]]
    table["token"] = pieces
    table["nll"] = [rng.exponential(0.5, len(piece)).round(4).tolist() for piece in pieces]
    table["entropy"] = [rng.exponential(0.8, len(piece)).round(4).tolist() for piece in pieces]
    table["gap"] = [rng.uniform(0, 1, len(piece)).round(4).tolist() for piece in pieces]
    return table


def _write_tones(path: Path, clip) -> None:
    """A beep per word, its pitch from the word; another voice is the same at another pitch."""
    if clip.clip_id == MISSING_CLIP:
        return
    for condition, realization, factor in (("original", 0, 1.0), *(("resynthesis", i, 1.3 + i / 5) for i in range(3))):
        rate = RATE if condition == "original" else 16000
        time = np.arange(int(0.25 * rate)) / rate
        envelope = np.sin(np.pi * time / 0.25) ** 2
        beeps = [
            0.4 * envelope * np.sin(2 * np.pi * (180 + 40 * (len(word) + ord(word[0]) % 7)) * factor * time)
            for word in clip.text.split()
        ]
        write_audio(path, clip.clip_id, condition, realization, np.concatenate(beeps).astype(np.float32), rate)


def _audit(per_class: int) -> dict:
    def target(name: str) -> dict:
        return {
            **{"id": name, "revision": "synthetic", "dtype": "float32", "family": "synthetic", "max_new_tokens": 64},
            **{"prompt": "Transcribe the input speech.", "decoding": "greedy", "trained_on": "invented"},
        }

    def dataset(name: str, leak: bool) -> dict:
        truth = "members were 'trained on', by invention." if leak else "nothing was 'trained on', by invention."
        return {
            **{"name": name, "title": f"{name} (invented)", "truth": truth, "licence": "CC0", "attribution": "tones"},
            **{"description": "Synthetic test data: tones instead of speech, invented scores. Nothing was measured."},
            **{"n_member": per_class, "n_non_member": per_class},
        }

    return {
        "created": "2026-01-01T00:00:00+00:00",
        "part": f"synthetic, {per_class} per class",
        "seed": 0,
        "protocol": "single-pass",
        "targets": [target(name) for name in TARGETS],
        "datasets": [dataset(name, name == "synthetic-clean") for name in DATASETS],
        "conditions": [
            {
                "name": c.name,
                "realizations": c.realizations,
                "description": c.description,
                "fixed_seconds": 3.0 if c.fixed_length else None,
            }
            for c in CONDITIONS.values()
        ],
        "versions": {},
        "wall_seconds": 1.0,
    }


def _results(clips: pd.DataFrame, scores: pd.DataFrame, blind: pd.DataFrame) -> dict:
    blind_rows = [
        {
            "dataset": name,
            "family": family,
            **_auc(rows[f"{family}_score"], rows["label"]),
            "top": [{"feature": f"{family}.invented", "weight": 0.5}],
        }
        for name, rows in blind.groupby("dataset")
        for family in FAMILIES
    ]
    mia, conditions = [], []
    for (dataset, target, text), rows in scores.groupby(["dataset", "target", "scored_text"], sort=False):
        for fit, column in (("refit", "mia_score"), ("transfer", "mia_score_transfer")):
            names = {"dataset": dataset, "target": target, "scored_text": text, "fit": fit}
            cells = [
                {
                    **names,
                    "condition": c,
                    "realization": r,
                    **_auc(part[column], part["label"]),
                    **_word_error(part),
                    "nll_auc": 0.5,
                    "nll_auc_low": 0.4,
                    "nll_auc_high": 0.6,
                    "tokens_auc": 0.5,
                    "excluded_member": 0,
                    "excluded_non_member": 0,
                }
                for (c, r), part in rows.groupby(["condition", "realization"], sort=False)
            ]
            mia += cells
            conditions += [
                _condition_row(names, c, [cell for cell in cells if cell["condition"] == c]) for c in CONDITIONS
            ]
    return {
        "blind": blind_rows,
        "mia": mia,
        "indicators": [
            {
                **{"dataset": d, "target": t, "scored_text": text, "indicator": name, "p": 0.01, "q": 0.02 + 0.002 * i},
                **{"auc": 0.7 - 0.005 * i, "auc_low": 0.62 - 0.005 * i, "auc_high": 0.78 - 0.005 * i},
            }
            for d in DATASETS
            for t in TARGETS
            for text in ("generated", "reference")
            for i, name in enumerate(INDICATORS)
        ],
        "correlation": [
            {
                "dataset": d,
                "target": t,
                "family": f,
                "pearson": 0.1,
                "pearson_low": 0.0,
                "pearson_high": 0.2,
                "pearson_p": 0.3,
                "spearman": 0.1,
                "n": 80,
                "within": -0.05,
                "within_low": -0.15,
                "within_high": 0.05,
            }
            for d in DATASETS
            for t in TARGETS
            for f in FAMILIES[:3]
        ],
        "heatmap": [
            {
                "target": t,
                "row": a,
                "column": b,
                "auc": 0.6 if a != b else 0.8,
                "auc_low": 0.55,
                "auc_high": 0.85,
                "n_row": 40,
                "n_column": 40,
                "kind": "membership" if a == b else "domain",
            }
            for t in TARGETS
            for a in DATASETS
            for b in DATASETS
        ],
        "conditions": [row for row in conditions if row],
        "verdicts": [_verdict(d, t, mia, blind_rows, scores, blind) for d in DATASETS for t in TARGETS],
        "properties": [_property(name, rows) for name, rows in blind.groupby("dataset", sort=False)],
        "adjustment": [_adjustment(name, rows) for name, rows in blind.groupby("dataset", sort=False)],
        "pairs": [
            {"dataset": d, "member": member, "non_member": other, "distance": 0.1 * (i + 1)}
            for d, rows in clips.groupby("dataset", sort=False)
            for i, (member, other) in enumerate(
                zip(rows[rows["label"] == 1]["clip_id"], rows[rows["label"] == 0]["clip_id"], strict=True)
            )
        ],
        "claims": [
            {"dataset": d, "target": t, "claim": "open", "sentence": "open: invented, so nothing is settled."}
            for d in DATASETS
            for t in TARGETS
        ],
        "controls": [
            {
                **{
                    "dataset": d,
                    "target": t,
                    "control": name,
                    "n": 80,
                    "method": "invented",
                    "held": "random" not in name,
                },
                **{"auc": 0.5, "auc_low": 0.42, "auc_high": 0.58},
            }
            for d in DATASETS
            for t in TARGETS
            for name in ("random labels", "members against members")
        ],
        "reference": [
            {
                **{"dataset": d, "target": "synthetic-target", "reference": "synthetic-target-weak", "p": 0.2},
                **{"kind": "difference", "auc": 0.55, "auc_low": 0.45, "auc_high": 0.65, "method": "invented"},
            }
            for d in DATASETS
        ],
        "grouping": [],
    }


def _property(dataset: str, rows: pd.DataFrame) -> dict:
    """Compare lengths; the q is invented, low where a shift was."""
    lengths = {
        label: part["metadata.duration_s"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
        for label, part in rows.groupby("label")
    }
    return {
        **{"dataset": dataset, "property": "metadata.duration_s", "words": "length", "unit": "s"},
        **_auc(rows["metadata.duration_s"], rows["label"]),
        "q": 0.001 if DATASETS[dataset] else 0.6,
        "member_quantiles": lengths[1],
        "non_member_quantiles": lengths[0],
    }


def _adjustment(dataset: str, rows: pd.DataFrame) -> dict:
    n = int((rows["label"] == 1).sum())
    effective = {
        label: float(part["overlap_weight"].sum() ** 2 / (part["overlap_weight"] ** 2).sum())
        for label, part in rows.groupby("label")
    }
    return {
        **{"dataset": dataset, "n_member": n, "n_non_member": len(rows) - n, "lost": None, "design": "No groups."},
        **{"effective_member": effective[1], "effective_non_member": effective[0]},
        **{"balance_before": 0.5 + 0.2 * bool(DATASETS[dataset]), "balance": 0.51, "balance_expected": 0.5},
        **{"largest_difference_before": 1.2, "largest_difference": 0.1},
    }


def _condition_row(names: dict, condition: str, cells: list[dict]) -> dict | None:
    if not cells:
        return None
    values = [cell["auc"] for cell in cells]
    mean = {
        key: float(np.mean([cell[key] for cell in cells]))
        for key in ("auc", "auc_low", "auc_high", "wer_member", "wer_non_member")
    }
    return {
        **names,
        "condition": condition,
        **mean,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "realizations": values,
        "n_member": cells[0]["n_member"],
        "n_non_member": cells[0]["n_non_member"],
        "readable": mean["wer_non_member"] <= 0.8,
        "t": 0.0,
        "t_p": 1.0,
        "method": "invented",
    }


def _verdict(
    dataset: str, target: str, mia: list[dict], blind: list[dict], scores: pd.DataFrame, table: pd.DataFrame
) -> dict:
    """Decide as an audit does; p-values and draws are invented."""
    wanted = {"dataset": dataset, "target": target, "condition": "original", "scored_text": "generated", "fit": "refit"}
    row = next(r for r in mia if all(r[key] == value for key, value in wanted.items()))
    families = [(r["family"], _estimate(r)) for r in blind if r["dataset"] == dataset]
    cell = scores.query(
        "dataset == @dataset and target == @target and condition == 'original' and scored_text == 'generated'"
    )
    weights = table[table["dataset"] == dataset].set_index("clip_id").loc[cell["clip_id"], "overlap_weight"].to_numpy()
    found = _auc(cell["mia_score_adjusted"], cell["label"], weights)
    adjusted = _estimate(found)
    p_holm = 0.004 if adjusted.low > 0.5 else 0.8
    decided = decide(
        Evidence(
            **{"dataset": dataset, "target": target, "attack": _estimate(row), "adjusted": adjusted},
            **{"p": p_holm / 4, "p_holm": p_holm, "tests": 4, "draws": 999, "lost": None, "enough_groups": True},
            **{"groups": "No groups.", "blind": families, "direction": [("generated", _estimate(row))]},
        )
    )
    return {
        **{"dataset": dataset, "target": target, "phase1": decided.phase1, "verdict": decided.verdict},
        **{"sentence": decided.sentence, "phase1_sentence": decided.phase1_sentence},
        "reasons": [decided.phase1_sentence, *(step.because for step in decided.steps)],
        "steps": [asdict(step) for step in decided.steps],
        "changes": list(decided.changes),
        **{key: row[key] for key in ("n_member", "n_non_member", "auc", "auc_low", "auc_high")},
        **{"adjusted_auc": found["auc"], "adjusted_low": found["auc_low"], "adjusted_high": found["auc_high"]},
        **{"p": p_holm / 4, "p_holm": p_holm, "tests": 4, "draws": 999, "detectable": decided.detectable},
        **{"blind_family": decided.blind_family, "blind_auc": decided.blind.auc, "blind_low": decided.blind.low},
        **{"blind_high": decided.blind.high, "direction_auc": decided.direction_auc},
        **{"excluded_member": 1, "excluded_non_member": 0, "excluded_p": 1.0},
        **{"added_gain": 0.1, "added_gain_low": 0.05, "added_gain_high": 0.15, "added_p": 0.0004},
        **{"tpr_at_0.01": None, "tpr_at_0.01_needs": 1000, "tpr_at_0.001": None, "tpr_at_0.001_needs": 10000},
        "truth": "invented",
        "trained_members": not DATASETS[dataset],
        "trained_non_members": False,
    }


def _estimate(row: dict) -> Estimate:
    error = (row["auc_high"] - row["auc_low"]) / 3.92
    limits = (row["auc"] - 1.645 * error, row["auc"] + 1.645 * error)
    return Estimate(row["auc"], row["auc_low"], row["auc_high"], *limits, error, row["n_member"], row["n_non_member"])


def _word_error(rows: pd.DataFrame) -> dict:
    return {
        "wer_member": float(rows.loc[rows["label"] == 1, "wer"].mean()),
        "wer_non_member": float(rows.loc[rows["label"] == 0, "wer"].mean()),
    }


def _auc(scores: pd.Series, labels: pd.Series, weights: np.ndarray | None = None) -> dict:
    """AUC with the Hanley and McNeil (1982) standard error, good enough for invented numbers."""
    kept = scores.notna().to_numpy()
    values, labels = scores.to_numpy()[kept], labels.to_numpy()[kept]
    w = np.ones(len(kept))[kept] if weights is None else weights[kept]
    n, m = int(labels.sum()), int((1 - labels).sum())
    higher = np.sign(values[labels == 1][:, None] - values[labels == 0]) / 2 + 0.5
    auc = float(np.average(higher, weights=np.outer(w[labels == 1], w[labels == 0])))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = np.sqrt((auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m))
    return {
        "auc": auc,
        "auc_low": float(max(0, auc - 1.96 * error)),
        "auc_high": float(min(1, auc + 1.96 * error)),
        "n_member": n,
        "n_non_member": m,
        "method": "Hanley-McNeil, invented scores",
    }


def _sigmoid(value):
    return 1 / (1 + np.exp(-value))


if __name__ == "__main__":
    print(write_fake_bundle(Path(sys.argv[1])).path)
