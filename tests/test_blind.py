"""Blind features are finite for any sound, and blind scores are fitted inside the fold."""

import warnings

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from precompute.attack import assign_folds, sigmoid
from precompute.blind import ACOUSTIC, FAMILIES, METADATA, BlindFit, blind_scores, features
from precompute.blind.acoustic import acoustic_features
from precompute.blind.fingerprint import FINGERPRINT
from precompute.blind.text import terms, text_logit, vocabulary
from precompute.clips import Clip, InputError, resample
from precompute.statistics.roc import auc
from tests.fake_scores import FakeDataset, fake_clips, fake_features


def tone(hertz: float, seconds: float, rate: int = 16_000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16_000)).astype(np.float32)


@pytest.mark.parametrize(
    "samples",
    [
        noise(2.0),
        noise(0.1),
        np.zeros(1600, np.float32),
        np.zeros(32_000, np.float32),
        np.ones(16_000, np.float32),
        np.zeros(0, np.float32),
        noise(0.0001),
        np.array([np.nan, np.inf, 0.1], np.float32),
        1e-9 * noise(0.5),
        resample(tone(300, 1.0, 8000), 8000, 16_000),
    ],
    ids=["noise", "short", "short silence", "silence", "dc", "empty", "one sample", "not finite", "faint", "8 kHz"],
)
def test_acoustic_features_are_finite_and_quiet_for_any_sound(samples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = acoustic_features(samples)
    assert tuple(found) == ACOUSTIC
    assert np.isfinite(list(found.values())).all()


def test_acoustic_features_of_a_tone_are_its_own():
    found = acoustic_features(tone(220, 1.0))
    assert found["acoustic.f0_p50"] == pytest.approx(220, rel=0.02)
    assert found["acoustic.centroid_p50"] == pytest.approx(220, abs=25)
    assert found["acoustic.rms_p50"] == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert found["acoustic.zero_crossings_p50"] == pytest.approx(2 * 220 / 16_000, rel=0.05)


def test_band_limited_sound_shows_in_the_roll_off():
    narrow = resample(np.ascontiguousarray(noise(1.0)[:8000]), 8000, 16_000)
    assert (
        acoustic_features(narrow)["acoustic.rolloff_p90"] < 4100 < acoustic_features(noise(1.0))["acoustic.rolloff_p90"]
    )


def test_metadata_comes_from_the_header_and_the_transcript(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(200, 1.5, 8000), 8000, subtype="PCM_16")
    clip = Clip("a", path, text="press one now")
    found = features(clip, np.zeros(24_000, np.float32))
    assert set(found) == {*METADATA, *ACOUSTIC, *FINGERPRINT}
    size = path.stat().st_size
    wanted = {"duration_s": 1.5, "file_size": size, "word_count": 3, "character_count": 13, "sample_rate": 8000}
    wanted |= {"bit_rate": size * 8 / 1.5, "channels": 1, "container_wav": 1, "container_flac": 0}
    assert {name: found[f"metadata.{name}"] for name in wanted} == pytest.approx(wanted)
    half = features(Clip("b", path, start=0.0, end=0.75), np.zeros(12_000, np.float32))
    assert half["metadata.file_size"] == pytest.approx(size / 2)
    assert half["metadata.word_count"] == 0


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "broken.wav"
    path.write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"broken\.wav"):
        features(Clip("a", path), np.zeros(100, np.float32))


def test_terms_are_words_and_neighbouring_pairs():
    assert terms("Press ONE, now!") == ["press", "one", "now", "press one", "one now"]
    assert terms("") == []
    assert vocabulary(["a b", "a c", "c"]) == ["a", "c"]


def test_the_stored_text_model_scores_as_scikit_learn_does():
    texts = ["press one", "press two", "hold the line", "the line is busy", "press the star"]
    labels = [1, 1, 0, 0, 1]
    known = vocabulary(texts)
    vectors = TfidfVectorizer(analyzer=terms, vocabulary=known).fit(texts)
    model = LogisticRegression().fit(vectors.transform(texts), labels)
    stored = {"vocabulary": known, "idf": vectors.idf_, "coef": model.coef_[0], "intercept": model.intercept_[0]}
    for text in ["press the line", "nothing known", "", "THE the the"]:
        wanted = model.decision_function(vectors.transform([text]))[0]
        assert text_logit({**stored, "centre": 0.25}, text) == pytest.approx(wanted - 0.25, abs=1e-8)


def fitted(n: int = 30, shift: float = 0.0, texts: bool = True) -> tuple[pd.DataFrame, np.ndarray, BlindFit]:
    clips = fake_clips(FakeDataset("a", n, shift=shift))
    labels = clips["label"].to_numpy()
    folds = assign_folds(clips["clip_id"].tolist(), labels, n_splits=4)
    words = clips["text"].tolist() if texts else [None] * len(clips)
    return clips, folds, blind_scores(fake_features(clips, shift), words, labels, folds)


@pytest.fixture(scope="module")
def shifted() -> tuple[pd.DataFrame, np.ndarray, BlindFit]:
    return fitted(shift=2.5)


def test_every_family_finds_a_planted_shift(shifted):
    clips, _, fit = shifted
    labels = clips["label"].to_numpy()
    assert list(fit.scores) == [f"{name}_score" for name in FAMILIES]
    for name in set(FAMILIES) - {"fingerprint"}:
        assert auc(labels, fit.scores[f"{name}_score"].to_numpy()) > 0.75, name
    assert fit.scores["fingerprint_score"].isna().all()  # nothing is known of these files
    assert fit.top["acoustic"][0]["feature"] == ACOUSTIC[0] and fit.top["acoustic"][0]["weight"] > 0
    assert {fit.top["text"][i]["feature"].split()[0] for i in (0, 1)} <= {"invoice", "ledger"}


def test_without_transcripts_there_is_no_text_family_and_the_others_stand():
    _, _, fit = fitted(n=12, texts=False)
    assert fit.scores["text_score"].isna().all()
    assert fit.scores[["metadata_score", "acoustic_score", "joint_score", "boosted_score"]].notna().all(axis=None)
    assert fit.models["text"]["folds"] == []


@pytest.mark.parametrize("texts", [True, False])
def test_the_joint_family_is_one_regression_on_standardised_numbers_beside_words(texts):
    clips, folds, fit = fitted(n=12, texts=texts)
    table = fake_features(clips, 0.0)
    numbers = table[[name for name in (*METADATA, *ACOUSTIC) if name in table]].to_numpy(float)
    words, labels = clips["text"].to_numpy(), clips["label"].to_numpy()
    wanted = np.zeros(len(clips))
    for fold in np.unique(folds):
        training, held = folds != fold, folds == fold
        scale = StandardScaler().fit(numbers[training])
        parts = [[scale.transform(numbers[rows])] for rows in (training, held)]
        if texts:
            vectors = TfidfVectorizer(analyzer=terms, vocabulary=vocabulary(words[training])).fit(words[training])
            for part, rows in zip(parts, (training, held), strict=True):
                part.append(vectors.transform(words[rows]).toarray())
        known, new = map(np.hstack, parts)
        model = LogisticRegression(class_weight="balanced", max_iter=2000).fit(known, labels[training])
        wanted[held] = model.decision_function(new) - model.decision_function(known).mean()
    np.testing.assert_allclose(fit.scores["joint_score"], sigmoid(wanted), atol=1e-3)


def test_words_of_held_out_clips_are_not_in_their_folds_vocabulary():
    clips = fake_clips(FakeDataset("a", 12))
    labels = clips["label"].to_numpy()
    folds = assign_folds(clips["clip_id"].tolist(), labels, n_splits=3)
    texts = [f"{text} secret" if fold == 1 else text for text, fold in zip(clips["text"], folds, strict=True)]
    models = blind_scores(fake_features(clips, 0.0), texts, labels, folds).models["text"]["folds"]
    assert ["secret" in model["vocabulary"] for model in models] == [True, False, True]


def test_a_clips_own_features_never_enter_the_model_that_scores_it(shifted):
    clips, folds, fit = shifted
    table = fake_features(clips, 2.5)
    table.loc[folds == 0] *= 100.0
    again = blind_scores(table, clips["text"].tolist(), clips["label"].to_numpy(), folds)
    for family in ("metadata", "acoustic", "upload"):
        first, second = fit.models[family]["folds"][0], again.models[family]["folds"][0]
        assert first["coef"] == second["coef"] and first["mean"] == second["mean"]


def test_stored_models_are_plain_numbers_and_complete(shifted):
    _, _, fit = shifted
    fold = fit.models["upload"]["folds"][0]
    assert len(fold["mean"]) == len(fit.models["upload"]["features"]) == len(ACOUSTIC) + 1
    assert all(isinstance(value, float) for value in (*fold["coef"], fold["intercept"], *fold["heldout"]["logit"]))
    assert fit.models["boosted"]["folds"] == [] and fit.models["joint"]["folds"] == []
    assert fit.typicality["features"][-1] == "metadata.duration_s"
