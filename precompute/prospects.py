"""What an audit of a list can show and what it cannot, said before it is made: from counts alone, without any score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precompute.clips import TASKS, Clip
from precompute.corpora.core_sounds import normalise
from precompute.statistics.delong import hanley_mcneil
from precompute.statistics.equivalence import MARGIN, clips_needed, power_of
from precompute.statistics.power import clips_for, detectable_auc
from precompute.units import FEWEST_GROUPS, Design, table_design

TRAINED = 1.4
"""Standard error of a trained attack's AUC over that of a score that was not trained, where there is nothing to find:
1.25 to 1.61, mean 1.42, over 30 random labellings of 50 to 3,000 clips per class, with 30 independent or 30 nearly
collinear indicators (`precompute.nulls.permutation_null`)."""

JUDGED_LEAK = 0.60
"""An audit that could not have seen a leak of this AUC says UNDECIDED where it sees none."""

BLIND_FAMILIES = 6
"""Blind families that all have to be near chance for CLEAN; without a text there is one fewer."""

UNEVEN = 0.1
"""Difference between the classes' shares of clips with a text from which it is said to be a shift."""


def notes_of(
    dataset: str,
    clips: Sequence[Clip],
    labels: Sequence[int],
    seconds: Sequence[float],
    contents: Sequence[str] | None = None,
) -> list[str]:
    """Say of one dataset what follows from what it lacks, and what it can show.

    Parameters
    ----------
    dataset : str
        Name, for the beginning of each sentence.
    clips : sequence of Clip
    labels : sequence of int
        1 member, 0 non-member; both have to occur.
    seconds : sequence of float
        Length of each clip.
    contents : sequence of str or None
        Hash of each clip's audio, by which copies are known; None where it was not read.

    Returns
    -------
    list of str
        One line each.
    """
    made = audited_design(clips, labels, contents)
    given = np.asarray(labels)
    found = [
        size_note(given, np.asarray(seconds, dtype=float)),
        *text_notes(clips, given),
        *group_notes(clips, given, made),
        *wording_notes(clips, given, made),
        *language_notes(clips),
        *task_notes(clips),
        detection_note(given, made),
        clean_note(given, BLIND_FAMILIES - (not any(clip.text for clip in clips))),
    ]
    return [f"{dataset}: {sentence}" for sentence in found]


def audited_design(clips: Sequence[Clip], labels: Sequence[int], contents: Sequence[str] | None = None) -> Design:
    """Work out which clips are independent, as the audit will."""
    import pandas as pd

    columns = {"label": labels, "group": [clip.group for clip in clips], "text": [clip.text for clip in clips]}
    return table_design(pd.DataFrame(columns | ({} if contents is None else {"audio_hash": list(contents)})))


def size_note(labels: np.ndarray, seconds: np.ndarray) -> str:
    """Count clips and hours."""
    return (
        f"{counts(labels)}, {seconds.sum() / 3600:.2f} h, {seconds.min():.1f} to {seconds.max():.1f} s a clip "
        f"(median {np.median(seconds):.1f} s)."
    )


def counts(labels: np.ndarray) -> str:
    """Print ``300 members and 300 non-members``."""
    return f"{int((labels == 1).sum()):,} members and {int((labels == 0).sum()):,} non-members"


def text_notes(clips: Sequence[Clip], labels: np.ndarray) -> list[str]:
    """Say what clips without a transcript or caption will not have."""
    known = np.array([bool(clip.text) for clip in clips])
    if known.all():
        return []
    word = " or ".join(dict.fromkeys(TASKS[clip.task] for clip in clips))
    follows = (
        f"no reference row (the known {word} scored under every audio, which shows a memory of the text), no word "
        "error, and resynthesis says what the target wrote"
    )
    if not known.any():
        return [f"no {word} is given, so there is {follows}; nor is there a blind text baseline."]
    shares = [float(known[labels == label].mean()) for label in (1, 0)]
    sentence = (
        f"{int((~known).sum()):,} of {len(known):,} clips have no {word} (it is given for {shares[0]:.0%} of members, "
        f"{shares[1]:.0%} of non-members); they have {follows}."
    )
    if abs(shares[0] - shares[1]) >= UNEVEN:
        sentence += " That the classes differ in it is a shift of its own: give it for both or for neither."
    return [sentence]


def group_notes(clips: Sequence[Clip], labels: np.ndarray, made: Design) -> list[str]:
    """Say what the groups mean for the audit, or what it risks without them."""
    if not made.n_groups:
        return [
            "no group (speaker, source or recording) is given, so every clip is taken as independent. If one speaker "
            "has several clips, all in one class, intervals come out too narrow and the speaker can pass for "
            "membership: in a simulation with 40 speakers per class and nothing else to find, folds that ignored "
            "them gave a blind AUC of 0.81, folds by speaker 0.49."
        ]
    found = [made.sentence]
    if not made.enough_groups:
        fewest = min(made.groups_member or 0, made.groups_non_member or 0)
        found.append(
            f"a class has {fewest} groups, and under {FEWEST_GROUPS} the verdict is UNDECIDED whatever is found."
        )
    classes: dict[str, set[int]] = {}
    for clip, label in zip(clips, labels, strict=True):
        if clip.group:
            classes.setdefault(clip.group, set()).add(int(label))
    both = sum(len(one) == 2 for one in classes.values())
    if both:
        found.append(
            f"{both:,} of {len(classes):,} groups have clips in both classes: that a target has heard their voice or "
            "recording does not tell the classes apart, only that it has seen the clip does."
        )
    return found


def wording_notes(clips: Sequence[Clip], labels: np.ndarray, made: Design) -> list[str]:
    """Say what becomes of wordings that stand in both classes."""
    rows: dict[str, list[int]] = {}
    for row, clip in enumerate(clips):
        if words := normalise(clip.text or ""):
            rows.setdefault(words, []).append(row)
    both = [same for same in rows.values() if len(set(labels[same])) == 2]
    if not both:
        return []
    joined = all(len(set(made.units[same])) == 1 for same in both)
    sentence = (
        f"{len(both):,} wording(s) stand in both classes ({sum(map(len, both)):,} clips), such as "
        f'"{shortened(clips[both[0][0]].text or "")}": a memory of the text cannot tell these clips apart'
    )
    return [
        sentence + "; clips of one wording count as one and share a fold."
        if joined
        else sentence + ", and they are too many to be counted as one: intervals are too narrow."
    ]


def shortened(text: str, most: int = 40) -> str:
    """Cut a text for a sentence."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def language_notes(clips: Sequence[Clip]) -> list[str]:
    """Say who speaks clips whose language is not given."""
    missing = sum(clip.task == "speech" and not clip.language for clip in clips)
    if not missing:
        return []
    which = "no language is" if missing == len(clips) else f"for {missing:,} of {len(clips):,} clips no language is"
    return [f"{which} given, so the embedded resynthesis reads the text with an English voice, whatever it is in."]


def task_notes(clips: Sequence[Clip]) -> list[str]:
    """Say what the target will be asked."""
    tasks = {task: sum(clip.task == task for clip in clips) for task in TASKS}
    if tasks["speech"] == len(clips):
        return ["all clips are taken as speech: the target is asked for a transcript (a column task says otherwise)."]
    if tasks["speech"]:
        return [
            "tasks are mixed ("
            + ", ".join(f"{task} {number:,}" for task, number in tasks.items() if number)
            + "): each is asked with its own prompt, and where the classes differ in it that is a shift of its own."
        ]
    return []


def detection_note(labels: np.ndarray, made: Design) -> str:
    """Say how small a leak would be seen."""
    n_member, n_non_member = (int((labels == label).sum()) for label in (1, 0))
    alone, trained = (detectable_auc(n_member, n_non_member, factor) for factor in (1.0, TRAINED))
    sentence = (
        f"{counts(labels)} can show leaks of AUC {alone:.2f} and above by a single score, {trained:.2f} by the "
        "trained attack (80% power, two-sided 5%: 0.5 + 2.8 standard errors after Hanley and McNeil, "
        f"{TRAINED:g} times as large where a score is trained on the same labels); after an adjustment for shift, only "
        "larger ones."
    )
    if made.nested:
        groups = detectable_auc(made.groups_member or 1, made.groups_non_member or 1, TRAINED)
        sentence += f" Should the clips of a group be all alike, groups count instead of clips: {groups:.2f}."
    if trained > JUDGED_LEAK:
        sentence += (
            f" NO LEAK SEEN takes {JUDGED_LEAK:.2f}, about {clips_for(JUDGED_LEAK, TRAINED):,} clips per class; below "
            "that an audit that finds nothing says UNDECIDED."
        )
    return sentence


def clean_note(labels: np.ndarray, families: int) -> str:
    """Say how many clips a CLEAN verdict of phase 1 takes."""
    n = 2 / sum(1 / float((labels == label).sum()) for label in (1, 0))
    se = TRAINED * float(hanley_mcneil(0.5, n, n))
    together, apart = (clips_needed(se, n, families=number) for number in (1, families))
    chances = [power_of(n, se, n, families=number) for number in (families, 1)]
    return (
        f"of lists that do not differ, phase 1 can say CLEAN (every blind AUC within {MARGIN:g} of 0.5) with 80% power "
        f"from about {together:,} clips per class, should the {families} blind families go together, to {apart:,}, "
        f"should they be independent; here the chance is {chances[0]:.0%} to {chances[1]:.0%}."
    )
