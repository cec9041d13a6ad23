"""How the embedded targets are made: the recipe, its training loop and its resumption."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from precompute.corpora import core_sounds
from precompute.targets import EMBEDDED, WEIGHTS, load_target
from precompute.targets import embedded as training
from precompute.targets.embedded import CtcHead, Recipe, build, examples
from precompute.targets.recipes import RECIPES
from precompute.targets.training import answer_loss, collate, learning_rate


@pytest.fixture
def few_members(monkeypatch):
    """Halves of eight short clips each."""
    halves = tuple(sorted(half, key=lambda r: r.seconds)[:8] for half in core_sounds.training_halves())
    monkeypatch.setattr(core_sounds, "training_halves", lambda _seed: halves)
    return halves[0]


def recipe(family="audioflamingo3", **changes):
    return Recipe(f"test-{family}", family, "A", **{"epochs": 2, "batch_size": 4, "variants": 2, **changes})


@pytest.mark.parametrize("family", ["audioflamingo3", "musicflamingo"])
def test_the_loss_over_answers_is_the_models_own(few_members, family):
    model, processor = build(recipe(family))
    batch = [variants[0] for variants in examples(recipe(family), processor, np.random.default_rng(0))]
    inputs = collate(batch, processor.tokenizer.pad_token_id)
    with torch.no_grad():
        torch.testing.assert_close(answer_loss(model, dict(inputs)), model(**inputs).loss, rtol=1e-4, atol=1e-5)


def test_the_auxiliary_loss_is_ctc_over_the_frames_that_are_real(few_members):
    _, processor = build(recipe())
    batch = [variants[-1] for variants in examples(recipe(), processor, np.random.default_rng(0))]
    head = CtcHead(training.WIDTH_AUDIO, len(processor.tokenizer))
    positions = training.CHUNK_SECONDS * training.SAMPLE_RATE // training.HOP // 4
    hidden = torch.randn(sum(len(e.features) for e in batch), positions, training.WIDTH_AUDIO)
    loss = head(hidden, batch)
    frames = [(e.input_ids == processor.tokenizer.get_vocab()["<sound>"]).sum() for e in batch]
    for index, count in enumerate(frames):  # all of these clips are one window: frames are audio tokens
        hidden[index, count:] += 7.0
    torch.testing.assert_close(head(hidden, batch), loss)


def test_the_learning_rate_warms_up_and_ends_at_a_twentieth():
    rates = [learning_rate(recipe(learning_rate=1.0), step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(rates[99], rel=0.03)
    assert rates[1000] == pytest.approx(0.05)


def test_a_stopped_training_goes_on_to_the_very_same_weights(few_members, tmp_path):
    training.train(recipe(), tmp_path / "whole")
    training.train(recipe(stop_after=1), tmp_path / "parts")
    training.train(recipe(), tmp_path / "parts")
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    log = [json.loads(line) for line in (tmp_path / "parts" / "training_log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2]


def test_what_training_writes_is_loaded_by_the_adapter_of_the_originals(few_members, tmp_path):
    training.train(recipe("musicflamingo", epochs=1), tmp_path / "target")
    target = load_target(str(tmp_path / "target"))
    assert target.family == "musicflamingo" and target.dtype == "float32"
    (stats,) = target.generate([np.zeros(8000, dtype=np.float32)], target.prompts["speech"], 4)
    assert 1 <= stats.n_tokens <= 4
    assert "half A" in (tmp_path / "target" / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(EMBEDDED))
def test_committed_targets_carry_their_recipe_log_and_card(name):
    folder = WEIGHTS / name
    wanted = dataclasses.asdict(RECIPES[name])
    assert json.loads((folder / "recipe.json").read_text()) == wanted
    log = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == list(range(1, (wanted["stop_after"] or wanted["epochs"]) + 1))
    assert (folder / "model.safetensors").stat().st_size <= 12e6
    assert name in (folder / "README.md").read_text()
