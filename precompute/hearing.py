"""Whether a target takes in the audio it captions.

Of speech, word error tells: who hears it writes nearly the transcript. A caption is one of many that would fit, so its
word error is high for the best of listeners. What a listener cannot avoid is that a caption written for a clip fits
that clip better than others: it is compared with the clip's own caption and with those of other clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from precompute.clips import TASKS
from precompute.scoring import normalise

CHANCE = 0.5
"""Share that a target has which writes without regard to the audio, whatever it writes."""


@dataclass(frozen=True)
class Hearing:
    """How often what was written is nearer to the clip's own caption than to another clip's, with its 95% interval."""

    share: float
    low: float
    high: float


def is_captioned(clips: pd.DataFrame) -> bool:
    """Whether the texts of a dataset are captions and not transcripts.

    Parameters
    ----------
    clips : pd.DataFrame
        Rows of ``clips.parquet``; without a column `task`, or with some speech in it, they are transcripts.

    Returns
    -------
    bool
    """
    return "task" in clips and bool((clips["task"].fillna("speech").map(TASKS) == "caption").all())


def own_caption_shares(captions: Sequence[str], written: Sequence[str]) -> np.ndarray:
    """Per clip, the share of the other captions from which the text is further away than from the clip's own.

    Parameters
    ----------
    captions : sequence of str [shape=(n,)]
        Known captions, each with a word in it.
    written : sequence of str [shape=(n,)]
        What the target wrote.

    Returns
    -------
    np.ndarray [shape=(n,)]
        In [0, 1], ties counted half; NaN for a single clip. The distance is the word error rate. Where the texts have
        nothing to do with the clips the expected mean is 1/2, and exactly that where one text was written for all.
    """
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    known = [normalise(caption).split() for caption in captions]
    said = [normalise(text).split() for text in written]
    if len(known) < 2:
        return np.full(len(known), np.nan)
    edits = cdist(said, known, scorer=Levenshtein.distance, dtype=np.int32)
    errors = edits / np.array([len(words) for words in known])
    own = np.diag(errors)[:, None]
    # The clip itself is a tie and counts a half, which is taken off again.
    return ((errors > own).sum(axis=1) + 0.5 * (errors == own).sum(axis=1) - 0.5) / (len(known) - 1)


def hearing(shares: np.ndarray, units: np.ndarray) -> Hearing:
    """Mean share with its interval.

    Parameters
    ----------
    shares : np.ndarray [shape=(n,)]
        From `own_caption_shares`, averaged over realizations where there are several; NaN is left out.
    units : np.ndarray [shape=(n,)]
        Clips that share a unit are not independent.

    Returns
    -------
    Hearing
        Mean and a normal 95% interval from the deviations summed within units (the cluster-robust standard error of
        a mean), within [0, 1]; NaN where fewer than two units are known.
    """
    known = np.isfinite(shares)
    values, units = shares[known], units[known]
    if len(np.unique(units)) < 2:
        return Hearing(*(float("nan"),) * 3)
    mean = float(values.mean())
    sums = np.bincount(np.unique(units, return_inverse=True)[1], weights=values - mean)
    error = float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(values))
    return Hearing(mean, max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error))
