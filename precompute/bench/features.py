"""Blind features: separate librosa calls, F0 by pyin, against one decoding and one spectrum for all of them."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from precompute.bench.figures import Part, Size
from precompute.bench.timing import interleaved, processor_seconds, ratio
from precompute.blind.acoustic import F0_RANGE, FRAME, HOP, MEL_BANDS, MFCCS, SUMMARIES
from precompute.blind.extract import measure as measure_clip
from precompute.blind.extract import measure_clips
from precompute.clips import SAMPLE_RATE, Clip, read_audio
from precompute.store import Store

SECONDS = 10
CLIPS = 5000
"""What the time for a corpus is given for."""

SHARED = ("mfcc_00", "mfcc_01", "mfcc_19", "centroid", "bandwidth", "rolloff", "rms", "zero_crossings")
"""Series whose definitions coincide, here compared in mean and median; F0 is read by another method."""


def measure(size: Size) -> Part:
    """Compare both ways on ten-second clips.

    Parameters
    ----------
    size : Size

    Returns
    -------
    Part
    """
    from threadpoolctl import threadpool_limits

    rounds, count, many = size.pick(2, 4), size.pick(3, 8), size.pick(200, CLIPS)
    part = Part(
        "Blind features of ten-second clips",
        "Separate: each acoustic measure by a librosa call of its own, F0 by `librosa.pyin`, one thread. Ours: "
        "metadata, acoustic and fingerprint features from one decoding; then a whole table on all cores.",
    )
    with tempfile.TemporaryDirectory() as folder:
        clips = ten_second_clips(rounds * count, Path(folder))
        groups = [clips[number * count :][:count] for number in range(rounds)]
        separate(clips[0])  # compiles what librosa compiles
        measure_clip(clips[0])
        with threadpool_limits(1):
            times, results = interleaved(
                {
                    "separate": lambda number: [separate(clip) for clip in groups[number]],
                    "ours": lambda number: [measure_clip(clip).features for clip in groups[number]],
                },
                rounds,
            )
        n = f"{rounds} rounds of {count} clips, one thread"
        part.add("separate calls (acoustic only)", 1e3 * median(times["separate"].cpu) / count, "ms/clip of a core", n)
        part.add(
            "ours (all features, reading included)", 1e3 * median(times["ours"].cpu) / count, "ms/clip of a core", n
        )
        part.add(
            "ours against separate calls, processor time", ratio(times["separate"].cpu, times["ours"].cpu), "times", n
        )
        part.add(
            "ours against separate calls, by the clock", ratio(times["separate"].wall, times["ours"].wall), "times", n
        )
        pairs = [pair for one in results for pair in zip(one["separate"], one["ours"], strict=True)]
        part.add("largest relative difference where definitions coincide", difference(pairs), "", f"{len(pairs)} clips")
        _corpus(part, clips, many, Path(folder) / "store")
    return part


def _corpus(part: Part, clips: Sequence[Clip], many: int, folder: Path) -> None:
    """Time many clips on all cores, from nothing and once more."""
    repeated = [replace(clips[index % len(clips)], clip_id=f"{index}", text=f"text {index}") for index in range(many)]
    with Store(folder) as store:
        for name in ("from nothing", "all in the store"):
            cpu, start = processor_seconds(), time.perf_counter()
            stream = measure_clips(repeated, store, workers=len(os.sched_getaffinity(0)))
            next(stream)
            ready = time.perf_counter()
            left = sum(1 for _ in stream)
            end = time.perf_counter()
            scaled = "" if many == CLIPS else f", from their rate to {CLIPS:,}"
            n = f"{many:,} clips, start of the workers included{scaled}"
            whole = ready - start + (CLIPS - 1) * (end - ready) / left
            part.add(f"{CLIPS:,} clips on all cores, {name}", whole, "s by the clock", n)
            spent = processor_seconds() - cpu
            part.add(f"on all cores, {name}", 1e3 * spent / many, "ms/clip of a core", f"{many:,} clips")


def ten_second_clips(count: int, folder: Path) -> list[Clip]:
    """Write ten seconds of embedded speech each, prompts one after the other, as FLAC at 16 kHz."""
    import soundfile

    from precompute.corpora import core_sounds

    prompts = [one.clip for one in core_sounds.recordings("en")]
    clips = []
    at = 0
    for number in range(count):
        parts: list[np.ndarray] = []
        while sum(map(len, parts)) < SECONDS * SAMPLE_RATE:
            parts.append(read_audio(prompts[at % len(prompts)]))
            at += 1
        path = folder / f"{number}.flac"
        soundfile.write(path, np.concatenate(parts)[: SECONDS * SAMPLE_RATE], SAMPLE_RATE, subtype="PCM_16")
        clips.append(Clip(f"{number}", path, text=f"text {number}"))
    return clips


def separate(clip: Clip) -> dict[str, float]:
    """Measure a clip by one librosa call for each feature, from its samples.

    Parameters
    ----------
    clip : Clip

    Returns
    -------
    dict of str to float
        Under the names of `precompute.blind.acoustic.ACOUSTIC`.
    """
    import librosa

    samples = read_audio(clip)
    frames: dict[str, Any] = {"n_fft": FRAME, "hop_length": HOP}
    windows: dict[str, Any] = {"frame_length": FRAME, "hop_length": HOP}
    rate = SAMPLE_RATE
    cepstra = librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=MFCCS, n_mels=MEL_BANDS, **frames)
    pitch = librosa.pyin(samples, fmin=F0_RANGE[0], fmax=F0_RANGE[1], sr=rate, **windows)[0]
    series = {
        **{f"mfcc_{index:02d}": row for index, row in enumerate(cepstra)},
        "centroid": librosa.feature.spectral_centroid(y=samples, sr=rate, **frames),
        "bandwidth": librosa.feature.spectral_bandwidth(y=samples, sr=rate, **frames),
        "rolloff": librosa.feature.spectral_rolloff(y=samples, sr=rate, **frames),
        "rms": librosa.feature.rms(y=samples, **windows),
        "zero_crossings": librosa.feature.zero_crossing_rate(samples, **windows),
        "f0": pitch[np.isfinite(pitch)] if np.isfinite(pitch).any() else np.zeros(1),
    }
    return {
        f"acoustic.{name}_{how}": float(value)
        for name, values in series.items()
        for how, value in zip(
            SUMMARIES, (np.mean(values), np.std(values), *np.percentile(values, [10, 50, 90])), strict=True
        )
    }


def difference(pairs: Sequence[tuple[dict[str, float], dict[str, float]]]) -> float:
    """Give the largest difference of means and medians where definitions coincide, relative to the value or to 1."""
    names = [f"acoustic.{name}_{how}" for name in SHARED for how in ("mean", "p50")]
    return max(abs(one[name] - other[name]) / max(1.0, abs(one[name])) for one, other in pairs for name in names)
