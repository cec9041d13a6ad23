"""What is held of a whole audit does not grow with the number of clips: chunks, batches, draws, rows of a cell."""

import weakref

import numpy as np
import pandas as pd
import pytest
import soundfile

from precompute import nulls, scores
from precompute.adjustment import Covariates, propensity
from precompute.attack import assign_folds
from precompute.clips import SAMPLE_RATE, Clip, Cohort
from precompute.indicators import STATISTICS, TokenStats
from precompute.scores import Plan, missing_works, score_clips
from precompute.scoring import stats_to_arrays
from precompute.statistics import intervals
from precompute.statistics.low_fpr import tpr_at_fpr
from precompute.store import Store
from precompute.tables import Scored
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


def test_scoring_holds_the_audio_of_two_chunks_however_many_there_are(clips, read, tmp_path, monkeypatch):
    gave_back = []
    monkeypatch.setattr(scores.heap, "give_back", lambda: gave_back.append(1))
    monkeypatch.setattr(scores, "CLEARED_AFTER", 2 * PER_CHUNK)
    with Store(tmp_path / "cache") as store:
        rows = sum(1 for _ in score_clips(Writing(), clips, PLAN, store, lambda _: None))
    seen, most = read
    assert rows == 5 * CLIPS and len(seen) == CLIPS
    assert most[0] == 2 * PER_CHUNK  # one is scored, one made ready
    assert len(gave_back) == CLIPS // (2 * PER_CHUNK)
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
