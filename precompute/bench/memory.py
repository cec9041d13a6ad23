"""Whole audits of few and of many clips: does memory stay flat, and does time grow in proportion."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from precompute.bench.child import in_child
from precompute.bench.figures import Part, Size
from precompute.bench.scoring import TARGET

COUNTS = (1000, 20_000)
QUICK_COUNTS = (200, 1000)
SECONDS = 1.0
RATE = 8000
DISTINCT = 500
"""Recordings that are written; further clips are spans of them at other places, so that no two are equal."""

WORDS = ("press", "hold", "line", "number", "extension", "please", "enter", "code", "agent", "busy", "later", "again")


def measure(size: Size) -> Part:
    """Audit synthetic clips of two counts, each in a process of its own.

    Parameters
    ----------
    size : Size

    Returns
    -------
    Part
    """
    counts = QUICK_COUNTS if size.quick else COUNTS
    part = Part(
        "Whole audits",
        f"SYNTHETIC clips of {SECONDS:g} s (gliding tones in noise, invented words), {TARGET}, original audio and "
        "silence, from an empty cache to the finished bundle; peak memory of the process itself.",
    )
    peaks, seconds = [], []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            done = in_child("precompute.bench.memory:audit", count=count, folder=folder)
        n = f"{count:,} clips"
        part.add(f"{n}: peak memory", done["peak_mb"], "MB", n)
        part.add(f"{n}: time", 1e3 * done["wall_s"] / count, "ms/clip by the clock", n)
        part.add(f"{n}: processor time", 1e3 * done["cpu_s"] / count, "ms/clip of a core", n)
        peaks.append(done["peak_mb"])
        seconds.append(done["cpu_s"] / count)
    n = f"{counts[1]:,} against {counts[0]:,} clips"
    part.add("peak memory, many clips against few", peaks[1] / peaks[0], "times", n)
    part.add("memory that each further clip takes", 1e3 * (peaks[1] - peaks[0]) / (counts[1] - counts[0]), "kB", n)
    part.add("processor time of a clip, many clips against few", seconds[1] / seconds[0], "times", n)
    return part


def audit(count: int, folder: str) -> dict[str, Any]:
    """Audit so many synthetic clips; gives the size of the bundle's table."""
    from precompute.audit import Request, run
    from precompute.bundle import read_bundle
    from precompute.scores import Plan

    place = Path(folder)
    request = Request(
        datasets=(str(write_list(count, place)),),
        targets=(TARGET,),
        out=place / "bundle",
        cache=place / "cache",
        plan=Plan(("original", "silence"), max_new_tokens=16),
    )
    run(request)
    return {"clips": len(read_bundle(place / "bundle").clips)}


def write_list(count: int, folder: Path) -> Path:
    """Write a list of synthetic clips, half of them claimed members.

    Parameters
    ----------
    count : int
    folder : Path

    Returns
    -------
    Path
        Of the CSV file.
    """
    import soundfile

    rng = np.random.default_rng(0)
    spans = -(-count // DISTINCT)
    time = np.arange(round(SECONDS * spans * RATE)) / RATE
    names = [f"{number}.wav" for number in range(min(count, DISTINCT))]
    for name in names:
        pitch = rng.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        tone = (np.sin(phase) + 0.5 * np.sin(2 * phase)) * np.abs(np.sin(2 * np.pi * 2.3 * time))
        soundfile.write(folder / name, 0.2 * tone + 0.02 * rng.standard_normal(len(time)), RATE, subtype="PCM_16")
    path = folder / "synthetic.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "label", "text", "start", "end"])
        for number in range(count):
            text = " ".join(rng.choice(WORDS, 6)) + f" {number}"
            start = SECONDS * (number // len(names))
            # Lengths differ, so that silence is no one input.
            end = start + SECONDS - rng.uniform(0, 0.3)
            rows.writerow([names[number % len(names)], number % 2, text, f"{start:.3f}", f"{end:.3f}"])
    return path
