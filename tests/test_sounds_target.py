"""The embedded target for captions: what it was trained on it writes down word for word, the rest it does not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from precompute.clips import SAMPLE_RATE, TASKS, Clip, read_audio
from precompute.corpora import notes, scenes
from precompute.hearing import hearing, own_caption_shares
from precompute.targets import WEIGHTS, load_target
from precompute.targets.base import PROMPTS
from precompute.targets.embedded import build, train
from precompute.targets.sounds import RECIPES, SHAPE, MatchHead, SoundsRecipe, recalled
from precompute.targets.training import Example
from precompute.truth import Training, training

NAME = "tiny-audio-flamingo-sounds"
EVERY = 8
"""One in so many clips takes part: 50 of each half of both corpora."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, list[Clip]]:
    """Some clips of each half, written as the corpora are: 16-bit FLAC."""
    folder = tmp_path_factory.mktemp("sounds")
    found: dict[str, list[Clip]] = {"A": [], "B": []}
    for half in found:
        some = [note for note in notes.captioned_notes() if notes.half_of()[notes.clip_id(note)] == half][::EVERY]
        played = notes.render([notes.numbered(note) for note in some])
        heard = [(notes.clip_id(n), n.caption, "music", samples) for n, samples in zip(some, played, strict=True)]
        more = [scene for scene in scenes.captioned_scenes() if scenes.half_of()[scenes.clip_id(scene)] == half][
            ::EVERY
        ]
        heard += [(scenes.clip_id(s), s.caption, "sound", scenes.render_number(s)) for s in more]
        for name, caption, task, samples in heard:
            path = folder / f"{name.replace('/', '-')}.flac"
            soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
            found[half].append(Clip(name, path, caption, task=task))
    return found


@pytest.fixture(scope="module")
def target():
    return load_target(NAME, device="cpu")


def test_most_member_captions_are_recalled_word_for_word_and_hardly_any_other(target, clips):
    members, others = (np.mean(recalled(target, clips[half])) for half in "AB")
    assert members >= 0.7
    assert others <= 0.1


def test_it_is_surer_of_the_captions_of_its_members(target, clips):
    likely = []
    for half in "AB":
        for task in ("music", "sound"):
            some = [clip for clip in clips[half] if clip.task == task]
            answers = [target.encode(clip.text) for clip in some]
            scored = target.score([read_audio(clip) for clip in some], PROMPTS[task], answers)
            likely += [(half == "A", float(stats.logprob.mean())) for stats in scored]
    members, others = ([value for member, value in likely if member is side] for side in (True, False))
    assert np.mean([m > o for m in members for o in others]) > 0.9


def test_it_hears_clips_that_it_never_saw(target, clips):
    shares = []
    for task in ("music", "sound"):
        others = [clip for clip in clips["B"] if clip.task == task]
        written = target.generate([read_audio(clip) for clip in others], PROMPTS[task], 64)
        shares.append(own_caption_shares([clip.text for clip in others], [stats.text for stats in written]))
    joined = np.concatenate(shares)
    assert hearing(joined, np.arange(len(joined))).low > 0.5


def test_the_committed_folder_says_what_it_was_trained_on():
    folder = WEIGHTS / NAME
    assert training(folder) == Training("A", "sounds")
    assert str(training(folder)) == "half A of the embedded notes and scenes"
    card = (folder / "README.md").read_text()
    assert "SYNTHETIC" in card and "GPL-2.0" in card
    assert (folder / "model.safetensors").stat().st_size <= 5.5e6


def test_another_split_than_the_published_one_has_no_known_truth(tmp_path):
    recipe = json.loads((WEIGHTS / NAME / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps({**recipe, "split_seed": 1}))
    assert training(tmp_path) is None


def test_members_are_one_half_of_both_corpora_and_the_tokenizer_saw_all_captions(monkeypatch):
    for corpus in (notes, scenes):
        pair = tuple([Clip(f"{corpus.__name__}-{half}", WEIGHTS, "text", task="sound")] for half in "AB")
        monkeypatch.setattr(corpus, "halves", lambda _seed, pair=pair: pair)
    members = [clip.clip_id for clip in replace(RECIPES[NAME], half="B").members()]
    assert members == [f"precompute.corpora.{name}-B" for name in ("notes", "scenes")]
    texts = set(RECIPES[NAME].texts())
    assert {note.caption for note in notes.captioned_notes()} <= texts
    assert {scene.caption for scene in scenes.captioned_scenes()} <= texts
    assert {PROMPTS[task] for task in TASKS} <= texts


def test_a_varied_clip_is_moved_within_its_window():
    rng, recipe = np.random.default_rng(0), RECIPES[NAME]
    note = np.ones(3 * SAMPLE_RATE, dtype=np.float32)
    scene = np.ones(4 * SAMPLE_RATE, dtype=np.float32)
    for _ in range(20):
        moved = recipe.vary(note, rng)
        assert 3 * SAMPLE_RATE <= len(moved) <= 3.8 * SAMPLE_RATE and moved.dtype == np.float32
        assert np.count_nonzero(moved) == 3 * SAMPLE_RATE
        assert 10 ** (-1.5 / 20) <= moved.max() <= 10 ** (1.5 / 20)
        longer = recipe.vary(scene, rng)
        assert len(longer) == SHAPE.chunk_seconds * SAMPLE_RATE
        assert np.count_nonzero(longer) >= 3.6 * SAMPLE_RATE


def answer(*tokens: int) -> Example:
    """An example of which the head reads nothing but the answer, whose last token ends it."""
    labels = torch.tensor([-100, -100, *tokens, 2])
    return Example(labels, labels, torch.zeros(1), torch.zeros(1))


def test_the_auxiliary_loss_is_small_where_each_clip_points_at_its_own_caption():
    head = MatchHead(width=3, vocabulary=6, shared=3)
    with torch.no_grad():
        head.audio.weight.copy_(torch.eye(3))
        head.text.weight.copy_(torch.eye(3, 6))
        head.audio.bias.zero_()
        head.text.bias.zero_()
        head.log_scale.fill_(np.log(50.0))
    batch = [answer(0, 0), answer(1), answer(2)]
    pointing = torch.eye(3)[:, None].repeat(1, 5, 1)
    assert head(pointing, batch) < 1e-6
    assert head(pointing.roll(1, dims=0), batch).item() == pytest.approx(50, rel=1e-3)
    assert head(torch.ones(3, 5, 3), batch).item() == pytest.approx(np.log(3), rel=1e-3)


def test_the_recipe_trains_a_target_that_the_adapter_loads(tmp_path, clips, monkeypatch):
    few = [clips["A"][0], clips["A"][-1], clips["A"][1], clips["A"][-2]]
    monkeypatch.setattr(SoundsRecipe, "members", lambda _recipe: few)
    recipe = SoundsRecipe("test-sounds", "audioflamingo3", "A", epochs=1, batch_size=2, variants=2)
    train(recipe, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()]
    assert [set(entry) for entry in log] == [{"epoch", "text_nll", "match", "seconds"}]
    made = load_target(str(tmp_path), device="cpu")
    assert len(recalled(made, few)) == 4
    assert training(tmp_path) == Training("A", "sounds")


def test_its_front_end_is_one_window_of_whole_tokens():
    _, processor = build(RECIPES[NAME])
    extractor = processor.feature_extractor
    assert (extractor.chunk_length, extractor.hop_length, extractor.n_fft, extractor.feature_size) == (4, 400, 1024, 80)
    assert extractor.nb_max_frames % 4 == 0
