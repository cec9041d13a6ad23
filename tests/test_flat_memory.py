"""What is held of a whole audit does not grow with the number of clips: chunks, batches, draws, rows of a cell."""

import os
import platform
import subprocess
import sys
import threading
import weakref

import numpy as np
import pandas as pd
import pytest
import soundfile

from precompute import evidence, heap, nulls, scores, tables
from precompute.adjustment import Covariates, propensity
from precompute.attack import assign_folds
from precompute.clips import SAMPLE_RATE, Clip, Cohort, InputError
from precompute.indicators import STATISTICS, TokenStats
from precompute.scores import Plan, missing_works, score_clips
from precompute.scoring import stats_to_arrays
from precompute.statistics import intervals
from precompute.statistics.low_fpr import tpr_at_fpr
from precompute.store import Store
from precompute.tables import ORIGINAL, Columns, Scored, chosen, part_of
from precompute.targets import load_target
from precompute.units import design
from precompute.work import BatchSize, Work, execute

CLIPS = 60
PER_CHUNK = 5
SECONDS = 0.01


def stats(ids):
    numbers = np.zeros((len(ids), len(STATISTICS)), dtype=np.float32)
    return TokenStats.from_numbers(np.asarray(ids, dtype=np.int64), numbers, tuple(map(str, ids)), "one two")


class Writing:
    """A target that writes two tokens and tells how many texts it is given at once."""

    id, revision, dtype, family, access, limits = "writing", "0", "float32", "writing", "weights", None
    decoding, prompts = "greedy", {"speech": "p"}

    def __init__(self, room=1000):
        self.room, self.texts = room, []

    def generate(self, audios, prompt, max_new_tokens):
        return [stats([1, 2]) for _ in audios]

    def score(self, audios, prompt, token_ids):
        if len(audios) > self.room:
            raise MemoryError
        self.texts.append(len(audios))
        return [stats(ids) for ids in token_ids]

    def encode(self, text):
        return [ord(letter) for letter in text]


@pytest.fixture
def clips(tmp_path):
    made = []
    for number in range(CLIPS):
        samples = 0.1 * np.random.default_rng(number).standard_normal(round(SECONDS * SAMPLE_RATE) + number)
        soundfile.write(tmp_path / f"{number}.wav", samples, SAMPLE_RATE, subtype="FLOAT")
        made.append(Clip(f"c{number}", tmp_path / f"{number}.wav", text="one two", end=SECONDS))
    return made


@pytest.fixture
def read(monkeypatch):
    """Arrays that were read, as weak references, and the most that were alive at once."""
    seen, most = [], [0]
    original = scores.read_audio

    def noted(clip):
        samples = original(clip)
        seen.append(weakref.ref(samples))
        most[0] = max(most[0], sum(one() is not None for one in seen))
        return samples

    monkeypatch.setattr(scores, "read_audio", noted)
    monkeypatch.setattr(scores, "CHUNK_BYTES", PER_CHUNK * 2 * 4 * SAMPLE_RATE * SECONDS)
    return seen, most


PLAN = Plan(("original", "noise"), max_new_tokens=4)


def test_scoring_holds_the_audio_of_two_chunks_however_many_there_are(clips, read, tmp_path):
    with Store(tmp_path / "cache") as store:
        rows = sum(1 for _ in score_clips(Writing(), clips, PLAN, store, lambda _: None))
    seen, most = read
    assert rows == 5 * CLIPS and len(seen) == CLIPS
    assert most[0] == 2 * PER_CHUNK  # one is scored, one made ready
    assert not any(one() is not None for one in seen)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_stream_of_works_holds_one_chunk_and_the_work_it_gave_last(clips, read, tmp_path, stage):
    target = Writing()
    with Store(tmp_path / "cache") as store:
        if stage == 2:
            for work in missing_works(1, target, clips, PLAN, store, int):
                store.put_many({work.key: stats_to_arrays(stats([1, 2]))})
        works = sum(1 for _ in missing_works(stage, target, clips, PLAN, store, int))
    assert works == CLIPS * (1 + stage)
    assert read[1][0] <= PER_CHUNK + 1


def test_one_audio_under_many_texts_is_scored_in_parts_of_a_batch():
    silence = np.zeros(16, dtype=np.float32)
    works = [Work(f"{number}", silence, "p", 4, (number, 1)) for number in range(50)]
    target, size = Writing(), BatchSize(8, fixed=True)
    found = {key: one for part in execute(target, works, size) for key, one in part.items()}
    assert {key: one.ids.tolist() for key, one in found.items()} == {f"{n}": [n, 1] for n in range(50)}
    assert max(target.texts) <= 8 and sum(target.texts) == 50


def test_too_many_texts_of_one_audio_for_the_memory_are_scored_in_smaller_parts():
    silence = np.zeros(16, dtype=np.float32)
    target, size = Writing(room=3), BatchSize(8, fixed=True)
    works = [Work(f"{number}", silence, "p", 4, (number,)) for number in range(20)]
    found = {key: one for part in execute(target, works, size) for key, one in part.items()}
    assert len(found) == 20 and max(target.texts) <= 3 and size.rows == 2


def test_what_a_batch_was_read_to_is_let_go_and_what_is_prepared_is_used(monkeypatch):
    target = load_target("tiny-audio-flamingo", "cpu")
    inputs, asked = type(target).inputs, []
    monkeypatch.setattr(
        type(target), "inputs", lambda self, audios, prompt: asked.append(self) or inputs(self, audios, prompt)
    )
    sounds = [0.1 * np.random.default_rng(n).standard_normal(8000 + 80 * n).astype(np.float32) for n in range(6)]
    works = [Work(f"{n}", sound, "Transcribe.", 4) for n, sound in enumerate(sounds)]
    works += [Work(f"given {n}", sound, "Transcribe.", 4, (9, 8, 7)) for n, sound in enumerate(sounds)]
    held = [len(target._prefills) for _ in execute(target, works, BatchSize(2, fixed=True))]
    assert held == [0, 0, 0]
    assert len(asked) == 3 and all(one is not target for one in asked)  # each was prepared, once


def drawn_sizes(monkeypatch, name):
    sizes = []
    original = getattr(nulls, name)

    def noted(first, labels, *rest):
        sizes.append(labels.size)
        return original(first, labels, *rest)

    monkeypatch.setattr(nulls, name, noted)
    return sizes


def sample(n=120):
    rng = np.random.default_rng(7)
    labels = np.arange(n) % 2
    made = design(labels, [None] * n)
    folds = assign_folds([f"{i:04d}" for i in range(n)], labels, units=made.units)
    return labels, made, folds, rng.standard_normal((n, 4)), rng.standard_normal((n, 3))


def test_a_null_of_many_clips_fits_few_draws_at_once_and_tells_the_same(monkeypatch):
    labels, made, folds, features, found = sample()
    fitted = propensity(Covariates(found, (1, 1, 1)), labels, folds)
    whole = nulls.permutation_null(features, labels, folds, made, 0.5, 150, 0)
    strict = nulls.conditional_null(features, fitted, folds, made, 1.1, 150, 0)
    sizes = drawn_sizes(monkeypatch, "out_of_fold_draws")
    monkeypatch.setattr(nulls, "NUMBERS", 7 * len(labels))
    parts = nulls.permutation_null(features, labels, folds, made, 0.5, 150, 0)
    assert sum(sizes) == 150 * len(labels) and max(sizes) <= nulls.NUMBERS
    assert parts.draws == whole.draws == 150 and parts.centre == pytest.approx(whole.centre, abs=0.02)
    assert parts.sd == pytest.approx(whole.sd, rel=0.25)
    sizes.clear()
    parts = nulls.conditional_null(features, fitted, folds, made, 1.1, 150, 0)
    assert sum(sizes) == 150 * len(labels) and max(sizes) <= nulls.NUMBERS
    assert parts.p == strict.p == pytest.approx(1 / 151)


def test_more_clips_than_fit_are_still_drawn_one_label_vector_at_a_time(monkeypatch):
    labels, made, folds, features, _ = sample()
    monkeypatch.setattr(nulls, "NUMBERS", 10)
    sizes = drawn_sizes(monkeypatch, "out_of_fold_draws")
    assert nulls.permutation_null(features, labels, folds, made, 0.5, 12, 0).draws == 12
    assert sizes == [len(labels)] * 12


def test_resamples_in_parts_are_the_very_same(monkeypatch):
    rng = np.random.default_rng(3)
    labels = np.arange(90) % 2
    units = rng.integers(0, 40, 90)
    values = np.round(rng.standard_normal(90), 1)
    values[5] = np.nan

    def all_of_them():
        weights = intervals.cluster_bootstrap_weights(labels, units, draws=70, seed=1)
        usable = np.isfinite(values)
        rates = tpr_at_fpr(labels[usable], values[usable], 0.5, weights[usable])
        return weights, intervals.resampled_aucs(labels, values, weights), np.array([rates.low, rates.high])

    whole = all_of_them()
    monkeypatch.setattr(intervals, "NUMBERS", 300)
    for one, other in zip(whole, all_of_them(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_columns_added_to_cells_share_the_names_of_the_clips(tmp_path):
    ids = [f"c{n}" for n in range(6)]
    cohort = Cohort("a", tuple(Clip(name, tmp_path / name) for name in ids), (0, 1) * 3)
    kept = Scored(tmp_path, [cohort])
    keys = [("original", 0, "generated"), ("silence", 0, "generated")]
    for value, key in enumerate(keys):
        shuffled = pd.DataFrame({"mia_score": np.arange(6.0)[::-1] + value}, index=ids[::-1])
        kept.add("a", "t", key, shuffled)
    first, second = (kept._added["a", "t", key] for key in keys)
    assert first.index is second.index and first["mia_score"].tolist() == list(range(6))
    assert second.loc["c5", "mia_score"] == 6.0


def test_some_columns_of_a_cell_are_those_of_the_whole_and_nothing_else_is_read(tmp_path, monkeypatch):
    ids = [f"c{n}" for n in range(6)]
    cohort = Cohort("a", tuple(Clip(name, tmp_path / name) for name in ids), (0, 1) * 3)
    kept, key = Scored(tmp_path, [cohort]), ("original", 0, "generated")
    rows = [
        {
            **dict(
                zip(("clip_id", "target", "condition", "realization", "scored_text"), (name, "t", *key), strict=True)
            ),
            **{"generated_text": name.upper(), "nll": float(n), "n_tokens": n, "trained": None, "wer": 0.5},
        }
        for n, name in reversed(list(enumerate(ids)))
    ]
    kept.write("t", rows)
    kept.add("a", "t", key, pd.DataFrame({"mia_score": np.arange(6.0)}, index=ids))
    cells, read = kept.cells("a", "t"), []
    names = ["nll", "mia_score", "generated_text", "not there"]
    whole = cells[key][["clip_id", *names[:-1]]]
    monkeypatch.setattr(
        pd, "read_feather", lambda path, _real=pd.read_feather, **how: read.append(how) or _real(path, **how)
    )
    pd.testing.assert_frame_equal(part_of(cells, key, names), whole)
    assert read[0]["columns"] == ["clip_id", "generated_text", "nll"]
    pd.testing.assert_frame_equal(part_of({key: cells[key]}, key, names), whole)
    assert [list(cell) for cell in chosen(cells, "original", "generated", ["wer"])] == [["clip_id", "wer"]]
    assert chosen(cells, "original", "reference", ["wer"]) == []


def test_features_of_a_dataset_follow_its_clips_and_are_missing_where_a_clip_has_none():
    ids = [f"c{n}" for n in range(8)]
    blind = pd.DataFrame({"clip_id": [*ids[::-1], *ids], "dataset": ["a"] * 8 + ["b"] * 8, "x": np.arange(16.0)})
    clips = pd.DataFrame({"clip_id": [*ids, "new"], "dataset": "a", "label": [0, 1, 0] * 3})
    found = evidence.features_of(evidence.dataset_of("a", clips, 0), blind, ["x", "not there"])
    assert list(found) == ["x"] and found.index.tolist() == [*ids, "new"]
    assert found["x"].tolist()[:8] == list(range(8))[::-1] and np.isnan(found["x"].iloc[8])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 0], [0, 1]])
@pytest.mark.parametrize("first", [0, 7])
def test_columns_are_put_beside_the_same_clips_as_a_merge_would(order, first):
    rows = pd.DataFrame({"clip_id": list("abcd"), "x": np.arange(4.0)}, index=range(first, first + 4))
    more = pd.DataFrame(
        {"clip_id": [*np.array(list("abcd"))[order], "z"], "y": np.arange(len(order) + 1.0)},
        index=range(3, 4 + len(order)),
    )
    for right in (more, more.iloc[:-1]):
        found = tables._beside(rows, right)
        pd.testing.assert_frame_equal(found, rows.merge(right, on="clip_id", how="inner"))


def test_columns_beside_clips_in_the_same_order_are_not_copied():
    rows, more = (pd.DataFrame({"clip_id": list("abcd"), name: np.arange(4.0)}) for name in "xy")
    found = tables._beside(rows, more)
    for name, table in (("x", rows), ("y", more)):
        assert np.shares_memory(found[name].to_numpy(), table[name].to_numpy())


def test_scores_made_elsewhere_keep_the_columns_that_are_added_to_them(tmp_path):
    rows = pd.DataFrame(
        {"clip_id": list("abcd"), "dataset": ["one"] * 2 + ["two"] * 2, "mia_score": [0.1, 0.2, 0.3, 0.4]}
    )
    rows = rows.assign(condition="original", realization=0, scored_text="generated")
    cohorts = [
        Cohort(name, [Clip(c, tmp_path / "x.wav") for c in ids], [1, 0]) for name, ids in (("one", "ab"), ("two", "cd"))
    ]
    scored = Scored(tmp_path, cohorts)
    scored.give("theirs", rows)
    scored.add("two", "theirs", ORIGINAL, pd.DataFrame({"mia_score_adjusted": [4.0, 3.0]}, index=["d", "c"]))
    cell = scored.cell("two", "theirs", ORIGINAL)
    assert cell["clip_id"].tolist() == ["c", "d"] and cell["mia_score"].tolist() == [0.3, 0.4]
    assert cell["mia_score_adjusted"].tolist() == [3.0, 4.0]


def test_of_a_table_on_disk_a_column_is_read_when_asked_for(tmp_path, monkeypatch):
    table = pd.DataFrame({"clip_id": list("abc"), "x": np.arange(3, dtype=np.float32), "y": [1.0, np.nan, 3.0]})
    kept, read = Columns.keep(tmp_path / "table.arrow", table), []
    monkeypatch.setattr(
        pd, "read_feather", lambda path, _real=pd.read_feather, **how: read.append(how) or _real(path, **how)
    )
    assert list(kept) == list(table) and len(kept) == 3 and "x" in kept and "z" not in kept and not read
    for name in table:
        pd.testing.assert_series_equal(kept[name], table[name])
    assert [how["columns"] for how in read] == [["clip_id"], ["x"], ["y"]]
    with pytest.raises(KeyError):
        kept["z"]
    pd.testing.assert_frame_equal(kept.whole(), table)


def test_pyarrow_takes_its_memory_from_the_heap_that_all_threads_share():
    code = (
        "from precompute import heap; heap.share(); import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    )
    named = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=named)
    assert found.stdout.strip() == "system"


HOLES = """
import sys, time
from precompute import heap
heap.share()
import numpy as np

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

held = [np.ones(2**13) for _ in range(2000)]  # 64 kB each, 131 MB
full = resident()
held = held[::20]
with heap.given_back(every=0.05):
    deadline = time.monotonic() + 20
    while resident() > full - 100e6 and time.monotonic() < deadline:
        time.sleep(0.05)
print((full - resident()) / 1e6)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back from the middle of a heap")
def test_what_is_freed_between_what_is_held_goes_back_to_the_system():
    found = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert float(found.stdout) > 100


def test_memory_is_given_back_while_an_audit_lasts_and_not_after(monkeypatch):
    calls, often = [], threading.Event()
    monkeypatch.setattr(heap, "give_back", lambda: (calls.append(1), len(calls) > 2 and often.set()))
    with pytest.raises(InputError), heap.given_back(every=0.001):
        assert often.wait(20)
        raise InputError("the audit ends with an error")
    assert not any(thread.name == "heap" for thread in threading.enumerate())


def test_the_longest_clips_are_read_first_so_that_the_peak_comes_at_the_beginning(monkeypatch, tmp_path):
    seconds = {"short": 0.5, "long": 3.0, "longer": 4.0, "middle": 1.0}
    clips = [Clip(name, tmp_path / "none.wav", end=end) for name, end in seconds.items()]
    monkeypatch.setattr(scores, "CHUNK_CLIPS", 3)
    chunks = [[clip.clip_id for clip in part] for _, part in scores._chunks(Writing(), clips, PLAN, None, None)]
    assert chunks == [["longer", "long", "middle"], ["short"]]
