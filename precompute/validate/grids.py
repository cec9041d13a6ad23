"""Simulated worlds S4, S5, S6 and S9: disentanglement grids of which the right reading is known.

Each cell of the grid is a table of thirty Gaussian indicators with a leak of known AUC; what a clip adds of its own is
half shared between its cells. The same statistics and the same reading as in an audit follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from precompute.attack import assign_folds
from precompute.claims import BOUND, CANNOT_READ, LENGTH, TEXT_KNOWN, Cell, claims
from precompute.indicators import INDICATORS
from precompute.nulls import permutation_null
from precompute.results import widened
from precompute.statistics.contrasts import condition_contrast, interaction
from precompute.statistics.intervals import bootstrap_weights, mean_estimate, percentiles
from precompute.statistics.logistic import out_of_fold_draws
from precompute.units import design
from precompute.validate.simulated import BLIND_DRAWS, SEED, indicator_noise, leak_direction

REALIZATIONS = 3
RESAMPLES = 200
BAR = 0.53
"""Upper end of the blind side's interval, which what collapses must have stood above."""

ORIGINAL, SILENCE, FIXED, VOICE = "original", "silence", "silence_fixed", "resynthesis"


@dataclass(frozen=True)
class GridWorld:
    """A grid with a known reading.

    Parameters
    ----------
    name, description, expected : str
    says, never : tuple of str
        Claims that must be made, and claims that must not.
    aucs : dict of (str, str) to float
        By scored text and condition: AUC of the best line; 0.5 where not named.
    reads_voice : bool
        Whether the target can read the swapped voice.
    """

    name: str
    description: str
    expected: str
    says: tuple[str, ...]
    never: tuple[str, ...]
    aucs: dict[tuple[str, str], float]
    reads_voice: bool = True


WORLDS = {
    world.name: world
    for world in (
        GridWorld(
            "S4",
            "the text was seen in another voice",
            TEXT_KNOWN,
            (TEXT_KNOWN,),
            (BOUND, LENGTH),
            {
                ("generated", ORIGINAL): 0.7,
                ("reference", ORIGINAL): 0.95,
                ("reference", VOICE): 0.85,
                ("reference", FIXED): 0.65,
            },
        ),
        GridWorld(
            "S5",
            "the text is bound to the voice",
            BOUND,
            (BOUND,),
            (TEXT_KNOWN, LENGTH),
            {("generated", ORIGINAL): 0.8, ("reference", ORIGINAL): 0.95},
        ),
        GridWorld(
            "S6",
            "clip length is the key",
            LENGTH,
            (LENGTH,),
            (BOUND,),
            {("generated", ORIGINAL): 0.8, ("generated", SILENCE): 0.8, ("reference", ORIGINAL): 0.95},
        ),
        GridWorld(
            "S9",
            "the target cannot read the swapped voice",
            CANNOT_READ,
            (CANNOT_READ,),
            (BOUND, TEXT_KNOWN, LENGTH),
            {("generated", ORIGINAL): 0.8, ("reference", ORIGINAL): 0.95},
            reads_voice=False,
        ),
    )
}

CELLS = (
    ("generated", ORIGINAL),
    ("generated", SILENCE),
    ("generated", FIXED),
    ("reference", ORIGINAL),
    ("reference", VOICE),
)
"""The cells that a reading rests on."""


def read_draw(name: str, n_per_class: int, index: int) -> dict[str, Any]:
    """Draw a grid and read it as an audit does.

    Parameters
    ----------
    name : str
        Of the world.
    n_per_class : int
    index : int
        Number of the draw; the same number gives the same draw.

    Returns
    -------
    dict
        One line of the study's log.
    """
    world = WORLDS[name]
    rng = np.random.default_rng([SEED, 100 + list(WORLDS).index(name), n_per_class, index])
    n = 2 * n_per_class
    labels = rng.permutation(np.arange(n) % 2)
    folds = assign_folds([f"{i:06d}" for i in range(n)], labels, seed=index)
    weights = bootstrap_weights(labels, RESAMPLES, index)
    own = indicator_noise(rng, n)
    tables = {
        (text, condition): [
            np.sqrt(0.5) * (own + indicator_noise(rng, n))
            + np.outer(labels, leak_direction(world.aucs.get((text, condition), 0.5)))
            for _ in range(REALIZATIONS if condition == VOICE else 1)
        ]
        for text, condition in CELLS
    }
    y, ones = labels[:, None].astype(float), np.ones((n, 1))
    scores = {key: [out_of_fold_draws(t, y, ones, folds)[:, 0] for t in found] for key, found in tables.items()}
    first, made = tables["generated", ORIGINAL][0], design(labels, [None] * n)
    factor = permutation_null(first, labels, folds, made, 0.5, BLIND_DRAWS, index).factor
    drawn = {key: mean_estimate(labels, found, weights) for key, found in scores.items()}
    grid = {}
    for (text, condition), (found, _, resampled) in drawn.items():
        base = drawn[text, ORIGINAL]
        low, _, _, high = percentiles(base[2] - resampled)
        drop = None if condition == ORIGINAL else (base[0].auc - found.auc, low, high)
        grid[text, condition] = Cell(widened(found, factor), drop)
    nll = INDICATORS.index("nll")
    swapped = np.mean([table[:, nll] for table in tables["reference", VOICE]], axis=0)
    moved = interaction(labels, tables["reference", ORIGINAL][0][:, nll], swapped)
    gap = condition_contrast(labels, scores["generated", FIXED][0], scores["generated", SILENCE][0], weights)
    readable = {ORIGINAL: True, VOICE: world.reads_voice}
    said = [claim.claim for claim in claims(grid, BAR, readable, moved, (gap.difference, gap.low, gap.high))]
    return {
        "world": name,
        "n_per_class": n_per_class,
        "draw": index,
        "claims": said,
        "right": rightly_read(world.says, world.never, said),
    }


def rightly_read(says: tuple[str, ...], never: tuple[str, ...], said: list[str]) -> bool:
    """Whether all claims that must be made were made, and none that must not."""
    return set(says) <= set(said) and not set(never) & set(said)
