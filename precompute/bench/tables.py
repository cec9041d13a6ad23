"""Statistics, the cache and the opening of a bundle: how many in a second."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from precompute.bench.figures import Part, Size
from precompute.bench.timing import per_second
from precompute.indicators import STATISTICS, TokenStats


def measure_statistics(size: Size) -> Part:
    """Time the statistics behind a verdict on simulated tables."""
    from precompute.statistics.delong import delong, delong_paired
    from precompute.statistics.intervals import bootstrap_weights, estimate

    part = Part("Statistics", "On a simulated table of the planted-truth study (30 indicators, a shift and a leak).")
    _headline(part, size.pick(250, 1000), size.pick(99, 999))
    labels, first, second = _scores(5000)
    spend = size.pick(1, 5)
    for what, call in (
        ("AUC with DeLong's interval", lambda: delong(labels, first)),
        ("paired DeLong difference of two scores", lambda: delong_paired(labels, first, second)),
    ):
        speed, calls = per_second(call, spend)
        part.add(f"{what}, 5,000 clips", speed, "per s", f"{calls} calls")
    weights = bootstrap_weights(labels)
    speed, calls = per_second(lambda: estimate(labels, first, weights), spend)
    part.add("bootstrap of an AUC, 5,000 clips", speed * weights.shape[1], "resamples/s", f"{calls} x 1,000 resamples")
    return part


def _headline(part: Part, per_class: int, draws: int) -> None:
    """Time the refits behind one verdict: the attack under redrawn labels, every fold."""
    from precompute.adjustment import Covariates, squares_check
    from precompute.attack import assign_folds
    from precompute.headline import Sample, find_headline, find_overlap
    from precompute.units import design
    from precompute.validate.simulated import BLOCKS, WORLDS, draw

    drawn = draw(WORLDS["S3"], per_class, np.random.default_rng(0))
    made = design(drawn.labels, drawn.groups, [drawn.copies])
    folds = assign_folds([f"{index}" for index in range(len(drawn.labels))], drawn.labels, units=made.units)
    sample = Sample(drawn.labels, folds, made, np.zeros(len(drawn.labels), dtype=int))
    overlap = find_overlap(sample, Covariates(drawn.covariates, BLOCKS), squares_check)
    find_headline(sample, drawn.indicators, overlap, draws=20, plain=20, least=20)
    start = time.perf_counter()
    found = find_headline(sample, drawn.indicators, overlap, draws=draws, plain=draws, least=draws)
    seconds = time.perf_counter() - start
    refits = (found.adjusted_null.draws + found.raw_null.draws) * len(np.unique(folds))
    n = f"{2 * per_class:,} clips, {found.adjusted_null.draws} conditional and {found.raw_null.draws} free draws"
    part.add("headline verdict", seconds, "s", n)
    part.add("refits of the attack", refits / seconds, "fold fits/s", n)


def _scores(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw labels and two scores that know a little about them."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n) % 2)
    return labels, labels * 0.3 + rng.standard_normal(n), labels * 0.2 + rng.standard_normal(n)


def measure_cache(size: Size) -> Part:
    """Write and read rows of scored texts."""
    from precompute.scoring import stats_from_arrays, stats_to_arrays
    from precompute.store import Store

    count, batch, tokens = size.pick(2000, 20_000), 64, 20
    rng = np.random.default_rng(0)
    rows = {
        Store.key(row=index): stats_to_arrays(
            TokenStats.from_numbers(
                ids=rng.integers(0, 1000, tokens),
                numbers=rng.standard_normal((tokens, len(STATISTICS))).astype(np.float32),
                tokens=tuple(f" piece{number}" for number in range(tokens)),
                text=f"the text of row {index}",
            )
        )
        for index in range(count)
    }
    keys = list(rows)
    part = Part("Cache", f"Statistics of texts of {tokens} tokens, from arrays to the disk and back.")
    with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
        start = time.perf_counter()
        for first in range(0, count, batch):
            store.put_many({key: rows[key] for key in keys[first : first + batch]})
        written = time.perf_counter()
        for key in keys:
            stats_from_arrays(store.get(key) or {})
        read = time.perf_counter()
        sum(f"{key}x" in store for key in keys)
        missed = time.perf_counter()
        part.add("writes", count / (written - start), "rows/s", f"{count:,} rows, {batch} at once")
        part.add("reads", count / (read - written), "rows/s", f"{count:,} rows")
        part.add("looking for rows that are not there", count / (missed - read), "rows/s", f"{count:,} rows")
        stored = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        part.add("size", stored / count, "bytes/row", f"{count:,} rows")
    return part


def measure_bundle(size: Size) -> Part:
    """Open a bundle: the one given, or a synthetic one."""
    from precompute.bench.big_bundle import write
    from precompute.bundle import read_bundle

    part = Part("Opening a bundle", "`read_bundle`, files in the system's cache.")
    with tempfile.TemporaryDirectory() as folder:
        path = size.bundle
        if path is None:
            datasets, targets, clips = size.pick(2, 8), 2, size.pick(250, 5000)
            path = write(Path(folder) / "bundle", datasets, targets, clips, heard=0)
            what = f"SYNTHETIC, {datasets} datasets x {targets} targets x {clips:,} clips"
        else:
            what = path.name
        speed, calls = per_second(lambda: read_bundle(path), size.pick(1, 5))
        bundle = read_bundle(path)
        part.add("open", 1 / speed, "s", f"{what}, {calls} times")
        part.add("rows of scores", len(bundle.scores), "rows", what)
    return part
