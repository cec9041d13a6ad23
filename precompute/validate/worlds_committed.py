"""Worlds S4 and S9: what the committed targets already are, asked about in a new way."""

from __future__ import annotations

from precompute.conditions.voices import Voice
from precompute.corpora import core_sounds, limited

TARGETS = (("tiny-audio-flamingo", "A"), ("tiny-audio-flamingo-b", "B"), ("tiny-music-flamingo", "A"))
"""Target of each seed, and the half of the embedded speech that it was trained on."""

OTHER_VOICES = {
    "en": Voice("espeak-ng", "en-gb-scotland+f4", ("-p", "45")),
    "es": Voice("espeak-ng", "es+klatt4", ("-p", "45")),
    "fr": Voice("espeak-ng", "fr+klatt4", ("-p", "45")),
    "it": Voice("espeak-ng", "it+klatt4", ("-p", "45")),
}
"""Who speaks the texts of S4: nobody that a target was trained on or that resynthesis uses."""

PER_CLASS = 250


def halves(seed: int) -> list[tuple[core_sounds.Recording, bool]]:
    """Clips of S4 and S9, each with whether the seed's target was trained on its text.

    Parameters
    ----------
    seed : int
        0, 1 or 2, the position in `TARGETS`.

    Returns
    -------
    list of (Recording, bool)
        `PER_CLASS` of each, from the cohort core-clean.
    """
    known = TARGETS[seed][1]
    cohort = limited(core_sounds.core_clean(), PER_CLASS, seed)
    kept = {clip.clip_id for clip in cohort.clips}
    return [
        (item, half == known)
        for half, items in zip("AB", core_sounds.training_halves(), strict=True)
        for item in items
        if item.clip.clip_id in kept
    ]
