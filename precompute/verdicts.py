"""From numbers to a sentence: one readable decision per dataset and target (method.md, "Verdicts", point 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.statistics.equivalence import MARGIN, clips_needed
from precompute.statistics.intervals import Estimate
from precompute.statistics.multiplicity import holm
from precompute.statistics.power import minimal_detectable
from precompute.units import FEWEST_GROUPS

CLEAN, SHIFTED, UNDECIDED = "CLEAN", "SHIFTED", "UNDECIDED"
LEAK, REVERSED, NO_LEAK_SEEN = "LEAK", "REVERSED", "NO LEAK SEEN"
SHIFT_ONLY, NOT_AUDITABLE = "SHIFT ONLY", "NOT AUDITABLE"

LEVEL = 0.05
LARGEST_DETECTABLE = 0.60
"""An audit that could not have seen an AUC of this size says UNDECIDED, not NO LEAK SEEN."""

QUESTIONS = {
    "scored": "Could the clips be scored at all?",
    "overlap": "Are there enough clips in each class that are like the other class's?",
    "signal": "Is the shift-adjusted AUC above chance (Holm p below 0.05), with groups enough to say so?",
    "direction": "Are the members the ones the target is surer of?",
    "groups": f"Where labels go with groups: are there at least {FEWEST_GROUPS} per class?",
    "power": f"Would a leak of AUC {LARGEST_DETECTABLE:.2f} have been seen?",
    "shift": "Do blind features separate the classes, and is the raw AUC above chance?",
}
"""The decision's questions in the order they are asked."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Parameters
    ----------
    dataset, target : str
    attack : Estimate or None
        Raw membership score, original audio, generated text; None where the dataset could not be scored.
    adjusted : Estimate or None
        The same under overlap weights.
    p, p_holm : float or None
        Of the adjusted AUC given what reaches the model: alone, and corrected over all verdicts of the audit.
    tests : int
        Verdicts corrected for.
    draws : int
        Label draws behind `p`.
    lost : str or None
        Why like cannot be compared with like; None where it can.
    enough_groups : bool
        False where labels go with groups and a class has under six.
    groups : str
        How labels and groups go together, a sentence.
    blind : sequence of (str, Estimate)
        Blind families that have anything to work on.
    direction : sequence of (str, Estimate)
        Scored text and the overlap-weighted AUC of its mean NLL, sign fixed (surer means more member-like). Where a
        target tells no probability, ``word error`` and the AUC of that, lower being more member-like.
    """

    dataset: str
    target: str
    attack: Estimate | None
    adjusted: Estimate | None
    p: float | None
    p_holm: float | None
    tests: int
    draws: int
    lost: str | None
    enough_groups: bool
    groups: str
    blind: Sequence[tuple[str, Estimate]]
    direction: Sequence[tuple[str, Estimate]]


@dataclass(frozen=True)
class Step:
    """One question of the decision, its answer and the number behind it."""

    question: str
    answer: bool
    because: str


@dataclass(frozen=True)
class Verdict:
    """A decision with the numbers it was made from.

    Parameters
    ----------
    phase1 : str
        CLEAN, SHIFTED or UNDECIDED.
    verdict : str
        LEAK, REVERSED, NO LEAK SEEN, SHIFT ONLY, NOT AUDITABLE or UNDECIDED.
    sentence : str
        For the reader, beginning with the verdict.
    phase1_sentence : str
    steps : tuple of Step
        The questions asked, in order, up to the one that decided.
    changes : tuple of str
        What would change this verdict.
    blind_family : str or None
        The blind family with the highest AUC.
    blind : Estimate or None
        Its estimate.
    direction_auc : float or None
        The fixed-sign AUC of mean NLL, of the scored text in which it is farthest from 0.5.
    detectable : float or None
        Smallest adjusted AUC that would have been seen (power 80%).
    """

    phase1: str
    verdict: str
    sentence: str
    phase1_sentence: str
    steps: tuple[Step, ...]
    changes: tuple[str, ...]
    blind_family: str | None
    blind: Estimate | None
    direction_auc: float | None
    detectable: float | None


def decide(evidence: Evidence) -> Verdict:
    """Decide whether members were remembered, and say it with numbers.

    In this order: no score, UNDECIDED; overlap lost, NOT AUDITABLE; an adjusted AUC above chance, LEAK, or REVERSED
    where the claimed non-members are the ones the target is surer of; too few groups or clips, UNDECIDED; a shift and a
    raw AUC above chance, SHIFT ONLY; the rest is NO LEAK SEEN, with the smallest leak that would have been seen.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    Verdict
    """
    phase1, why = blind_verdict(evidence.blind)
    strongest = max(evidence.blind, key=lambda item: item[1].auc, default=None)
    direction = max(evidence.direction, key=lambda item: abs(item[1].auc - 0.5), default=None)
    steps, verdict, finding = _membership(evidence, phase1, strongest, direction)
    scored = evidence.adjusted is not None and np.isfinite(evidence.adjusted.auc)
    return Verdict(
        phase1=phase1,
        verdict=verdict,
        sentence=f"{verdict}: {evidence.target} on {evidence.dataset}: {finding}",
        phase1_sentence=why,
        steps=tuple(steps),
        changes=changes(evidence, verdict, strongest),
        blind_family=strongest[0] if strongest else None,
        blind=strongest[1] if strongest else None,
        direction_auc=direction[1].auc if direction else None,
        detectable=seen_from(evidence.adjusted) if scored and evidence.adjusted else None,
    )


def seen_from(adjusted: Estimate) -> float:
    """Smallest AUC that would have been seen (power 80%); 1 for a constant score, which shows nothing."""
    return minimal_detectable(adjusted.se) if adjusted.se > 0 else 1.0


def blind_verdict(blind: Sequence[tuple[str, Estimate]]) -> tuple[str, str]:
    """Decide phase 1: can the classes be told apart without the model.

    CLEAN needs every family inside the margin by two one-sided tests at 5% (intersection-union, no correction) and
    means "by these learners"; SHIFTED is any family above the margin after Holm. An out-of-fold AUC below the margin is
    no shift anybody could use: it comes of learners following chance, or of near-copies on both sides, and leaves
    phase 1 UNDECIDED.

    Parameters
    ----------
    blind : sequence of (str, Estimate)

    Returns
    -------
    tuple of (str, str)
        The word and a sentence that explains it.
    """
    from scipy.special import ndtr

    low, high = 0.5 - MARGIN, 0.5 + MARGIN
    if not blind:
        return UNDECIDED, "Phase 1 is UNDECIDED: there is no blind baseline for this dataset."
    above = holm(np.array([1 - ndtr((found.auc - high) / max(found.se, 1e-12)) for _, found in blind]))
    outside = [(name, found) for (name, found), p in zip(blind, above, strict=True) if p < LEVEL]
    if outside:
        name, found = max(outside, key=lambda item: item[1].auc)
        return SHIFTED, (
            f"Phase 1 is SHIFTED: without the model, {name} features alone reach AUC {shown(found)} on "
            f"{counts(found)}, above {high:.2f} (Holm over {len(blind)} families)."
        )
    loose = [(name, found) for name, found in blind if found.low_90 < low or found.high_90 > high]
    if not loose:
        return CLEAN, (
            f"Phase 1 is CLEAN by these learners: the 90% interval of all {len(blind)} blind AUCs lies within "
            f"{low:.2f} to {high:.2f}."
        )
    name, found = max(loose, key=lambda item: max(low - item[1].low_90, item[1].high_90 - high))
    size = 2 / (1 / max(found.n_member, 1) + 1 / max(found.n_non_member, 1))
    needed = clips_needed(found.se, size) if found.se > 0 else 0
    more = f"; a verdict of CLEAN takes about {needed:,} clips per class" if needed > size else ""
    return UNDECIDED, (
        f"Phase 1 is UNDECIDED: the 90% interval of the {name} blind AUC, {found.auc:.2f} [{found.low_90:.2f}, "
        f"{found.high_90:.2f}] on {counts(found)}, "
        f"is not within {low:.2f} to {high:.2f}, and no family is clearly above{more}."
    )


def _membership(
    evidence: Evidence,
    phase1: str,
    strongest: tuple[str, Estimate] | None,
    direction: tuple[str, Estimate] | None,
) -> tuple[list[Step], str, str]:
    """Ask the questions in order; return them, the final word and what is said after it."""
    raw, adjusted = evidence.attack, evidence.adjusted
    steps: list[Step] = []

    def ask(name: str, answer: bool, because: str) -> bool:
        steps.append(Step(QUESTIONS[name], answer, because))
        return answer

    known = raw is not None and adjusted is not None and np.isfinite(raw.auc) and np.isfinite(adjusted.auc)
    sizes = counts(raw) if raw is not None else "no clips"
    if not ask("scored", bool(known), sizes) or raw is None or adjusted is None:
        return steps, UNDECIDED, "it could not be scored, so nothing is said about membership."
    blind = f"strongest blind baseline ({strongest[0]}) {shown(strongest[1])}" if strongest else "no blind baseline"
    before = f"raw AUC {shown(raw)} on {sizes}; {blind}"
    if not ask("overlap", evidence.lost is None, evidence.lost or "the reweighted classes are balanced"):
        return (
            steps,
            NOT_AUDITABLE,
            (f"{evidence.lost}, so the score cannot tell memory from the difference between the lists ({before})."),
        )
    smallest = seen_from(adjusted)
    value = f"shift-adjusted AUC {shown(adjusted)}"
    p = evidence.p_holm if evidence.p_holm is not None else 1.0
    chance = f"p = {printed_p(p)} (Holm over {evidence.tests}, {evidence.draws} label draws)"
    if ask("signal", p < LEVEL and evidence.enough_groups, f"{value}, {chance}"):
        verdict, finding = _directed(f"{value}, {chance}; {before}", direction)
        ask("direction", verdict == LEAK, finding.rsplit("; ", 1)[-1])
        return steps, verdict, finding
    if not ask("groups", evidence.enough_groups, evidence.groups):
        return (
            steps,
            UNDECIDED,
            (
                f"labels go with whole groups and a class has under {FEWEST_GROUPS} of them: nothing can be told from "
                f"so few ({value}; {before})."
            ),
        )
    if adjusted.high < 0.5:
        ask("power", False, f"{value}: below chance")
        return (
            steps,
            UNDECIDED,
            f"{value} is below chance: non-members score higher, so either the sign of the score or the lists are "
            f"swapped, or near-copies stand on both sides ({before}).",
        )
    if not ask("power", smallest <= LARGEST_DETECTABLE, f"smallest AUC that would have been seen: {smallest:.2f}"):
        return (
            steps,
            UNDECIDED,
            (f"{value}, {chance}; only a leak with an AUC of {smallest:.2f} or more would have been seen ({before})."),
        )
    shifted = phase1 == SHIFTED and raw.low > 0.5
    if ask("shift", shifted, f"phase 1 is {phase1}; {before}"):
        return (
            steps,
            SHIFT_ONLY,
            (
                f"raw AUC {shown(raw)}, but {value} once what reaches the model is balanced ({chance}): the score "
                f"reads the difference between the lists; {sizes}; {blind}."
            ),
        )
    return (
        steps,
        NO_LEAK_SEEN,
        (
            f"{value}, {chance}; a leak with an AUC of {smallest:.2f} or more would have been seen (power 80%), a "
            f"smaller one may be there ({before})."
        ),
    )


def _directed(found: str, direction: tuple[str, Estimate] | None) -> tuple[str, str]:
    """Tell memory from its mirror image: members must be the ones the target is surer of."""
    if direction is None:
        return UNDECIDED, f"{found}; the classes differ, but nothing says which of them the target is surer of."
    text, nll = direction
    measure = "low word error" if text == "word error" else f"mean NLL of the {text} text"
    sure = f"AUC of {measure} {shown(nll)}"
    if nll.low > 0.5:
        return LEAK, f"{found}; the members are the ones the target is surer of ({sure})."
    if nll.high < 0.5:
        return REVERSED, (
            f"{found}; the claimed non-members are the ones the target is surer of ({sure}): the lists look swapped."
        )
    if nll.auc > 0.5:
        return LEAK, f"{found}; the target seems surer of the members, though not clearly so ({sure})."
    return UNDECIDED, f"{found}; the classes differ, but which of them the target is surer of is open ({sure})."


def changes(evidence: Evidence, verdict: str, strongest: tuple[str, Estimate] | None) -> tuple[str, ...]:
    """Say what would change a verdict: more clips, groups, another list or another target.

    Parameters
    ----------
    evidence : Evidence
    verdict : str
    strongest : (str, Estimate) or None
        Blind family with the highest AUC.

    Returns
    -------
    tuple of str
        One sentence each.
    """
    found: list[str] = []
    adjusted = evidence.adjusted
    if not evidence.enough_groups:
        found.append(f"At least {FEWEST_GROUPS} groups (speakers, sources) of members and as many of non-members.")
    if verdict == NOT_AUDITABLE:
        blind = f" ({strongest[0]} features give them away)" if strongest else ""
        found.append(f"Non-members drawn from the same source as the members{blind}.")
    if verdict in (UNDECIDED, NO_LEAK_SEEN, SHIFT_ONLY) and adjusted is not None and adjusted.se > 0:
        goal = LARGEST_DETECTABLE if verdict == UNDECIDED else 0.53
        per_class = min(adjusted.n_member, adjusted.n_non_member)
        needed = int(np.ceil(per_class * ((minimal_detectable(adjusted.se) - 0.5) / (goal - 0.5)) ** 2))
        if needed > per_class:
            found.append(f"About {needed:,} clips per class like these would show a leak of AUC {goal:.2f}.")
    if verdict == UNDECIDED and adjusted is not None and evidence.p_holm is not None and evidence.p_holm < LEVEL:
        found.append("Known transcripts, or a reference target, would settle which class the target is surer of.")
    if verdict == SHIFT_ONLY:
        found.append("Lists that do not differ would let the raw score speak for itself.")
    if verdict in (LEAK, REVERSED):
        found.append("A target that never met these clips and scores them the same way would refute it.")
        found.append("A difference between the lists that reaches the model and that no blind feature measures.")
    return tuple(found)


def shown(found: Estimate) -> str:
    """Print an estimate as ``0.93 [0.92, 0.94]``, the bracket being its 95% interval."""
    return f"{found.auc:.2f} [{found.low:.2f}, {found.high:.2f}]"


def counts(found: Estimate) -> str:
    """Print how many clips entered an estimate."""
    return f"{found.n_member} members and {found.n_non_member} non-members"


def printed_p(p: float) -> str:
    """Print a p-value with two digits that count: ``0.012``, ``0.30``."""
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
