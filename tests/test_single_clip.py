"""One clip is ranked among known clips that its judge has not seen, or refused in words."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from precompute.attack import LinearModel, assign_folds, dataset_folds, fold_models, original
from precompute.blind import UPLOAD_FEATURES
from precompute.blind.acoustic import acoustic_features
from precompute.bundle import plain
from precompute.clips import InputError
from precompute.indicators import INDICATORS, STATISTICS, TokenStats, indicators
from precompute.single_clip import BLIND_METHOD, score_clip
from precompute.statistics.single_clip import fit_typicality
from tests.fake_scores import FakeDataset, fake_clips, fake_scores


class FakeTarget:
    """Writes the same two tokens for every clip, with the certainty it is given."""

    id, revision, dtype, family, prompts = "fake-target", "0", "float32", "fake", {"speech": "Say it."}

    def __init__(self, logprob: float = -0.1, tokens: tuple[str, ...] = ("hello", "<end>")) -> None:
        self.tokens = tokens
        self.logprob = logprob

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        n = len(self.tokens)
        numbers = np.tile([self.logprob, 0.1, -self.logprob, 0.1, -self.logprob, 0.9, -1.0, 0.5], (n, 1))
        assert numbers.shape == (n, len(STATISTICS))
        return [TokenStats.from_numbers(np.arange(n), numbers, self.tokens, "hello") for _ in audios]

    def score(self, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]) -> list[TokenStats]:
        raise AssertionError("a new clip has no text to score")

    def encode(self, text: str) -> list[int]:
        raise AssertionError("a new clip has no text to score")


def noise(level: float = 0.1, seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(round(seconds * 16_000)).astype(np.float32)


@pytest.fixture(scope="module")
def models() -> dict:
    table = fake_scores(fake_clips(FakeDataset("a", 70)), leak=2.0)
    table = table[table["condition"] == "original"]
    found = fold_models(table, {"a": dataset_folds(table)})
    rows = []
    for seed, seconds in enumerate(np.linspace(0.4, 0.6, 140)):
        known = acoustic_features(noise(0.1, seconds, seed=seed + 2)) | {"metadata.duration_s": seconds}
        rows.append([known[name] for name in UPLOAD_FEATURES])
    clips = np.array(rows)
    folds = assign_folds([str(i) for i in range(140)], np.repeat([1, 0], 70))
    centre = clips.mean(axis=0)
    upload = {
        "mean": centre.tolist(), "scale": np.ones(len(centre)).tolist(), "coef": np.zeros(len(centre)).tolist(),
        "intercept": 0.4, "centre": 0.0, "heldout": {"label": [1, 0, 0], "logit": [2.0, 1.0, 0.0]},
    }  # fmt: skip
    text = {"vocabulary": ["press"], "idf": [1.0], "coef": [2.0], "intercept": 0.5, "centre": 0.5}
    found["a"]["blind"] = {
        "upload": {"features": list(UPLOAD_FEATURES), "folds": [upload, upload]},
        "text": {"folds": [text]},
    }
    found["a"]["typicality"] = {"features": list(UPLOAD_FEATURES), "folds": fit_typicality(clips, folds)}
    return json.loads(json.dumps(plain(found), allow_nan=False))


def scored(models: dict, samples: np.ndarray | None = None, target: FakeTarget | None = None, **changes) -> dict:
    wanted = {"text": None, "dataset": "a", "target_id": "fake-target", "prompt": "Say it.", "max_new_tokens": 8}
    target = target or FakeTarget()
    return score_clip(
        samples=noise(seed=1) if samples is None else samples, models=models, target=target, **wanted | changes
    )


def test_a_typical_clip_gets_its_score_and_its_shares(models):
    found = scored(models, source={"sample_rate": 8000})
    assert found["generated_text"] == "hello" and found["refusal"] is None and found["typical"]
    assert found["tokens"][0] == {"text": "hello", "nll": 0.1, "entropy": 0.1, "gap": 0.9}
    assert set(INDICATORS) <= set(found["indicators"]) and found["indicators"]["nll"] == pytest.approx(0.1)
    assert found["score"] == pytest.approx(1 / (1 + np.exp(-np.mean(found["fold_logits"]))), abs=1e-6)
    assert (found["n_members"], found["n_non_members"]) == (70, 70)
    assert found["floor"] == 1 / 71
    assert found["source"] == {"sample_rate": 8000}
    json.dumps(found, allow_nan=False)


def test_the_share_is_counted_against_each_folds_own_held_out_non_members(models):
    found = scored(models)
    count = members = 0
    for logit, fold in zip(found["fold_logits"], models["a"]["fake-target"]["folds"], strict=True):
        known = zip(fold["heldout"]["label"], fold["heldout"]["logit"], strict=True)
        for label, other in known:
            count += label == 0 and other >= logit
            members += label == 1 and other <= logit
    assert found["share_non_members"] == (1 + count) / 71
    assert found["percentile_members"] == members / 70


def test_a_surer_target_gives_a_more_member_like_score(models):
    sure, unsure = scored(models, target=FakeTarget(-0.01)), scored(models, target=FakeTarget(-4.0))
    assert sure["score"] > unsure["score"]
    assert sure["share_non_members"] <= unsure["share_non_members"]


def test_a_known_clips_indicators_give_the_logit_its_own_fold_stored():
    table = fake_scores(fake_clips(FakeDataset("a", 70)), leak=2.0)
    found = fold_models(table, {"a": dataset_folds(table)})
    fold = found["a"]["fake-target"]["folds"][2]
    clip = fold["heldout"]["clip_id"][0]
    row = original(table).set_index("clip_id").loc[clip]
    stored = {name: float(row[name]) for name in INDICATORS}
    logit = LinearModel.from_numbers(fold).logit(np.array([[stored[name] for name in INDICATORS]]))[0]
    assert logit == pytest.approx(fold["heldout"]["logit"][0], abs=1e-8)


def test_a_clip_unlike_the_dataset_is_refused_in_words_and_not_ranked(models):
    found = scored(models, np.sin(np.arange(80_000) * 0.9).astype(np.float32))
    assert found["typical"] is False and found["typical_share"] == pytest.approx(1 / 141)
    assert "unlike the dataset" in found["refusal"] and "differs most in" in found["reason"]
    assert found["score"] is not None
    assert found["share_non_members"] is None and found["percentile_members"] is None
    assert found["blind"]["share_non_members"] is None


def test_a_clip_for_which_nothing_is_written_has_no_score(models):
    found = scored(models, target=FakeTarget(tokens=()))
    assert found["score"] is None and found["tokens"] == [] and found["fold_logits"] == []
    assert "wrote nothing" in found["refusal"]
    assert all(np.isnan(value) for value in indicators(FakeTarget(tokens=()).generate([noise()], "", 1)[0]).values())


def test_the_blind_score_says_that_it_knows_sound_and_length_only(models):
    found = scored(models)["blind"]
    # Logit 0.4 in both folds; one of two held-out non-members reaches it in each: (1 + 2) / (1 + 4).
    assert found["score"] == pytest.approx(1 / (1 + np.exp(-0.4)), abs=1e-6)
    assert found["share_non_members"] == 3 / 5 and found["floor"] == 1 / 5
    assert found["method"] == BLIND_METHOD and found["text_score"] is None
    assert scored(models, text="press")["blind"]["text_score"] == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-6)


def test_few_known_clips_cannot_refuse_and_say_so(models):
    few = json.loads(json.dumps(models))
    for fold in few["a"]["typicality"]["folds"]:
        fold["heldout"] = fold["heldout"][:3]
    found = scored(few, np.sin(np.arange(80_000) * 0.9).astype(np.float32))
    assert found["refusal"] is None and "too few" in found["reason"]


def test_without_a_typicality_model_likeness_is_said_to_be_unchecked(models):
    bare = {"a": {"fake-target": models["a"]["fake-target"]}}
    found = scored(bare)
    assert found["refusal"] is None and "not checked" in found["reason"] and found["blind"] is None


@pytest.mark.parametrize("changes", [{"dataset": "b"}, {"target_id": "another"}])
def test_a_bundle_without_the_models_says_so(models, changes):
    with pytest.raises(InputError, match="no models for"):
        scored(models, **changes)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((2, 5)), np.array([np.nan])])
def test_audio_that_cannot_be_used_is_refused(models, samples):
    with pytest.raises(InputError, match="no usable audio"):
        scored(models, samples)
