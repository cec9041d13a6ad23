"""Simulated worlds S0 to S3, S7 and S8: tables of indicators and covariates with a known answer, audited as real ones.

Thirty correlated Gaussian indicators and thirty covariates (3 sizes, 15 of sound, 12 of wording). A leak makes members
surer: it moves the indicators so that the best line through them (which is minus `nll`) has the stated AUC. A shift
makes long clips likelier to be claimed members, and the target is surer of long clips. No sound, no model: these worlds
are cheap, so that error rates can be counted over a thousand draws.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from precompute.adjustment import Covariates, overlap_weights, squares_check
from precompute.attack import assign_folds, fold_aucs
from precompute.headline import Headline, Overlap, Sample, find_headline, find_overlap
from precompute.indicators import INDICATORS
from precompute.nulls import permutation_null
from precompute.statistics.delong import weighted_auc
from precompute.statistics.logistic import balanced, expit, fit_draws, fold_rows, out_of_fold_draws
from precompute.statistics.roc import auc
from precompute.statistics.trained import trained_estimate
from precompute.units import design
from precompute.verdicts import Evidence, decide

SEED = 260328379
"""Of the study; draws of 260328378 were looked at while this was written."""

BLOCKS = (3, 15, 12)
FAMILIES = {"metadata": slice(0, 3), "acoustic": slice(3, 18), "text": slice(18, 30), "joint": slice(0, 30)}
SHIFT = {0: 1.2, 1: 0.6, 18: 0.6}
"""Logit of being claimed a member, per standard deviation of a covariate: blind AUC about 0.8."""

CONFOUNDED = 0.6
"""How much surer the target is of a clip one standard deviation longer, in deviations of each indicator's own noise."""

SPEAKERS = 40
SPEAKER_SHARE = 0.5
COPIES = 0.02
POPULATION = 20_000
NULL_DRAWS, LEAST_DRAWS, PLAIN_DRAWS, BLIND_DRAWS = 99, 50, 50, 25
"""Fewer label draws than an audit takes (999, 100, 200, 100): each world is drawn a thousand times."""


@dataclass(frozen=True)
class World:
    """A world with a known answer.

    Parameters
    ----------
    name, description, expected : str
    leak : float
        AUC of the best line through the indicators given what reaches the model; 0.5 is no leak.
    shift, speakers, copies : bool
    wrong : tuple of str
        Verdicts that are false here.
    """

    name: str
    description: str
    expected: str
    wrong: tuple[str, ...]
    leak: float = 0.5
    shift: bool = False
    speakers: bool = False
    copies: bool = False

    @property
    def leaks(self) -> bool:
        """Whether LEAK is the truth."""
        return self.leak > 0.5


NO_MEMORY = ("LEAK", "REVERSED")
NOTHING_AT_ALL = (*NO_MEMORY, "SHIFT ONLY", "NOT AUDITABLE")
MEMORY = ("REVERSED", "SHIFT ONLY")

WORLDS = {
    world.name: world
    for world in (
        World("S0", "nothing: no shift, no leak", "no LEAK, no SHIFT ONLY", NOTHING_AT_ALL),
        World("S1", "a shift and no leak", "no LEAK", NO_MEMORY, shift=True),
        World("S2-0.55", "a leak of AUC 0.55, no shift", "LEAK", (*MEMORY, "NOT AUDITABLE"), leak=0.55),
        World("S2-0.60", "a leak of AUC 0.60, no shift", "LEAK", (*MEMORY, "NOT AUDITABLE"), leak=0.60),
        World("S2-0.70", "a leak of AUC 0.70, no shift", "LEAK", (*MEMORY, "NOT AUDITABLE"), leak=0.70),
        World("S3", "a leak of AUC 0.60 and a shift", "LEAK or NOT AUDITABLE", MEMORY, leak=0.60, shift=True),
        World("S7", "no shift, no leak, 40 speakers per class", "no LEAK, not SHIFTED", NOTHING_AT_ALL, speakers=True),
        World("S8", "nothing, but 2% of the clips have a copy of random label", "no LEAK", NOTHING_AT_ALL, copies=True),
    )
}


@dataclass(frozen=True)
class Drawn:
    """One draw of a world: the tables an audit sees."""

    labels: np.ndarray
    indicators: np.ndarray
    covariates: np.ndarray
    groups: list[Hashable | None]
    copies: list[Hashable | None]


@lru_cache(maxsize=1)
def _mixing() -> np.ndarray:
    """Give the loadings [shape=(4, 30)] of the indicators on four common causes, the same in every draw."""
    rng = np.random.default_rng(260328378)
    return rng.standard_normal((4, len(INDICATORS))) * np.array([0.9, 0.5, 0.4, 0.3])[:, None]


def indicator_noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw the indicators of n clips without shift or leak, shape (n, 30)."""
    return rng.standard_normal((n, 4)) @ _mixing() + 0.7 * rng.standard_normal((n, len(INDICATORS)))


@lru_cache(maxsize=1)
def _covariance() -> np.ndarray:
    return _mixing().T @ _mixing() + 0.49 * np.eye(len(INDICATORS))


def leak_direction(leak: float) -> np.ndarray:
    """Shift of members' mean indicators, shape (30,), after which minus `nll` is the best line, with AUC `leak`.

    With equal covariance S the best line is S^-1 d and its AUC is Phi(sqrt(d' S^-1 d / 2)); d = -c S e_nll.
    """
    from scipy.special import ndtri

    first = _covariance()[:, INDICATORS.index("nll")]
    return -np.sqrt(2) * ndtri(leak) * first / np.sqrt(first[INDICATORS.index("nll")])


def draw(world: World, n_per_class: int, rng: np.random.Generator) -> Drawn:
    """Draw the tables of one audit.

    Parameters
    ----------
    world : World
    n_per_class : int
        Exact without shift; expected with one.
    rng : np.random.Generator

    Returns
    -------
    Drawn
    """
    n = 2 * n_per_class
    x = rng.standard_normal((n, sum(BLOCKS)))
    own = indicator_noise(rng, n)
    groups: list[Hashable | None] = [None] * n
    labels = rng.permutation(np.arange(n) % 2)
    if world.speakers:
        speaker = np.arange(n) % (2 * SPEAKERS)
        labels = speaker % 2
        share = np.sqrt(SPEAKER_SHARE)
        x = share * rng.standard_normal((2 * SPEAKERS, x.shape[1]))[speaker] + np.sqrt(1 - SPEAKER_SHARE) * x
        own = share * indicator_noise(rng, 2 * SPEAKERS)[speaker] + np.sqrt(1 - SPEAKER_SHARE) * own
        groups = [f"speaker {k}" for k in speaker]
    if world.shift:
        labels = (rng.random(n) < true_propensity(x)).astype(int)
    indicators = own + _answers(world, x, labels)
    keys: list[Hashable | None] = [None] * n
    if world.copies:
        count = round(COPIES * n)
        chosen = rng.permutation(n)
        sources, targets = chosen[:count], chosen[count : 2 * count]
        x[targets], indicators[targets] = x[sources], indicators[sources]
        for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
            keys[source] = keys[target] = f"copy {number}"
    return Drawn(labels, indicators, x, groups, keys)


def true_propensity(x: np.ndarray) -> np.ndarray:
    """Chance of being claimed a member, by the planted shift."""
    return expit(x[:, list(SHIFT)] @ np.array(list(SHIFT.values())))


def _answers(world: World, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Add what length and training do to the indicators."""
    surer = -CONFOUNDED * np.sign(_covariance()[INDICATORS.index("nll")])
    # Every world's target is surer of long clips; only a shift turns that into a difference between the classes.
    return np.outer(x[:, 0], surer) + np.outer(labels, leak_direction(world.leak))


@lru_cache(maxsize=16)
def population(name: str) -> tuple[Drawn, np.ndarray]:
    """Draw many clips of a world and their overlap weights by the true propensity, to take true AUCs from."""
    # A speaker for every clip: the same clips one by one, without the chance of which eighty speakers were drawn.
    world = replace(WORLDS[name], speakers=False, copies=False)
    drawn = draw(world, POPULATION // 2, np.random.default_rng(1))
    chance = true_propensity(drawn.covariates) if world.shift else np.full(len(drawn.labels), 0.5)
    return drawn, overlap_weights(drawn.labels, chance)


def true_auc(
    name: str, indicators: np.ndarray, labels: np.ndarray, weights: np.ndarray, folds: np.ndarray, adjusted: bool
) -> float:
    """AUC that the very models of an out-of-fold attack have on new clips of the world, mean over every second fold.

    Parameters
    ----------
    name : str
        Of the world.
    indicators, labels, weights, folds : np.ndarray
        What the attack was fitted on.
    adjusted : bool
        Weigh the new clips by the true overlap weights.

    Returns
    -------
    float
    """
    fresh, overlap = population(name)
    values = []
    for fold in np.unique(folds)[::2]:  # every second fold: the models differ little
        training = folds != fold
        y = labels[training, None].astype(float)
        both = np.vstack([indicators[training], fresh.indicators])
        known, new = fold_rows(both, np.arange(len(both)) < len(y))
        beta = fit_draws(known, y, balanced(y, weights[training, None]))
        score = new @ beta[:, 0]
        values.append(weighted_auc(fresh.labels, score, overlap if adjusted else np.ones(len(score))))
    return float(np.mean(values))


def audit_draw(name: str, n_per_class: int, index: int) -> dict[str, Any]:
    """Audit one draw of a world as `precompute.evidence` audits a dataset, and by the paper's rule.

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
    number = list(WORLDS).index(name)
    rng = np.random.default_rng([SEED, number, n_per_class, index])
    drawn = draw(world, n_per_class, rng)
    made = design(drawn.labels, drawn.groups, [drawn.copies])
    ids = [f"{i:06d}" for i in range(len(drawn.labels))]
    folds = assign_folds(ids, drawn.labels, seed=index, units=made.units)
    sample = Sample(drawn.labels, folds, made, np.zeros(len(drawn.labels), dtype=int))
    overlap = find_overlap(sample, Covariates(drawn.covariates, BLOCKS), squares_check, seed=index)
    headline = find_headline(
        sample, drawn.indicators, overlap, index, draws=NULL_DRAWS, plain=PLAIN_DRAWS, least=LEAST_DRAWS
    )
    blind = _blind(sample, drawn.covariates, index)
    decided = decide(_evidence(name, sample, drawn, overlap, headline, blind))
    ones, weights = np.ones(len(folds)), overlap.fitted.weights
    return {
        "world": name,
        "n_per_class": n_per_class,
        "draw": index,
        "verdict": decided.verdict,
        "phase1": decided.phase1,
        "p": headline.adjusted_null.p,
        "detectable": decided.detectable,
        "raw": _interval(headline.raw, true_auc(name, drawn.indicators, drawn.labels, ones, folds, False)),
        "adjusted": _interval(headline.adjusted, true_auc(name, drawn.indicators, drawn.labels, weights, folds, True)),
        "paper": _paper(drawn, ids, index),
    }


def _interval(found: Any, truth: float) -> list[float]:
    """AUC, limits and truth, in the order logged."""
    return [round(float(value), 4) for value in (found.auc, found.low, found.high, truth)]


def _blind(sample: Sample, covariates: np.ndarray, seed: int) -> list[tuple[str, Any]]:
    """Blind families of a draw with their intervals."""
    found = []
    y, ones = sample.labels[:, None].astype(float), np.ones((len(sample.labels), 1))
    for family, columns in FAMILIES.items():
        values = covariates[:, columns]
        score = out_of_fold_draws(values, y, ones, sample.folds)[:, 0]
        null = permutation_null(
            values, sample.labels, sample.folds, sample.design, 0.5, BLIND_DRAWS, seed, sample.strata
        )
        found.append((family, trained_estimate(sample.labels, score, sample.design.units, null.factor)))
    return found


def _evidence(
    name: str, sample: Sample, drawn: Drawn, overlap: Overlap, headline: Headline, blind: list[tuple[str, Any]]
) -> Evidence:
    """Collect what a verdict rests on; one audit, so nothing to correct for."""
    nll = -drawn.indicators[:, INDICATORS.index("nll")]
    direction = trained_estimate(sample.labels, nll, sample.design.units, weights=overlap.fitted.weights)
    return Evidence(
        dataset=name,
        target="simulated",
        attack=headline.raw,
        adjusted=headline.adjusted,
        p=headline.adjusted_null.p,
        p_holm=headline.adjusted_null.p,
        tests=1,
        draws=headline.adjusted_null.draws,
        lost=overlap.lost,
        enough_groups=sample.design.enough_groups,
        groups=sample.design.sentence,
        blind=blind,
        direction=[("generated", direction)],
    )


def _paper(drawn: Drawn, ids: list[str], seed: int) -> list[float]:
    """Apply the paper's rule to the same draw: highest blind AUC of the three families, and p of a t-test over folds.

    Random folds, groups and copies ignored; the t-test asks whether the ten folds' attack AUCs are above 0.5.
    """
    from scipy.stats import ttest_1samp

    folds = assign_folds(ids, drawn.labels, seed=seed)
    y, ones = drawn.labels[:, None].astype(float), np.ones((len(ids), 1))
    blind = max(
        auc(drawn.labels, out_of_fold_draws(drawn.covariates[:, FAMILIES[family]], y, ones, folds)[:, 0])
        for family in ("metadata", "text", "acoustic")
    )
    attack = out_of_fold_draws(drawn.indicators, y, ones, folds)[:, 0]
    test = ttest_1samp(list(fold_aucs(drawn.labels, attack, folds)), 0.5, alternative="greater")
    return [round(blind, 4), round(float(test.pvalue), 6)]
