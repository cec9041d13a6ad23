"""How faithful a resynthesis is: its length and level, whether it is another voice, whether it can be understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute.clips import Clip, Cohort, content_hash, read_audio
from precompute.conditions import CONDITIONS, Rendering
from precompute.conditions.casting import EMBEDDED, Casting
from precompute.conditions.intelligibility import Listener, heard_errors, word_errors
from precompute.conditions.resampled import typical, units_of
from precompute.conditions.voice_distance import other_voice, through_band, voice_features
from precompute.conditions.voices import Studio
from precompute.corpora import limited
from precompute.rendered import rendered
from precompute.store import Store

if TYPE_CHECKING:
    import pandas as pd

PER_CLASS = 150
"""Clips of each class and dataset that are measured, drawn from the seed; enough for intervals of a few percent."""

VERSION = 1
"""Part of the cache keys of features: raised when the same audio would give others."""

ANOTHER_VOICE = 0.75
"""Share of comparisons above which a sentence says that the voice is another one."""


@dataclass(frozen=True)
class Measured:
    """One resynthesis beside its original.

    Parameters
    ----------
    clip : Clip
    voice : str
    duration_ratio : float
        Length of the resynthesis over that of the original.
    level_db : float
        Level of the resynthesis above the original's in dB; NaN where one of them is silent.
    original, resynthesis : np.ndarray [shape=(39,)]
        From `voice_features`.
    """

    clip: Clip
    voice: str
    duration_ratio: float
    level_db: float
    original: np.ndarray
    resynthesis: np.ndarray


def fidelity(
    cohorts: Sequence[Cohort],
    store: Store,
    studio: Studio,
    casting: Casting = EMBEDDED,
    seed: int = 0,
    written: Mapping[str, str] | None = None,
    listener: Listener | None = None,
    scores: pd.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """Measure the resyntheses of every dataset; what the store holds is not rendered or measured again.

    Parameters
    ----------
    cohorts : sequence of Cohort
    store : Store
    studio : Studio
    casting : Casting
        Who resynthesised the clips.
    seed : int
        Of the audit.
    written : mapping of str to str or None
        What was spoken for clips without a text of their own, by clip_id.
    listener : Listener or None
        Reads originals and resyntheses; None reads word errors from `scores`.
    scores : pd.DataFrame or None
        Rows of ``scores.parquet``. Of its targets the best reader counts, on non-members: members may be recalled.

    Returns
    -------
    list of dict
        Per dataset and realization `dataset`, `realization`, `voice`, `n`, `n_missing` (clips that could not be
        rendered), `unit` (what intervals resample), `duration_ratio`, `level_db`, `pitch_semitones`, `other_voice` and
        `wer` (each a dict of `value`, `low` and `high`, or None where it cannot be said; see `summary` and
        `word_errors`), `sentence`.

    Raises
    ------
    EngineFailed
        If a resynthesis has to be made and cannot be.
    """
    rows = []
    for cohort in cohorts:
        clips = limited(cohort, PER_CLASS, seed).clips
        heard = [read_audio(clip) for clip in clips]
        texts = [clip.text or (written or {}).get(clip.clip_id) for clip in clips]
        for realization in range(CONDITIONS["resynthesis"].realizations):
            jobs = [
                Rendering("resynthesis", clip, samples, realization, seed, text, casting=casting)
                for clip, samples, text in zip(clips, heard, texts, strict=True)
            ]
            made = rendered(jobs, store, studio)
            measured = [
                measure(job.clip, str(casting.voices(job.clip, seed)[realization]), job.samples, samples, store)
                for job, samples in zip(jobs, made, strict=True)
                if samples is not None
            ]
            row = {"dataset": cohort.name, "realization": realization, **summary(measured, len(clips), seed)}
            if listener is not None:
                row["wer"] = heard_errors(listener, jobs, made, store, seed)
            else:
                row["wer"] = None if scores is None else word_errors(scores, cohort, realization, seed)
            rows.append({**row, "sentence": sentence(row)})
    return rows


def measure(clip: Clip, voice: str, original: np.ndarray, resynthesis: np.ndarray, store: Store) -> Measured:
    """Put one resynthesis beside its original.

    Parameters
    ----------
    clip : Clip
        Its file tells the band that the original was recorded in.
    voice : str
    original, resynthesis : np.ndarray [shape=(n,)]
        Mono at `SAMPLE_RATE`.
    store : Store
        Keeps the features.

    Returns
    -------
    Measured
    """
    import soundfile

    levels = [float(np.sqrt(np.mean(np.square(samples, dtype=float)))) for samples in (original, resynthesis)]
    return Measured(
        clip,
        voice,
        len(resynthesis) / len(original),
        20 * float(np.log10(levels[1] / levels[0])) if min(levels) > 0 else float("nan"),
        _kept_features(original, store),
        _kept_features(through_band(resynthesis, soundfile.info(clip.path).samplerate), store),
    )


def _kept_features(samples: np.ndarray, store: Store) -> np.ndarray:
    key = store.key(kind="voice features", version=VERSION, audio=content_hash(samples))
    kept = store.get(key)
    if kept is None:
        kept = {"features": voice_features(samples)}
        store.put_many({key: kept})
    return np.asarray(kept["features"], dtype=float)


def summary(measured: Sequence[Measured], asked: int, seed: int) -> dict[str, Any]:
    """Sum up the resyntheses of one dataset and realization.

    Parameters
    ----------
    measured : sequence of Measured
        A clip's group is taken for its speaker.
    asked : int
        Clips that should have been resynthesised.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `duration_ratio` and `level_db` as medians; `pitch_semitones`, the median distance in pitch; `other_voice`, see
        there; each with a 95% percentile bootstrap interval. The last two are None where the clips are no speech.
    """
    units = units_of([one.clip for one in measured])
    speech = [one for one in measured if one.clip.task == "speech"]
    originals = np.array([one.original for one in speech])
    resyntheses = np.array([one.resynthesis for one in speech])
    spoken_by = units_of([one.clip for one in speech])
    found: dict[str, Any] = {
        "voice": named(one.voice for one in measured),
        "n": len(measured),
        "n_missing": asked - len(measured),
        "unit": "group" if len(set(units)) < len(units) else "clip",
        "duration_ratio": typical(np.median, np.array([one.duration_ratio for one in measured]), units, seed),
        "level_db": typical(np.median, np.array([one.level_db for one in measured]), units, seed),
        "pitch_semitones": None,
        "other_voice": None,
    }
    if speech:
        pitch = np.abs(resyntheses[:, -1] - originals[:, -1])
        found["pitch_semitones"] = typical(np.median, pitch, spoken_by, seed)
        found["other_voice"] = other_voice(originals, resyntheses, [one.clip.group for one in speech], spoken_by, seed)
    return found


def named(voices: Iterable[str]) -> str:
    """List distinct voices, four at most."""
    distinct = sorted(set(voices))
    return ", ".join(distinct[:4]) + (f" and {len(distinct) - 4} more" if len(distinct) > 4 else "")


def sentence(row: Mapping[str, Any]) -> str:
    """Say what was measured of one dataset and realization, for people."""
    if not row["n"]:
        return f"None of {row['n_missing']} clips could be resynthesised."
    parts = [f"{_shown(row['duration_ratio'], 2)} times as long as the original"]
    if row["level_db"] is not None:
        parts.append(f"{_shown(row['level_db'], 1, '+')} dB in level")
    if row["pitch_semitones"] is not None:
        parts.append(f"{_shown(row['pitch_semitones'], 1)} semitones away in pitch")
    missing = f", {row['n_missing']} more could not be made" if row["n_missing"] else ""
    text = f"{row['voice']} (n = {row['n']}{missing}): {', '.join(parts)}."
    return " ".join([text, *_voice_sentence(row["other_voice"]), *_reading_sentence(row["wer"])])


def _voice_sentence(found: Mapping[str, Any] | None) -> list[str]:
    """Say whether it is another voice, where that can be said."""
    if found is None:
        return []
    if found["low"] > ANOTHER_VOICE:
        so = "by this measure another voice"
    elif found["high"] < ANOTHER_VOICE:
        so = "by this measure hardly another voice"
    else:
        so = "which leaves open whether it is another voice"
    return [
        f"It is farther from its original than another clip of the same speaker in {_shown(found, 2)} of comparisons: "
        f"{so}."
    ]


def _reading_sentence(found: Mapping[str, Any] | None) -> list[str]:
    """Say how well it was understood, where somebody read it."""
    if found is None:
        return []
    return [
        f"Word error of {found['by']} on {found['n']} clips: {_shown(found, 2)}, against {found['original']:.2f} on "
        "the originals."
    ]


def _shown(found: Mapping[str, float], digits: int, sign: str = "") -> str:
    """Write a value with its interval."""
    low, high = (f"{found[key]:{sign}.{digits}f}" for key in ("low", "high"))
    return f"{found['value']:{sign}.{digits}f} [{low}, {high}]"


def fidelity_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for a report: what the numbers are, then a sentence per dataset and realization.

    Parameters
    ----------
    rows : sequence of mapping
        Of `fidelity`; none gives no line.

    Returns
    -------
    list of str
    """
    if not rows:
        return []
    about = (
        "Medians over clips with 95% bootstrap intervals. The comparison of voices is a distance over long-term "
        "spectrum and pitch, no trained speaker verifier, and hears the recording as well as the voice."
    )
    return [about, *(f"{row['dataset']}, realization {row['realization']}: {row['sentence']}" for row in rows)]
