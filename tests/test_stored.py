"""Tables read in parts: the same rows as from the whole table, and no row group read that cannot hold them."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precompute import stored
from precompute.stored import SCANNED, Stored

CELLS = list(itertools.product(("a", "b"), ("t", "u"), ("original", "noise"), (0, 1)))
CLIPS = 5


def table() -> pd.DataFrame:
    """Cells of a few clips each, one after the other."""
    rows = [(*cell, f"{cell[0]}/{clip}") for cell in CELLS for clip in range(CLIPS)]
    frame = pd.DataFrame(rows, columns=["dataset", "target", "condition", "realization", "clip_id"])
    return frame.assign(
        score=np.arange(len(frame), dtype=np.float32), words=[["x"] * (i % 3) for i in range(len(frame))]
    )


def written(path, frame: pd.DataFrame, rows: int) -> Stored:
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=rows)
    return Stored(path)


def test_a_cell_with_a_row_group_of_its_own_is_all_that_is_read(tmp_path):
    found = written(tmp_path / "t.parquet", table(), CLIPS)
    part = found.part(["clip_id", "score"], dataset="b", target="t", condition="noise", realization=1)
    assert found.groups_read == 1
    start = CLIPS * CELLS.index(("b", "t", "noise", 1))
    assert part.to_pydict() == {
        "clip_id": [f"b/{i}" for i in range(CLIPS)],
        "score": [float(start + i) for i in range(CLIPS)],
    }


@pytest.mark.parametrize("rows", [1, 3, CLIPS, 1000])
def test_any_division_into_row_groups_gives_the_same_rows(tmp_path, rows):
    frame = table()
    found = written(tmp_path / "t.parquet", frame, rows)
    for key in ({"dataset": "a"}, {"target": "u", "clip_id": "b/3"}, {"condition": "noise", "realization": 0}):
        part = found.part(["score", "clip_id", "dataset", "words"], **key)
        wanted = frame[np.logical_and.reduce([frame[name] == value for name, value in key.items()])]
        assert part.to_pylist() == wanted[["score", "clip_id", "dataset", "words"]].to_dict("records")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 3)), min_size=1, max_size=40), st.integers(1, 12))
def test_parts_put_together_are_the_whole(tmp_path_factory, keys, rows):
    frame = pd.DataFrame(keys, columns=["dataset", "realization"]).assign(score=np.arange(len(keys)))
    found = written(tmp_path_factory.mktemp("p") / "t.parquet", frame, rows)
    assert set(found.distinct("dataset", "realization")) == set(keys)
    parts = [
        found.part(["score"], dataset=d, realization=r).column("score").to_pylist() for d, r in dict.fromkeys(keys)
    ]
    assert sorted(itertools.chain(*parts)) == list(range(len(keys)))
    assert all(part == sorted(part) for part in parts)


def test_clips_in_no_order_are_found_by_an_index_that_is_made_once(tmp_path):
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.repeat([f"clip-{i:03d}" for i in range(200)], 4))
    frame = pd.DataFrame({"clip_id": ids, "nll": np.arange(len(ids))})
    found = written(tmp_path / "t.parquet", frame, 4)
    assert len(ids) // 4 > SCANNED
    found.prepare()
    for clip_id in ("clip-007", "clip-123"):
        before = found.groups_read
        rows = found.part(["nll"], clip_id=clip_id).column("nll").to_pylist()
        assert rows == np.flatnonzero(ids == clip_id).tolist()
        assert found.groups_read - before == len({row // 4 for row in rows})
    assert found.part(["nll"], clip_id="clip-150x").num_rows == 0


def test_what_is_in_a_table_is_known_from_its_borders_without_reading_it(tmp_path):
    found = written(tmp_path / "t.parquet", table(), CLIPS)
    assert found.distinct("dataset", "target") == [("a", "t"), ("a", "u"), ("b", "t"), ("b", "u")]
    assert found.groups_read == 0
    whole = written(tmp_path / "whole.parquet", table(), 1000)
    assert whole.distinct("dataset", "target") == found.distinct("dataset", "target")


def test_a_large_row_group_is_read_some_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "ROWS", 7)
    frame = table()
    found = written(tmp_path / "t.parquet", frame, 1000)
    part = found.part(["score"], clip_id="a/2")
    assert part.column("score").to_pylist() == frame[frame["clip_id"] == "a/2"]["score"].tolist()
    assert found.groups_read == 1 and len(found.distinct("target", "condition")) == 4


def test_columns_that_are_not_there_are_left_out_and_values_that_are_not_there_give_no_row(tmp_path):
    found = written(tmp_path / "t.parquet", table(), CLIPS)
    part = found.part(["score", "mia_score_adjusted"], dataset="nowhere")
    assert part.column_names == ["score"] and part.num_rows == 0
    assert found.part(["dataset"], dataset="b", realization=7).to_pylist() == []


def test_a_key_behind_a_column_of_lists_is_read_and_not_guessed(tmp_path):
    frame = table()[["words", "dataset", "score"]]
    found = written(tmp_path / "t.parquet", frame, CLIPS)
    assert found.part(["score"], dataset="b").column("score").to_pylist() == frame["score"][len(frame) // 2 :].tolist()


def test_a_missing_or_damaged_file_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        Stored(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"PAR1nonsense")
    with pytest.raises(ValueError, match=r"(?i)parquet"):
        Stored(tmp_path / "t.parquet")
