"""Fidelity of a resynthesis: hand-worked measures, intervals that cover, voices that are another one or not."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import soundfile

from precompute.clips import SAMPLE_RATE, Clip, Cohort, read_audio
from precompute.conditions.casting import Casting
from precompute.conditions.fidelity import Measured, fidelity, fidelity_lines, measure, named, sentence, summary
from precompute.conditions.intelligibility import Listener, word_errors
from precompute.conditions.resampled import interval, typical, units_of
from precompute.conditions.voice_distance import (
    FEATURES,
    distance,
    other_voice,
    same_speaker_pairs,
    through_band,
    voice_features,
    within_spread,
)
from precompute.conditions.voices import Studio, Voice, speak
from precompute.store import Store

WIDE = len(FEATURES) + 1
TEXTS = [
    "Please enter your password.",
    "The person at this extension is on the phone.",
    "Thank you for calling.",
    "Your message has been saved.",
    "To repeat this message press one.",
    "All our lines are busy now.",
    "You have no new messages.",
    "That is not a valid number.",
]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "cache") as opened:
        yield opened


def tone(hertz, seconds=1.0, level=0.1, rate=SAMPLE_RATE):
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def spoken_cohort(folder, voices, rate=SAMPLE_RATE, name="spoken"):
    """Clips of two speakers, members and non-members alternating; each speaks every text."""
    clips = []
    for speaker, voice in voices.items():
        for k, text in enumerate(TEXTS):
            path = folder / f"{speaker}-{k}.wav"
            samples = speak(text, voice)
            soundfile.write(path, through_band(samples, rate)[:: SAMPLE_RATE // rate], rate)
            clips.append(Clip(f"{name}/{speaker}-{k}", path, text, group=speaker, language="en"))
    return Cohort(name, tuple(clips), tuple(k % 2 for k in range(len(clips))))


def scores_of(cohort, errors):
    """Rows of scores with the word errors by (target, condition, realization, label)."""
    return pd.DataFrame(
        [
            {"dataset": cohort.name, "clip_id": clip.clip_id, "label": label, "target": target, "wer": error,
             "condition": condition, "realization": realization, "scored_text": "generated"}
            for (target, condition, realization, wanted), error in errors.items()
            for clip, label in zip(cohort.clips, cohort.labels, strict=True)
            if label == wanted
        ]
    )  # fmt: skip


def test_length_and_level_are_those_of_the_resynthesis_over_those_of_the_original(tmp_path, store):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(200, 2.0), SAMPLE_RATE)
    measured = measure(Clip("a", path), "voice", tone(200, 2.0, 0.1), tone(200, 3.0, 0.2), store)
    assert measured.duration_ratio == pytest.approx(1.5)
    assert measured.level_db == pytest.approx(20 * math.log10(2), abs=0.01)
    assert math.isnan(measure(Clip("a", path), "voice", tone(200), np.zeros(100, np.float32), store).level_db)


def test_pitch_is_measured_in_semitones():
    low, high, silent = (voice_features(samples) for samples in (tone(110), tone(220), np.zeros(8000)))
    assert high[-1] - low[-1] == pytest.approx(12, abs=0.3)
    assert math.isnan(silent[-1]) and np.isfinite(silent[:-1]).all()
    assert len(low) == WIDE


def test_level_does_not_change_how_a_voice_is_described():
    quiet, loud = (voice_features(samples) for samples in (tone(150, level=0.05), tone(150, level=0.5)))
    np.testing.assert_allclose(quiet, loud, atol=0.5)


def test_through_a_telephones_band_nothing_above_4_khz_is_left_and_the_rest_stays():
    both = tone(1000) + tone(6000)
    heard = through_band(both, 8000)
    spectrum = np.abs(np.fft.rfft(heard)) / np.abs(np.fft.rfft(both)).max()
    assert len(heard) == len(both)
    assert spectrum[1000] == pytest.approx(1, abs=0.02) and spectrum[6000] < 1e-3
    assert through_band(both, 44_100) is both


def test_spread_is_pooled_around_each_speakers_mean():
    features = np.array([[0.0, 5.0], [2.0, 5.0], [100.0, np.nan], [104.0, np.nan]])
    found = within_spread(features, ["a", "a", "b", "b"])
    assert found[0] == pytest.approx(math.sqrt((2 + 8) / 2))  # squares around 1 and 102, two degrees of freedom
    assert math.isnan(found[1])  # does not vary, or is not known


def test_distance_counts_standard_deviations_over_what_both_clips_have():
    spread = np.array([1.0, 2.0, np.nan])
    assert distance(np.array([0.0, 0.0, 0.0]), np.array([3.0, 8.0, 9.0]), spread) == pytest.approx(math.sqrt(25 / 2))
    assert distance(np.array([0.0, np.nan, 0.0]), np.array([3.0, 8.0, 9.0]), spread) == 3.0
    assert distance(np.full(3, np.nan), np.zeros(3), spread) == 0.0


def test_every_clip_is_paired_once_with_another_of_its_speaker():
    speakers = ["a", "b", None, "a", "c", "b", "a", None]
    rows, partners = same_speaker_pairs(speakers, seed=0)
    assert rows.tolist() == sorted(partners.tolist()) == [0, 1, 3, 5, 6]
    assert all(i != j and speakers[i] == speakers[j] for i, j in zip(rows, partners, strict=True))
    assert [len(part) for part in same_speaker_pairs(["a", "b", None], 0)] == [0, 0]


def test_a_copy_of_the_speaker_is_not_another_voice_and_a_stranger_is():
    rng = np.random.default_rng(0)
    speakers = [f"speaker {k % 30}" for k in range(300)]
    centres = rng.normal(0, 5, (30, WIDE))
    originals, copies = (np.array([centres[k % 30] for k in range(300)]) + rng.normal(0, 1, (300, WIDE)) for _ in "ab")
    strangers = rng.normal(0, 5, (300, WIDE))
    own = other_voice(originals, copies, speakers, speakers, 0)
    other = other_voice(originals, strangers, speakers, speakers, 0)
    assert own["low"] < 0.5 < own["high"] and own["speakers"] == 30
    assert other["value"] == 1.0 == other["low"]


def test_without_a_speaker_of_two_clips_nothing_is_said_about_voices():
    features = np.zeros((3, WIDE))
    assert other_voice(features, features, ["a", "b", None], [0, 1, 2], 0) is None


def test_intervals_cover_the_true_median_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        found = typical(np.median, rng.normal(3, 1, 80), list(range(80)), seed=0)
        covered += found["low"] <= 3 <= found["high"]
    assert 88 <= covered <= 100


def test_an_interval_over_groups_is_wider_where_clips_of_a_group_are_alike():
    values = np.repeat(np.random.default_rng(2).normal(0, 1, 25), 10)
    groups = [f"group {k // 10}" for k in range(250)]
    alone, together = (typical(np.mean, values, units, 0) for units in (list(range(250)), groups))
    assert together["high"] - together["low"] > 2 * (alone["high"] - alone["low"])


def test_values_that_are_not_finite_do_not_count_and_none_leaves_none():
    assert typical(np.mean, np.array([1.0, np.nan, 3.0]), [0, 1, 2], 0)["value"] == 2
    assert typical(np.mean, np.array([np.nan]), [0], 0) is None
    assert interval(lambda rows: 1.0, [], 0) is None


def test_groups_are_resampled_whole_where_there_are_enough_of_them():
    clips = [Clip(str(k), f"{k}.wav", group=f"g{k // 2}") for k in range(50)]
    assert len(set(units_of(clips))) == 25
    assert len(set(units_of(clips[:20]))) == 20


def test_a_resynthesis_in_another_voice_is_told_from_one_in_the_same(tmp_path, store):
    cohort = spoken_cohort(tmp_path, {"rms": Voice("flite", "rms"), "awb": Voice("flite", "awb")}, rate=8000)
    asked = Casting(speech=Voice("flite"))  # slt, rms, awb: realizations 1 and 2 speak as one of the speakers does
    with Studio() as studio:
        rows = fidelity([cohort], store, studio, asked)
        alone = dataclasses.replace(cohort, clips=cohort.clips[:8], labels=cohort.labels[:8])
        own = fidelity([alone], store, studio, asked)[1]
    assert [row["voice"] for row in rows] == ["flite slt", "flite rms", "flite awb"]
    assert rows[0]["other_voice"]["low"] > 0.9 and rows[0]["n"] == 16 and rows[0]["unit"] == "clip"
    assert own["other_voice"]["high"] < 0.1  # the very same samples, through the same band
    assert own["duration_ratio"]["value"] == pytest.approx(1, abs=0.001)
    assert own["level_db"]["value"] == pytest.approx(0, abs=0.3)
    assert own["pitch_semitones"]["value"] == pytest.approx(0, abs=0.1)
    assert rows[0]["pitch_semitones"]["value"] > 3
    assert "by this measure another voice" in rows[0]["sentence"]
    assert "hardly another voice" in own["sentence"]
    json.dumps(rows, allow_nan=False)


def test_a_recogniser_is_asked_once_per_audio_and_its_word_errors_are_counted(tmp_path, store):
    cohort = spoken_cohort(tmp_path, {"kal16": Voice("flite", "kal16")})
    truth = {read_audio(clip).tobytes(): clip.text for clip in cohort.clips}
    asked = []

    def transcribe(samples):
        asked.append(len(samples))
        return truth.get(samples.tobytes(), "unintelligible")

    listener = Listener("recogniser@1", transcribe)
    with Studio() as studio:
        rows = fidelity([cohort], store, studio, listener=listener)
        calls = len(asked)
        again = fidelity([cohort], store, studio, listener=listener)
    assert calls == len(asked) == 4 * len(TEXTS)
    assert rows == again
    for row in rows:
        assert row["wer"]["original"] == 0.0 and row["wer"]["value"] >= 1.0
        assert row["wer"]["n"] == len(TEXTS) and row["wer"]["by"] == "recogniser@1"
        assert "Word error of recogniser@1 on 8 clips" in row["sentence"]


def test_without_a_recogniser_the_best_reading_target_is_asked_on_non_members_only(tmp_path):
    cohort = spoken_cohort(tmp_path, {"awb": Voice("flite", "awb")})
    errors = {
        ("poor", "original", 0, 0): 0.9,
        ("poor", "resynthesis", 1, 0): 0.1,
        ("good", "original", 0, 0): 0.25,
        ("good", "resynthesis", 1, 0): 0.5,
        ("good", "original", 0, 1): 0.0,
        ("good", "resynthesis", 1, 1): 0.0,
    }
    found = word_errors(scores_of(cohort, errors), cohort, 1, seed=0)
    assert found == {"value": 0.5, "low": 0.5, "high": 0.5, "original": 0.25, "n": 4, "by": "good"}
    assert word_errors(scores_of(cohort, errors), cohort, 2, seed=0) is None
    silent = dataclasses.replace(cohort, clips=tuple(dataclasses.replace(c, task="sound") for c in cohort.clips))
    assert word_errors(scores_of(silent, errors), silent, 1, seed=0) is None


def test_clips_that_cannot_be_resynthesised_are_counted(tmp_path, store):
    cohort = spoken_cohort(tmp_path, {"awb": Voice("flite", "awb")})
    clips = tuple(dataclasses.replace(clip, text=None) if k < 3 else clip for k, clip in enumerate(cohort.clips))
    partly = dataclasses.replace(cohort, clips=clips)
    mute = dataclasses.replace(cohort, name="mute", clips=tuple(dataclasses.replace(c, text=None) for c in clips))
    with Studio() as studio:
        rows = fidelity([partly, mute], store, studio)
        told = fidelity([partly], store, studio, written={clips[0].clip_id: "What the target wrote."})
    assert (rows[0]["n"], rows[0]["n_missing"], told[0]["n_missing"]) == (5, 3, 2)
    assert "3 more could not be made" in rows[0]["sentence"]
    assert rows[3]["sentence"] == "None of 8 clips could be resynthesised."
    assert rows[3]["duration_ratio"] is None and rows[3]["other_voice"] is None


def test_of_sounds_only_length_and_level_are_reported(tmp_path, store):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(300), SAMPLE_RATE)
    clip = Clip("a", path, text="A hum.", task="sound", group="g")
    row = summary([measure(clip, "rendered sound", tone(300), tone(400, 2.0), store)] * 3, 3, seed=0)
    assert row["duration_ratio"]["value"] == 2.0
    assert row["other_voice"] is None and row["pitch_semitones"] is None
    assert "voice" not in sentence({**row, "wer": None})


def test_a_report_says_what_the_numbers_are_before_it_gives_them(tmp_path, store):
    assert fidelity_lines([]) == []
    with Studio() as studio:
        rows = fidelity([spoken_cohort(tmp_path, {"awb": Voice("flite", "awb")})], store, studio)
    about, *lines = fidelity_lines(rows)
    assert "no trained speaker verifier" in about
    assert [line.split(":")[0] for line in lines] == [f"spoken, realization {k}" for k in range(3)]


def test_open_cases_are_called_open():
    row = {
        "voice": "v",
        "n": 9,
        "n_missing": 0,
        "duration_ratio": {"value": 1.0, "low": 0.9, "high": 1.1},
        "level_db": None,
        "pitch_semitones": None,
        "other_voice": {"value": 0.7, "low": 0.6, "high": 0.8},
        "wer": None,
    }
    assert sentence(row).endswith("0.70 [0.60, 0.80] of comparisons: which leaves open whether it is another voice.")
    assert named(["b", "a", "b"]) == "a, b" and named("fedcba") == "a, b, c, d and 2 more"


def test_measured_pairs_of_unknown_pitch_have_no_distance_in_pitch():
    nothing = np.append(np.zeros(WIDE - 1), np.nan)
    pair = Measured(Clip("a", "a.wav"), "v", 1.0, float("nan"), nothing, nothing)
    row = summary([pair, pair], 2, seed=0)
    assert row["pitch_semitones"] is None and row["level_db"] is None
