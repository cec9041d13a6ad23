"""The embedded speech and the cohorts with planted truth drawn from it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from precompute.clips import InputError
from precompute.corpora import core_sounds, find_cohorts, limited
from precompute.corpora.core_sounds import COHORTS, distinct, normalise, planted_propensity, recordings, training_halves
from precompute.truth import Training, trained_on


@pytest.fixture(scope="module")
def cohorts():
    return {name: draw() for name, draw in COHORTS.items()}


def test_at_least_95_percent_of_the_wordings_take_part():
    wordings = sum(len({normalise(r.clip.text) for r in recordings(language)}) for language in core_sounds.VOICES)
    kept = sum(len(distinct((language,))) for language in core_sounds.VOICES)
    assert kept >= 0.95 * wordings


def test_no_transcript_stands_in_both_halves():
    half_a, half_b = ({normalise(r.clip.text) for r in half} for half in training_halves())
    assert not half_a & half_b


def test_a_cohort_holds_every_wording_once(cohorts):
    for cohort in cohorts.values():
        wordings = [normalise(clip.text) for clip in cohort.clips]
        assert len(set(wordings)) == len(wordings)


def test_halves_are_even_in_every_language_and_length_tertile():
    half_a, half_b = training_halves()
    for language in core_sounds.TRAINED_LANGUAGES:
        a, b = (np.array([r.seconds for r in half if r.clip.language == language]) for half in (half_a, half_b))
        assert abs(len(a) - len(b)) <= 0.1 * len(a)
        assert abs(np.median(a) - np.median(b)) < 0.25


def test_draws_are_the_same_every_time(cohorts):
    again = COHORTS["core-both"]()
    assert again.clips == cohorts["core-both"].clips
    assert again.labels == cohorts["core-both"].labels


def test_labels_are_the_truth_of_training_in_clean_and_both(cohorts):
    for name in ("core-clean", "core-both"):
        cohort = cohorts[name]
        assert [trained_on(clip, Training("A")) for clip in cohort.clips] == [label == 1 for label in cohort.labels]
        assert [trained_on(clip, Training("B")) for clip in cohort.clips] == [label == 0 for label in cohort.labels]


def test_nothing_was_trained_on_in_shift_and_unseen(cohorts):
    for name in ("core-shift", "core-unseen"):
        assert not any(trained_on(clip, Training(half)) for clip in cohorts[name].clips for half in "AB")


def test_length_alone_separates_the_shifted_cohorts_and_not_the_random_ones(cohorts):
    seconds = {r.clip.clip_id: r.seconds for language in core_sounds.VOICES for r in recordings(language)}
    auc = {
        name: roc_auc_score(cohort.labels, [seconds[clip.clip_id] for clip in cohort.clips])
        for name, cohort in cohorts.items()
    }
    assert min(auc["core-shift"], auc["core-both"]) > 0.75
    assert max(abs(auc["core-clean"] - 0.5), abs(auc["core-unseen"] - 0.5)) < 0.05


def test_the_planted_propensity_rises_with_length_and_topic():
    items = distinct(("ru",))
    chance = planted_propensity(items)
    assert ((chance > 0) & (chance < 1)).all()
    seconds = np.array([i.seconds for i in items])
    mail = np.array([i.name.startswith("vm-") for i in items])
    assert np.corrcoef(np.log(seconds[mail]), chance[mail])[0, 1] > 0.8
    assert chance[mail].mean() > chance[~mail].mean()


def test_a_limited_cohort_keeps_shared_clips_shared(cohorts):
    clean, both = (limited(cohorts[name], 100, seed=3) for name in ("core-clean", "core-both"))
    assert sum(clean.labels) == 100 and len(clean.labels) == 200
    wanted = {clip.clip_id for clip in clean.clips} & {clip.clip_id for clip in cohorts["core-both"].clips}
    assert wanted <= {clip.clip_id for clip in both.clips}


def test_a_name_that_is_neither_cohort_nor_file_is_refused_with_the_known_names():
    with pytest.raises(InputError, match=r"no such dataset: nope .*core-clean"):
        find_cohorts("nope")


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CORE_SOUNDS", str(tmp_path))
    recordings.cache_clear()
    with pytest.raises(InputError, match="asterisk-core-sounds-en"):
        recordings("en")
    recordings.cache_clear()
