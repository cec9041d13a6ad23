"""The designs of the trained worlds, and one training of two steps; the worlds themselves are made by a command."""

import dataclasses
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from precompute.clips import InputError, read_audio
from precompute.conditions import CONDITIONS
from precompute.conditions.voices import reference_voices
from precompute.targets import EMBEDDED
from precompute.targets.embedded import RECIPES
from precompute.validate import trained, worlds_committed, worlds_length, worlds_voice
from precompute.validate.trained import WORLDS, Audited, Lesson, Material, make, recipe_of, summary


@pytest.mark.parametrize("seed", trained.SEEDS)
def test_every_transcript_of_s5_stands_once_in_each_class(seed):
    drawn = worlds_voice.cells(seed)
    members, others = (Counter(c.transcript for c in drawn if c.member is side) for side in (True, False))
    assert members == others
    assert set(members.values()) == {1}
    assert len(members) == 4 * worlds_voice.TEXTS


@pytest.mark.parametrize("seed", trained.SEEDS)
def test_no_text_in_a_voice_is_in_both_classes_of_s5(seed):
    drawn = worlds_voice.cells(seed)
    assert len({(c.spoken, c.voice) for c in drawn}) == len(drawn) == 8 * worlds_voice.TEXTS
    assert len({c.name for c in drawn}) == len(drawn)


def test_every_voice_of_s5_speaks_as_many_members_as_non_members():
    drawn = worlds_voice.cells(0)
    for voice in worlds_voice.VOICES:
        assert Counter(c.member for c in drawn if c.voice == voice) == {True: 48, False: 48}


def test_the_word_of_s5_is_another_in_every_trained_voice_of_a_text():
    words = {}
    for cell in worlds_voice.cells(0):
        if cell.member:
            words.setdefault(cell.spoken, set()).add(cell.word)
    assert {len(found) for found in words.values()} == {4}


def test_s5_reads_no_audited_text_aloud_and_hears_the_reference_voices_alone():
    audited = {c.spoken for c in worlds_voice.cells(0)}
    read = worlds_voice.readings(0)
    assert {voice for _, voice in read} == set(reference_voices("en"))
    assert not {" ".join(text.split()[:2]) for text, _ in read} & audited
    assert {text.split()[2] for text, _ in read} == set(worlds_voice.WORDS)


def test_audited_voices_of_s4_and_s5_are_no_reference_voices():
    assert not set(worlds_voice.VOICES) & set(reference_voices("en"))
    for language, voice in worlds_committed.OTHER_VOICES.items():
        assert voice.name not in {known.name for known in reference_voices(language)}
        assert voice.name.startswith(language)


def test_s4_and_s9_audit_what_their_target_was_trained_on():
    for seed, (name, half) in enumerate(worlds_committed.TARGETS):
        assert name in EMBEDDED and RECIPES[name].half == half
        known = Counter(member for _, member in worlds_committed.halves(seed))
        assert known == {True: worlds_committed.PER_CLASS, False: worlds_committed.PER_CLASS}
    first, swapped = (worlds_committed.halves(seed) for seed in (0, 1))
    sides = [{item.clip.clip_id: member for item, member in items} for items in (first, swapped)]
    shared = sides[0].keys() & sides[1].keys()
    assert shared and all(sides[0][name] is not sides[1][name] for name in shared)


@pytest.mark.parametrize("seed", trained.SEEDS)
def test_every_clip_of_s6_has_a_length_of_its_own_and_neighbours_are_dealt_evenly(seed):
    placed = worlds_length.place(seed)
    assert [p.steps for p in placed] == list(range(worlds_length.FIRST, worlds_length.LAST))
    assert len({p.clip.clip_id for p in placed}) == len(placed)
    pairs = zip(placed[::2], placed[1::2], strict=True)
    assert all(first.member != second.member for first, second in pairs)
    assert 0.3 < np.mean([p.steps % 2 for p in placed if p.member]) < 0.7  # parity says nothing


def test_clips_of_s6_are_hardly_padded():
    placed = worlds_length.place(0)
    padding = [p.steps * worlds_length.STEP - len(read_audio(p.clip)) for p in placed[::10]]
    assert min(padding) >= 0
    assert np.median(padding) < 2 * worlds_length.STEP


def test_a_member_of_s6_is_heard_as_itself_and_as_silence_of_its_length():
    samples = worlds_length.laid(np.ones(900, dtype=np.float32), 3)
    assert samples.tolist() == [1.0] * 900 + [0.0] * 60
    itself, silence = worlds_length.hearings(samples)
    assert itself is samples
    assert silence.shape == samples.shape and not silence.any()


def test_one_step_of_s6_is_one_audio_token_and_every_length_one_window():
    _, shape = recipe_of(WORLDS["S6"], 0)
    assert 4 * shape.hop == worlds_length.STEP
    assert shape.chunk_seconds * 16_000 >= worlds_length.LAST * worlds_length.STEP


@pytest.mark.parametrize("name", ["S5", "S6"])
def test_windows_of_a_trained_world_pool_to_whole_tokens(name):
    _, shape = recipe_of(WORLDS[name], 0)
    assert shape.chunk_seconds * 16_000 % (4 * shape.hop) == 0


def tiny_world(seed):
    rng = np.random.default_rng(seed)
    audited, lessons = [], []
    for index in range(4):
        samples = (0.1 * rng.standard_normal(8000)).astype(np.float32)
        member = index % 2 == 0
        audited.append(Audited(f"clip/{index}", samples, "one two", member, member, str(index), "en", "noise"))
        if member:
            lessons.append(Lesson((samples,), "one two"))
    return Material(tuple(audited), lessons=tuple(lessons))


@pytest.fixture
def tiny(monkeypatch):
    shape = (("chunk_seconds", 2), ("hop", 320), ("layers", 1), ("width_audio", 32), ("width_text", 32))
    world = dataclasses.replace(WORLDS["S5"], name="tiny", material=tiny_world, epochs=2, shape=shape)
    monkeypatch.setitem(WORLDS, "tiny", world)
    return world


def test_a_world_ends_in_the_rows_of_an_audit_and_is_not_made_twice(tiny, tmp_path, monkeypatch):
    scores = make("tiny", 0, tmp_path)
    cells = sum(CONDITIONS[name].realizations for name in CONDITIONS)
    assert len(scores) == 4 * (3 * cells - 1)
    assert set(scores["condition"]) == set(CONDITIONS)
    assert {"clip_id", "dataset", "label", "trained", "group", "text", "target", "wer", "nll"} <= set(scores)
    assert (scores["label"] == scores["trained"]).all()
    assert set(summary(scores)["auc"]) == {"generated", "carried", "reference"}
    monkeypatch.setattr(trained, "score", None)
    pd.testing.assert_frame_equal(make("tiny", 0, tmp_path), scores)
    clips = pd.read_parquet(tmp_path / "tiny-0" / "clips.parquet")
    assert clips["duration_s"].tolist() == [0.5] * 4


def test_the_summary_orients_certainty_towards_members():
    rows = pd.DataFrame(
        {
            "scored_text": "generated",
            "condition": "original",
            "realization": 0,
            "label": [1, 1, 0, 0],
            "nll": [0.1, 0.3, 0.2, 0.9],
            "wer": [0.0, 0.5, 1.0, 1.0],
        }
    )
    found = summary(rows)
    assert found["auc"] == {"generated": {"original": 0.75}}  # of four pairs only (0.3, 0.2) is the wrong way round
    assert found["verbatim"]["original"] == {"member": 0.5, "non-member": 0.0}
    assert found["wer"]["original"] == {"member": 0.25, "non-member": 1.0}


def test_unknown_worlds_and_seeds_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such world"):
        make("S99", 0, tmp_path)
    with pytest.raises(InputError, match="seeds 0 to 2"):
        make("S4", 3, tmp_path)
