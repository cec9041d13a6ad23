"""From numbers to a sentence: one readable decision per dataset and target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from precompute.statistics.intervals import Estimate

CLEAN, SHIFTED, UNDECIDED = "CLEAN", "SHIFTED", "UNDECIDED"
LEAK, REVERSED, NO_LEAK_SEEN, NOT_AUDITABLE = "LEAK", "REVERSED", "NO LEAK SEEN", "NOT AUDITABLE"

MARGIN = 0.05
"""Blind AUCs within 0.5 plus or minus this count as no shift."""

MIN_PER_CLASS = 100
LARGEST_DETECTABLE = 0.60
"""An audit that could not have seen an AUC of this size says UNDECIDED, not NO LEAK SEEN."""

DETECTABLE_SE = 2.8
"""Standard errors above 0.5 that a two-sided 5% test sees with a power of 80%: 1.96 + 0.84."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Parameters
    ----------
    dataset, target : str
    attack : Estimate or None
        Refit membership score, original audio, generated text; None where the dataset could not be scored.
    blind : sequence of (str, Estimate)
        Blind families that have anything to work on.
    direction : sequence of (str, Estimate)
        Scored text and the AUC of its mean NLL with the sign fixed (surer means more member-like).
    """

    dataset: str
    target: str
    attack: Estimate | None
    blind: Sequence[tuple[str, Estimate]]
    direction: Sequence[tuple[str, Estimate]]


@dataclass(frozen=True)
class Verdict:
    """A decision with the numbers it was made from.

    Parameters
    ----------
    phase1 : str
        CLEAN, SHIFTED or UNDECIDED.
    verdict : str
        LEAK, REVERSED, NO LEAK SEEN, NOT AUDITABLE or UNDECIDED.
    sentence : str
        For the reader, beginning with the verdict.
    reasons : tuple of str
        The chain of evidence, one sentence a step.
    blind_family : str or None
        The blind family with the highest AUC.
    blind : Estimate or None
        Its estimate.
    direction_auc : float or None
        The fixed-sign AUC of mean NLL, of the scored text in which it is farthest from 0.5.
    """

    phase1: str
    verdict: str
    sentence: str
    reasons: tuple[str, ...]
    blind_family: str | None
    blind: Estimate | None
    direction_auc: float | None


def decide(evidence: Evidence) -> Verdict:
    """Decide whether members were remembered, and say it with numbers.

    In this order: a shift that blind features can see makes the raw score unreadable (NOT AUDITABLE); an attack above
    chance and above every blind family is a LEAK, or REVERSED where the claimed non-members are the ones the target is
    surer of; an attack above chance that blind features may explain, or too few clips, is UNDECIDED; the rest is
    NO LEAK SEEN, with the smallest leak that could have been seen.

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
    verdict, finding = _membership(evidence, phase1, strongest, direction)
    reasons = [why]
    if evidence.attack is not None:
        reasons.append(f"Attack AUC {shown(evidence.attack)} on {counts(evidence.attack)}; 0.5 is chance.")
    if strongest is not None:
        reasons.append(f"The strongest blind baseline is {strongest[0]} with AUC {shown(strongest[1])}.")
    reasons += [
        f"Mean NLL of the {text} text, lower taken as more member-like, has AUC {shown(found)}."
        for text, found in evidence.direction
    ]
    return Verdict(
        phase1=phase1,
        verdict=verdict,
        sentence=f"{verdict}: {finding}",
        reasons=tuple(reasons),
        blind_family=strongest[0] if strongest else None,
        blind=strongest[1] if strongest else None,
        direction_auc=direction[1].auc if direction else None,
    )


def blind_verdict(blind: Sequence[tuple[str, Estimate]]) -> tuple[str, str]:
    """Decide phase 1: can the classes be told apart without the model.

    CLEAN needs the 90% interval of every family inside the margin (two one-sided tests at 5%, all of them); SHIFTED is
    any family whose 95% interval lies above it. An out-of-fold AUC below the margin is no shift anybody could use: it
    comes of learners following chance, or of near-copies on both sides, and leaves phase 1 UNDECIDED.

    Parameters
    ----------
    blind : sequence of (str, Estimate)

    Returns
    -------
    tuple of (str, str)
        The word and a sentence that explains it.
    """
    low, high = 0.5 - MARGIN, 0.5 + MARGIN
    if not blind:
        return UNDECIDED, "Phase 1 is UNDECIDED: there is no blind baseline for this dataset."
    outside = [(name, found) for name, found in blind if found.low > high]
    if outside:
        name, found = max(outside, key=lambda item: item[1].auc)
        return SHIFTED, (
            f"Phase 1 is SHIFTED: without the model, {name} features alone reach AUC {shown(found)} on "
            f"{counts(found)}, above {high:.2f}."
        )
    loose = [(name, found) for name, found in blind if found.low_90 < low or found.high_90 > high]
    if not loose:
        return CLEAN, (
            f"Phase 1 is CLEAN by these learners: the 90% interval of all {len(blind)} blind AUCs lies within "
            f"{low:.2f} to {high:.2f}."
        )
    name, found = max(loose, key=lambda item: max(low - item[1].low_90, item[1].high_90 - high))
    return UNDECIDED, (
        f"Phase 1 is UNDECIDED: the 90% interval of the {name} blind AUC, {found.auc:.2f} [{found.low_90:.2f}, "
        f"{found.high_90:.2f}] on {counts(found)}, "
        f"is not within {low:.2f} to {high:.2f}, and no family is clearly above."
    )


def minimal_detectable(attack: Estimate) -> float:
    """Smallest true AUC that this audit would have seen with a power of 80%."""
    return 0.5 + DETECTABLE_SE * attack.se


def _membership(
    evidence: Evidence,
    phase1: str,
    strongest: tuple[str, Estimate] | None,
    direction: tuple[str, Estimate] | None,
) -> tuple[str, str]:
    """Choose the final word and what is said after it."""
    attack, where = evidence.attack, f"{evidence.target} on {evidence.dataset}"
    if attack is None or attack.auc != attack.auc:
        return UNDECIDED, f"{where} could not be scored, so nothing is said about membership."
    found = f"attack AUC {shown(attack)}, {counts(attack)}"
    if phase1 == SHIFTED and strongest is not None:
        name, blind = strongest
        return NOT_AUDITABLE, (
            f"{where}: {found}, but {name} features reach AUC {shown(blind)} without the model; until it is adjusted "
            f"for this shift, the score cannot tell memory from it."
        )
    bar = strongest[1].high if strongest else 0.5
    beside = "there is no blind baseline"
    if strongest:
        beside = f"the strongest blind baseline ({strongest[0]}) reaches {shown(strongest[1])}"
    if attack.low > max(0.5, bar):
        return _directed(f"{where}: {found}; {beside}", direction)
    if attack.low > 0.5:
        return UNDECIDED, (
            f"{where}: {found}, above chance but not clearly above what is known without the model; {beside}."
        )
    smallest = minimal_detectable(attack)
    if min(attack.n_member, attack.n_non_member) < MIN_PER_CLASS or smallest > LARGEST_DETECTABLE:
        return UNDECIDED, (
            f"{where}: {found}; with so few clips only an AUC of {smallest:.2f} or more would have been seen."
        )
    return NO_LEAK_SEEN, (
        f"{where}: {found}; a leak with an AUC of {smallest:.2f} or more would have been seen (power 80%), a smaller "
        f"one may be there; {beside}."
    )


def _directed(found: str, direction: tuple[str, Estimate] | None) -> tuple[str, str]:
    """Tell memory from its mirror image: members must be the ones the target is surer of."""
    if direction is None:
        return UNDECIDED, f"{found}; the classes differ, but nothing says which of them the target is surer of."
    text, nll = direction
    sure = f"AUC of mean NLL of the {text} text {shown(nll)}"
    if nll.auc > 0.5:
        return LEAK, f"{found}; the members are the ones the target is surer of ({sure})."
    if nll.high < 0.5:
        return REVERSED, (
            f"{found}; the claimed non-members are the ones the target is surer of ({sure}): the lists look swapped."
        )
    return UNDECIDED, f"{found}; the classes differ, but which of them the target is surer of is open ({sure})."


def shown(found: Estimate) -> str:
    """Print an estimate as ``0.93 [0.92, 0.94]``, the bracket being its 95% interval."""
    return f"{found.auc:.2f} [{found.low:.2f}, {found.high:.2f}]"


def counts(found: Estimate) -> str:
    """Print how many clips entered an estimate."""
    return f"{found.n_member} members and {found.n_non_member} non-members"
