"""How fast a target is, measured here and now on a few of the clips it would be asked about."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from precompute.clips import Clip, read_audio
from precompute.conditions.voices import Studio
from precompute.scores import Plan, missing_works, score_clips
from precompute.store import Store

if TYPE_CHECKING:
    from precompute.targets.base import Target

CLIPS = 16
"""Clips of a measurement, spread over the lengths there are. A batch of such mixed lengths is slower than those of an
audit, which sorts its clips: the estimate is on the safe side."""


@dataclass(frozen=True)
class Rate:
    """Speed of a target.

    Parameters
    ----------
    texts_per_second : float
        Scored texts, as an audit's progress bar counts them: rendering, writing and scoring together.
    how : str
        Where the number comes from.
    tokens_per_text : float or None
        Mean number of tokens of a scored text; None where nothing was measured.
    """

    texts_per_second: float
    how: str
    tokens_per_text: float | None = None


def spread(lengths: Sequence[float], most: int = CLIPS) -> list[int]:
    """Positions of clips spread evenly over the lengths: the shortest, the longest, and quantiles between.

    Parameters
    ----------
    lengths : sequence of float
    most : int
        At least 2.

    Returns
    -------
    list of int
        All of them where there are no more.
    """
    order = np.argsort(lengths, kind="stable")
    if len(order) <= most:
        return order.tolist()
    return order[np.linspace(0, len(order) - 1, most).round().astype(int)].tolist()


def measured_rate(target: Target, clips: Sequence[Clip], plan: Plan, device: str = "auto") -> Rate:
    """Score a few clips under a whole plan, from nothing: no cache is read.

    Parameters
    ----------
    target : Target
    clips : sequence of Clip
        From `spread`; at least one.
    plan : Plan
    device : str
        Of models that resynthesise.

    Returns
    -------
    Rate
    """
    with tempfile.TemporaryDirectory(prefix="rate-") as folder, Studio(device) as studio:
        # The first clip also pays for what is loaded and compiled on first use, and is not counted.
        with Store(f"{folder}/warm") as store:
            list(score_clips(target, clips[:1], plan, store, lambda _: None, studio))
        with Store(f"{folder}/measured") as store:
            began = time.perf_counter()
            stats = [stats for _, stats in score_clips(target, clips, plan, store, lambda _: None, studio)]
            seconds = time.perf_counter() - began
    tokens = float(np.mean([one.n_tokens for one in stats]))
    return Rate(
        len(stats) / seconds, f"measured here on {len(clips)} of the clips that are here, {target.dtype}", tokens
    )


def measured_blind(clips: Sequence[Clip]) -> float:
    """Seconds that the blind features of one clip take, one clip after the other.

    Parameters
    ----------
    clips : sequence of Clip
        At least one.
    """
    from precompute import blind

    samples = [read_audio(clip) for clip in clips]
    blind.features(clips[0], samples[0])  # what is imported on first use is not counted
    began = time.perf_counter()
    for clip, heard in zip(clips, samples, strict=True):
        blind.features(clip, heard)
    return (time.perf_counter() - began) / len(clips)


def kept_share(target: Target, clips: Sequence[Clip], plan: Plan, store: Store) -> float:
    """Share of the texts under the clips' own audio that a store holds.

    Parameters
    ----------
    target : Target
    clips : sequence of Clip
        At least one; their audio is read.
    plan : Plan
    store : Store

    Returns
    -------
    float
        In [0, 1]. An audit does all conditions of a clip together, so most of the other texts of these clips are there.
    """
    with tempfile.TemporaryDirectory(prefix="rate-") as folder, Store(folder) as empty:
        all_works = {work.key for work in missing_works(1, target, clips, plan, empty, lambda _: None)}
    return sum(key in store for key in all_works) / len(all_works)
