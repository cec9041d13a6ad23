"""The explorer on large bundles: what it reads, what it keeps, and that packing changes no curve."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fake_bundle import write_fake_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from explorer import columns as columns_module
from explorer import served as served_module
from explorer.catalog import FITS, TEXTS, Catalog
from explorer.columns import Columns
from explorer.packed import CLOSE, pack, unpack
from explorer.served import Served
from explorer.single import known_scores
from precompute import bundle as bundle_module
from precompute.bundle import Bundle, read_bundle

CELLS = 3 * 8 - 1
"""Cells of one dataset and target of the synthetic bundle."""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "bundle"
    write_fake_bundle(folder, per_class=12)
    return folder


@pytest.fixture
def bundle(path, monkeypatch) -> Bundle:
    """A bundle of which nothing but the clips may be read whole."""
    read = bundle_module._read_table

    def small(folder: Path, name: str) -> pd.DataFrame:
        assert name == "clips", f"{name} was read whole"
        return read(folder, name)

    monkeypatch.setattr(bundle_module, "_read_table", small)
    return read_bundle(path)


def test_opening_a_bundle_reads_no_row_of_the_scores(bundle):
    catalog = Catalog(bundle)
    assert len(catalog.pairs) == 4 and "joint" in catalog.families
    assert bundle.stored("scores").groups_read == 0


def test_a_view_reads_its_own_cell_and_a_clip_those_of_its_pair(bundle):
    columns, scores = Columns(Catalog(bundle)), bundle.stored("scores")
    columns.scores_file(1, 1, 7, "reference", "transfer")
    columns.scores_file(1, 1, 7, "reference", "refit")
    assert scores.groups_read == 1
    assert len(columns.clip_rows(1, 0, 3)) == CELLS + 1  # the original's own text serves as carried too
    assert scores.groups_read == 1 + CELLS
    columns.clip_indicators(1, 0, 3, 2, "generated")
    columns.clip_rows(1, 0, 3)
    assert scores.groups_read == 2 + CELLS


def test_every_page_is_made_without_a_whole_table(bundle):
    served = Served.open(Catalog(bundle))
    for make in (served.clips, served.texts):
        make(1)
    served.evidence(1, 0)
    served.grid(1, 0, 0)
    served.warm()
    assert {f"{k}.{text}" for k in range(8) for text in TEXTS} == served.clip(1, 0, 5)["tokens"].keys()
    assert len(known_scores(served.catalog, "synthetic-clean", "synthetic-target")["scores"]) == 23
    served.close()


def test_what_is_kept_stays_bounded_however_much_is_looked_at(bundle, monkeypatch):
    monkeypatch.setattr(columns_module, "KEPT_CELLS", 5)
    monkeypatch.setattr(columns_module, "KEPT_CLIPS", 3)
    columns = Columns(Catalog(bundle))
    for k in range(8):
        for text in TEXTS:
            columns.scores_file(0, 0, k, text, "refit")
    for clip in range(10):
        columns.clip_rows(0, 0, clip)
        columns.clip_tokens(0, 0, clip)
    assert columns.rows.cache_info().currsize == 5
    assert columns.clip_rows.cache_info().currsize == columns.clip_tokens.cache_info().currsize == 3


def test_payloads_from_row_groups_are_those_of_the_whole_table(path, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    for file in path.glob("*.json"):
        (whole / file.name).write_bytes(file.read_bytes())
    for file in path.glob("*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.take(np.random.default_rng(0).permutation(len(table))), whole / file.name)
        if file.name == "clips.parquet":
            (whole / file.name).write_bytes(file.read_bytes())
    one, other = (Columns(Catalog(read_bundle(folder))) for folder in (path, whole))
    assert one.bundle.stored("scores")._file.num_row_groups == 4 * CELLS
    assert other.bundle.stored("scores")._file.num_row_groups == 1
    for made in (one, other):
        assert made.catalog.pairs == one.catalog.pairs
    for d in (0, 1):
        assert as_text(one.clips_file(d)) == as_text(other.clips_file(d))
        for k in (0, 3, 7):
            for text in TEXTS:
                for fit in FITS:
                    assert one.scores_file(d, 1, k, text, fit) == other.scores_file(d, 1, k, text, fit)
        assert one.clip_rows(d, 1, 4) == other.clip_rows(d, 1, 4)
        assert one.clip_tokens(d, 1, 4) == other.clip_tokens(d, 1, 4)
        assert one.clip_indicators(d, 1, 4, 3, "carried") == other.clip_indicators(d, 1, 4, 3, "carried")


def as_text(value) -> str:
    return json.dumps(value, sort_keys=True)


def test_a_column_is_the_scores_of_the_file_in_the_order_of_the_clips(path):
    columns = Columns(Catalog(read_bundle(path)))
    scores = columns.bundle.scores
    cell = scores[
        (scores["dataset"] == "synthetic-shift")
        & (scores["target"] == "synthetic-target")
        & (scores["condition"] == "resynthesis")
        & (scores["realization"] == 1)
        & (scores["scored_text"] == "carried")
    ].set_index("clip_id")
    wanted = cell.loc[columns.clips[1]["clip_id"], "mia_score_transfer"].to_numpy(float)
    k = next(i for i, used in enumerate(columns.catalog.inputs) if used.key == "resynthesis-2")
    file = columns.scores_file(1, 0, k, "carried", "transfer")
    np.testing.assert_allclose(unpack(file["values"]), wanted, atol=CLOSE)
    assert file["trained"] == "0" * len(wanted)


scores_in_range = arrays.arrays(
    np.float64, st.integers(0, 60), elements=st.floats(0, 1, width=32) | st.just(float("nan"))
)
any_scores = arrays.arrays(np.float64, st.integers(0, 60), elements=st.floats(-1e6, 1e6, width=32))


@settings(max_examples=200, deadline=None)
@given(scores_in_range | any_scores)
def test_packing_keeps_every_order_every_tie_and_every_gap_and_nearly_the_value(values):
    found = unpack(pack(values))
    known = np.isfinite(values)
    np.testing.assert_array_equal(np.isfinite(found), known)
    width = max(1.0, np.ptp(values[known])) if known.any() else 1.0
    np.testing.assert_allclose(found[known], values[known], atol=CLOSE * width)
    ranks = [np.unique(column[known], return_inverse=True)[1] for column in (values, found)]
    np.testing.assert_array_equal(*ranks)


def test_scores_that_crowd_together_are_sent_as_they_are():
    values = np.r_[np.float32(0.5) + np.float32(1e-6) * np.arange(3000, dtype=np.float32), 0.0, 1.0].astype(float)
    packed = pack(values)
    assert packed["kind"] == "float"
    np.testing.assert_array_equal(unpack(packed), values)


def test_scores_near_one_stay_apart():
    near = np.array([1 - 1e-6, 1 - 1e-5, 0.5, 1e-6])
    found = unpack(pack(near))
    np.testing.assert_allclose(1 - found[:2], [1e-6, 1e-5], rtol=1e-3)
    np.testing.assert_allclose(found[3], 1e-6, rtol=1e-3)


def test_a_column_of_five_thousand_scores_takes_two_bytes_each():
    values = 1 / (1 + np.exp(-np.random.default_rng(0).standard_normal(5000)))
    assert len(pack(values)["data"]) <= 4 * -(-2 * 5000 // 3)


def test_rendered_noise_does_not_fill_the_disk(path, monkeypatch):
    monkeypatch.setattr(served_module, "KEPT_NOISE", 3)
    served = Served.open(Catalog(read_bundle(path)))
    urls = [served.listen(0, clip, 3)["url"] for clip in (6, 7, 8, 9, 10)]
    kept = {file.name for file in served.folder.glob("*.flac")}
    assert len(kept) == 3 and urls[-1].rsplit("/", 1)[1] in kept
    assert (served.folder / served.listen(0, 6, 3)["url"].rsplit("/", 1)[1]).is_file()
    served.close()
