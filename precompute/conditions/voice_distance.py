"""Whether a resynthesis is another voice: a distance between clips, compared with that between clips of one speaker.

This is no trained speaker verifier. The distance is over means and spreads of MFCCs of a whole clip and its median
pitch, in standard deviations within speakers. It hears the recording too, so that a resynthesis is far from its
original for that reason as well. What was recorded at a low rate is compared through the same band.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from precompute.clips import SAMPLE_RATE, resample
from precompute.conditions.resampled import interval
from precompute.statistics.roc import auc

FEATURES = tuple(f"acoustic.mfcc_{i:02d}_{how}" for how in ("mean", "sd") for i in range(1, 20))
"""Of `precompute.blind.acoustic`, without the 0th MFCC, which is level."""

PITCH = "acoustic.f0_p50"


def through_band(samples: np.ndarray, rate: int) -> np.ndarray:
    """Take away what a recording at `rate` could not hold; audio at `SAMPLE_RATE` in and out."""
    if rate >= SAMPLE_RATE:
        return samples
    return resample(resample(samples, SAMPLE_RATE, rate), rate, SAMPLE_RATE)[: len(samples)]


def voice_features(samples: np.ndarray) -> np.ndarray:
    """Sum up how a clip sounds: MFCC means and standard deviations in dB, and median pitch in semitones above 1 Hz.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono at `SAMPLE_RATE`.

    Returns
    -------
    np.ndarray [shape=(39,)]
        The last is NaN where no pitch was found.
    """
    from precompute.blind.acoustic import acoustic_features

    found = acoustic_features(samples)
    pitch = 12 * np.log2(found[PITCH]) if found[PITCH] > 0 else np.nan
    return np.array([*(found[name] for name in FEATURES), pitch])


def other_voice(
    originals: np.ndarray, resyntheses: np.ndarray, speakers: Sequence[str | None], units: Sequence[Hashable], seed: int
) -> dict[str, Any] | None:
    """Compare each resynthesis' distance from its original with that of another clip of the same speaker.

    Parameters
    ----------
    originals, resyntheses : np.ndarray [shape=(n, 39)]
        From `voice_features`, a row per clip.
    speakers : sequence of str or None
    units : sequence of hashable
        For the interval.
    seed : int
        Pairs each clip with another of its speaker.

    Returns
    -------
    dict or None
        `value`: the chance that the resynthesis is the farther one, ties counting half, with `low` and `high`; and
        `speakers`, their number. None where no speaker has two clips.
    """
    rows, partners = same_speaker_pairs(speakers, seed)
    if not len(rows):
        return None
    spread = within_spread(originals[rows], [str(speakers[row]) for row in rows])
    swapped = np.array([distance(originals[row], resyntheses[row], spread) for row in rows])
    same = np.array([distance(originals[i], originals[j], spread) for i, j in zip(rows, partners, strict=True)])

    def farther(chosen: np.ndarray) -> float:
        labels = np.repeat([1, 0], len(chosen))
        return auc(labels, np.concatenate([swapped[chosen], same[chosen]]))

    found = interval(farther, [units[row] for row in rows], seed)
    return None if found is None else {**found, "speakers": len({speakers[row] for row in rows})}


def same_speaker_pairs(speakers: Sequence[str | None], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pair every clip with another of its speaker, each once as a partner.

    Parameters
    ----------
    speakers : sequence of str or None
    seed : int

    Returns
    -------
    tuple of np.ndarray [shape=(m,)], int
        Rows of speakers with two clips and more, in order, and their partners.
    """
    rng = np.random.default_rng(seed)
    partner: dict[int, int] = {}
    for speaker in sorted({one for one in speakers if one}):
        rows = rng.permutation([row for row, one in enumerate(speakers) if one == speaker])
        if len(rows) > 1:
            partner |= dict(zip(rows.tolist(), np.roll(rows, -1).tolist(), strict=True))
    rows = np.array(sorted(partner), dtype=int)
    return rows, np.array([partner[row] for row in rows.tolist()], dtype=int)


def within_spread(features: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Estimate the standard deviation of each feature around its group's mean, pooled over groups.

    Parameters
    ----------
    features : np.ndarray [shape=(n, k)]
        NaN where a feature could not be measured.
    groups : sequence of str

    Returns
    -------
    np.ndarray [shape=(k,)]
        NaN for a feature that does not vary within any group.
    """
    names = np.array(groups)
    squares, free = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for name in sorted(set(groups)):
        rows = features[names == name]
        known = np.isfinite(rows)
        count = known.sum(axis=0)
        centre = np.where(known, rows, 0).sum(axis=0) / np.maximum(count, 1)
        squares += np.where(known, (rows - centre) ** 2, 0).sum(axis=0)
        free += np.maximum(count - 1, 0)
    variance = np.divide(squares, free, out=np.full(len(free), np.nan), where=free > 0)
    return np.sqrt(np.where(variance > 0, variance, np.nan))


def distance(one: np.ndarray, other: np.ndarray, spread: np.ndarray) -> float:
    """Root mean square difference in standard deviations, over the features that both have; 0 where there is none."""
    parts = ((one - other) / spread) ** 2
    parts = parts[np.isfinite(parts)]
    return float(np.sqrt(parts.mean())) if len(parts) else 0.0
