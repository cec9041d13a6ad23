"""The explorer's page as figures of the report; measured by `precompute.bench.explorer`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from precompute.bench.figures import Part, Size

UNITS = {
    "start_s": ("start of the server", "s"),
    "peak_rss_mb": ("peak memory of the server", "MB"),
    "page_s": ("slowest page, until it is shown", "s"),
    "click_to_audio_ms": ("click on a clip, until it sounds", "ms"),
    "condition_swap_ms": ("swap of the condition, until the other audio is asked for", "ms"),
    "condition_drawn_ms": ("swap of the condition, until it is drawn", "ms"),
    "threshold_move_ms": ("move of the threshold", "ms"),
    "payload_kb": ("what the first view of a dataset receives", "kB compressed"),
}
"""Measure to its words and unit."""


def measure(size: Size) -> Part:
    """Open a large bundle in the explorer, the one given or a synthetic one.

    Parameters
    ----------
    size : Size

    Returns
    -------
    Part
    """
    from precompute.bench.big_bundle import write
    from precompute.bench.explorer import measure_explorer

    part = Part("Explorer", "The app in a process of its own, visited by chromium; times are taken in the browser.")
    with tempfile.TemporaryDirectory() as folder:
        bundle = size.bundle
        what = "" if bundle is None else bundle.name
        if bundle is None:
            datasets, clips = size.pick(2, 8), size.pick(500, 5000)
            bundle = write(Path(folder) / "bundle", datasets, 2, clips, heard=size.pick(50, 200))
            what = f"SYNTHETIC, {datasets} datasets x 2 targets x {clips:,} clips"
        found = measure_explorer(bundle, repeats=size.pick(1, 3))
    for name, (words, unit) in UNITS.items():
        value = found.get(name)
        bar = found["bars"].get(name)
        part.add(words, "not measured" if value is None else value, unit, what + (f"; bar {bar:.4g}" if bar else ""))
    return part
