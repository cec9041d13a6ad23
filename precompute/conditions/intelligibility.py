"""Whether a resynthesis can be understood: the word error of a speech recogniser, or of an audited target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute.clips import Clip, Cohort, content_hash
from precompute.conditions import Rendering
from precompute.conditions.resampled import typical, units_of
from precompute.scoring import wer
from precompute.store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Listener:
    """A speech recogniser that says whether a resynthesis can be understood.

    Parameters
    ----------
    name : str
        For the record and, with its revision in it, for cache keys.
    transcribe : callable
        Mono float32 audio at `SAMPLE_RATE` to text.
    """

    name: str
    transcribe: Callable[[np.ndarray], str]


def heard_errors(
    listener: Listener, jobs: Sequence[Rendering], made: Sequence[np.ndarray | None], store: Store, seed: int
) -> dict[str, Any] | None:
    """Word error of a recogniser on resyntheses of clips with a known transcript.

    Parameters
    ----------
    listener : Listener
    jobs : sequence of Rendering
        With the original samples.
    made : sequence of np.ndarray or None
        Their resyntheses.
    store : Store
        Keeps what was heard.
    seed : int

    Returns
    -------
    dict or None
        `value` (mean) with `low` and `high`, `original` (mean on the originals), `n`, `by`; None without a transcript.
    """
    told = [
        (job, samples)
        for job, samples in zip(jobs, made, strict=True)
        if samples is not None and job.clip.task == "speech" and job.clip.text
    ]
    pairs = np.array(
        [
            [wer(job.clip.text, _heard(listener, audio, store)) for audio in (samples, job.samples)]
            for job, samples in told
        ]
    ).reshape(-1, 2)
    return _errors(pairs[:, 0], pairs[:, 1], [job.clip for job, _ in told], listener.name, seed)


def _heard(listener: Listener, samples: np.ndarray, store: Store) -> str:
    """Let the recogniser write what it hears, once per audio."""
    key = store.key(kind="heard", listener=listener.name, audio=content_hash(samples))
    kept = store.get(key)
    if kept is None:
        kept = {"text": listener.transcribe(samples)}
        store.put_many({key: kept})
    return str(kept["text"])


def word_errors(scores: pd.DataFrame, cohort: Cohort, realization: int, seed: int) -> dict[str, Any] | None:
    """Word error of the audited target that reads the originals best, on non-members: members may be recalled.

    Parameters
    ----------
    scores : pd.DataFrame
        Rows of ``scores.parquet``.
    cohort : Cohort
    realization : int
    seed : int

    Returns
    -------
    dict or None
        As `heard_errors`; None where no target wrote anything for speech with a transcript.
    """
    spoken = {clip.clip_id: clip for clip in cohort.clips if clip.task == "speech"}
    rows = scores[(scores["dataset"] == cohort.name) & (scores["label"] == 0) & (scores["scored_text"] == "generated")]
    rows = rows[rows["clip_id"].isin(spoken)]
    keys = ["target", "clip_id"]
    read = rows[rows["condition"] == "original"].set_index(keys)["wer"].rename("original")
    swapped = rows[(rows["condition"] == "resynthesis") & (rows["realization"] == realization)].set_index(keys)["wer"]
    both = swapped.rename("swapped").to_frame().join(read).dropna()
    if both.empty:
        return None
    best = str(both["original"].groupby(level="target").mean().idxmin())
    table = both.loc[best]
    clips = [spoken[str(clip_id)] for clip_id in table.index]
    return _errors(table["swapped"].to_numpy(float), table["original"].to_numpy(float), clips, best, seed)


def _errors(
    swapped: np.ndarray, original: np.ndarray, clips: Sequence[Clip], reader: str, seed: int
) -> dict[str, Any] | None:
    """Mean word errors of one reader; clips whose transcript holds no word do not count."""
    found = typical(np.mean, swapped, units_of(clips), seed)
    if found is None:
        return None
    known = np.isfinite(swapped) & np.isfinite(original)
    return {**found, "original": round(float(original[known].mean()), 4), "n": int(known.sum()), "by": reader}
