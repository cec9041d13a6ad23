"""Phase 3 read on the worlds with trained targets: does the audit say of each what was done to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from precompute import attack, evidence, results
from precompute.bundle import read_bundle
from precompute.claims import BOUND, CANNOT_READ, LENGTH, TEXT_KNOWN
from precompute.clips import InputError
from precompute.corpora import core_sounds
from precompute.indicators import INDICATORS
from precompute.nulls import permutation_null
from precompute.statistics.delong import weighted_delong
from precompute.tables import cells_of
from precompute.validate.grids import rightly_read

EXPECTED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "S4": ((TEXT_KNOWN,), (BOUND, LENGTH)),
    "S5": ((BOUND,), (TEXT_KNOWN, LENGTH)),
    "S6": ((LENGTH,), (BOUND,)),
    "S9": ((CANNOT_READ,), (BOUND,)),
}
"""By world: claims that must be made, and claims that must not. A target trained from scratch on few texts knows these
texts too, so S6 and S9 do not forbid "text known" as the simulated worlds do."""


def read_folder(folder: Path) -> list[dict[str, Any]]:
    """Read every finished world of a folder, named ``WORLD-SEED``.

    Parameters
    ----------
    folder : Path
        As ``python -m precompute.validate.trained --out`` fills it.

    Returns
    -------
    list of dict
        From `read_world`, ordered by world and seed.

    Raises
    ------
    InputError
        If no finished world is there.
    """
    names = sorted(path.parent.name for path in folder.glob("S[0-9]-*/scores.parquet"))
    wanted = [(name.split("-")[0], name.split("-")[1]) for name in names]
    found = [read_world(world, int(seed), folder / f"{world}-{seed}") for world, seed in wanted if world in EXPECTED]
    if not found:
        raise InputError(f"{folder}: holds no finished world (a folder such as S5-0 with scores.parquet)")
    return found


def read_embedded(bundle: Path) -> list[dict[str, Any]]:
    """Check the adjustment on the embedded cohorts, whose propensity was planted and is known.

    `core-both` is drawn from the clips of `core-clean` with a known chance e, so the adjusted AUC of the first should
    be near the AUC of the second weighted by e (1 - e).

    Parameters
    ----------
    bundle : Path
        An audit of both cohorts.

    Returns
    -------
    list of dict
        Per target: ``target, raw, adjusted, adjusted_low, adjusted_high, truth, truth_se``.
    """
    found = read_bundle(bundle)
    halves = [core_sounds.one_per_wording(half) for half in core_sounds.training_halves()]
    items = [*halves[0], *halves[1]]
    chance = dict(zip((i.clip.clip_id for i in items), core_sounds.planted_propensity(items), strict=True))
    rows = []
    for row in found.results["verdicts"]:
        if row["dataset"] != "core-both":
            continue
        scores = found.scores[(found.scores["dataset"] == "core-clean") & (found.scores["target"] == row["target"])]
        clean = attack.original(scores)
        e = clean["clip_id"].map(chance).to_numpy()
        truth, se = weighted_delong(clean["label"].to_numpy(), clean["mia_score"].to_numpy(float), e * (1 - e))
        values = {"raw": row["auc"], **{name: row[name] for name in ("adjusted_auc", "adjusted_low", "adjusted_high")}}
        numbers = {name: round(value, 3) for name, value in (values | {"truth": truth, "truth_se": se}).items()}
        rows.append({"target": row["target"], **numbers})
    if not rows:
        raise InputError(f"{bundle}: holds no verdict on core-both, whose shift is planted and known")
    return rows


def read_world(world: str, seed: int, folder: Path) -> dict[str, Any]:
    """Read the grid of one world and seed as an audit does.

    Parameters
    ----------
    world : str
        A key of `EXPECTED`.
    seed : int
    folder : Path
        With ``scores.parquet`` and ``clips.parquet`` as `precompute.validate.trained.make` leaves them.

    Returns
    -------
    dict
        ``world, seed, expected, claims, sentences, right, grid``: the refit AUCs with their intervals.
    """
    clips, scores = pd.read_parquet(folder / "clips.parquet"), pd.read_parquet(folder / "scores.parquet")
    (name,) = clips["dataset"].unique()
    (target,) = scores["target"].unique()
    scores = attack.membership_scores(scores, {name: attack.dataset_folds(clips)})
    data = evidence.dataset_of(name, clips, 0)
    cells = cells_of(scores)
    sample = data.sample
    features = data.matrix(cells["original", 0, "generated"], INDICATORS)
    factor = permutation_null(
        features, sample.labels, sample.folds, sample.design, 0.5, evidence.FACTOR_DRAWS, 0, sample.strata
    ).factor
    grid = results.condition_rows(data, target, cells, factor)
    found = results.claim_rows(data, target, cells, grid, {})
    said = [row["claim"] for row in found]
    says, never = EXPECTED[world]
    return {
        "world": world,
        "seed": seed,
        "expected": ", ".join(says),
        "claims": said,
        "sentences": [row["sentence"] for row in found],
        "right": rightly_read(says, never, said),
        "n_member": int((data.labels == 1).sum()),
        "n_non_member": int((data.labels == 0).sum()),
        "grid": [
            {
                "scored_text": row["scored_text"],
                "condition": row["condition"],
                **{key: round(row[key], 3) for key in ("auc", "auc_low", "auc_high")},
                "wer_member": round(row["wer_member"], 3),
                "wer_non_member": round(row["wer_non_member"], 3),
            }
            for row in grid
            if row["fit"] == "refit"
        ],
    }
