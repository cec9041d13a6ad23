"""What single families need besides the demands on all: adapters, scales, prompts of their own, closed eyes."""

import importlib
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from precompute.clips import InputError
from precompute.targets import folder_revision, load_target
from precompute.targets.adapters import CONFIG, WEIGHTS
from precompute.targets.base import ChatTarget
from precompute.targets.families import NOT_AUDITED
from precompute.targets.fitting import fitted
from precompute.targets.granite import SYSTEM, missing_scale
from precompute.targets.hearing import hearing_only
from precompute.targets.phi4 import ADAPTER
from precompute.targets.voxtral import TRANSCRIBE, VoxtralTarget
from tests.test_families import SOUNDS
from tests.tiny_families import granite_speech

PROMPT = "What is heard?"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Model folders by model type, each built when it is first asked for."""
    built = {}

    def folder(model_type):
        if model_type not in built:
            builder = importlib.import_module(f"tests.tiny_families.{model_type}")
            built[model_type] = builder.build(tmp_path_factory.mktemp(model_type) / "tiny")
        return built[model_type]

    return folder


@pytest.fixture(scope="module")
def loaded(folders):
    """Targets by model type."""
    targets = {}

    def target(model_type):
        if model_type not in targets:
            targets[model_type] = load_target(str(folders(model_type)), device="cpu")
        return targets[model_type]

    return target


@pytest.fixture
def copy_of(folders, tmp_path):
    """A writable copy of a model folder."""
    return lambda model_type: shutil.copytree(folders(model_type), tmp_path / model_type)


def first_logits(target, audio, prompt=PROMPT):
    with torch.inference_mode():
        return ChatTarget.read(target, [audio], prompt).logits


def edit_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refusal(folder):
    with pytest.raises(InputError) as error:
        load_target(str(folder), device="cpu")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_clips_of_one_length_are_read_together_and_others_apart(loaded, monkeypatch):
    read, sizes = ChatTarget.read, []

    def counted(self, audios, prompt):
        sizes.append(len(audios))
        return read(self, audios, prompt)

    monkeypatch.setattr(ChatTarget, "read", counted)
    clips = [SOUNDS[0], SOUNDS[1], SOUNDS[0] / 2, SOUNDS[2]]
    target = loaded("phi4_multimodal")
    with torch.inference_mode():
        together = target.read(clips, PROMPT).logits
        assert sorted(sizes) == [1, 1, 2]
        alone = torch.cat([read(target, [clip], PROMPT).logits for clip in clips])
    assert together.numpy() == pytest.approx(alone.numpy(), abs=1e-4)


def test_phi_hears_long_clips_of_one_length_as_it_hears_one(loaded):
    target = loaded("phi4_multimodal")
    clips = [np.tile(SOUNDS[5], 6), np.tile(SOUNDS[5], 6)[::-1].copy()]  # 42 s: more than its encoder takes at once
    with torch.inference_mode():
        together = target.read(clips, PROMPT).logits
    alone = torch.cat([first_logits(target, clip) for clip in clips])
    assert together.numpy() == pytest.approx(alone.numpy(), abs=1e-4)


@pytest.mark.parametrize("model_type", ["granite_speech", "phi4_multimodal"])
def test_the_adapter_is_at_work(loaded, model_type):
    target = loaded(model_type)
    adapted = first_logits(target, SOUNDS[0])
    target.model.disable_adapters()
    bare = first_logits(target, SOUNDS[0])
    target.model.enable_adapters()
    assert (adapted - bare).abs().max() > 0.1
    assert torch.equal(first_logits(target, SOUNDS[0]), adapted)


def test_granite_without_its_adapter_is_refused(copy_of):
    folder = copy_of("granite_speech")
    (folder / CONFIG).unlink()
    (folder / WEIGHTS).unlink()
    assert "listens through a LoRA adapter, whose files" in refusal(folder)


def test_phi_without_its_speech_adapter_is_refused(copy_of):
    folder = copy_of("phi4_multimodal")
    shutil.rmtree(folder / ADAPTER)
    assert "listens through an adapter in its folder speech-lora, which is missing" in refusal(folder)


def test_the_revision_follows_an_adapter_in_a_folder_of_its_own(copy_of, loaded):
    folder = copy_of("phi4_multimodal")
    assert folder_revision(folder) == loaded("phi4_multimodal").revision
    tensors = load_file(folder / ADAPTER / WEIGHTS)
    save_file({name: weight * 2 for name, weight in tensors.items()}, folder / ADAPTER / WEIGHTS)
    assert folder_revision(folder) != loaded("phi4_multimodal").revision


@pytest.mark.parametrize(("model_type", "below"), [("granite_speech", "."), ("phi4_multimodal", ADAPTER)])
def test_an_adapter_that_is_a_pickle_is_refused(copy_of, model_type, below):
    folder = copy_of(model_type)
    (folder / below / WEIGHTS).rename(folder / below / "adapter_model.bin")
    assert "no weights in the safetensors format" in refusal(folder)


def test_an_adapter_is_refused_where_the_package_for_it_is_missing(folders, monkeypatch):
    folder = folders("granite_speech")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else find(name, *rest))
    assert "for which the package peft is needed" in refusal(folder)


def test_granite_is_divided_by_its_scale_once_whoever_divides(loaded, monkeypatch):
    model = loaded("granite_speech").model
    assert missing_scale(model) == loaded("granite_speech").scale == granite_speech.SCALE
    forward = model.forward

    def dividing(*arguments, **named):
        output = forward(*arguments, **named)
        output.logits = output.logits / granite_speech.SCALE
        return output

    monkeypatch.setattr(model, "forward", dividing)
    assert missing_scale(model) == 1


def test_the_prompt_of_granite_is_the_same_every_day(loaded):
    target = loaded("granite_speech")
    ids = target.inputs(SOUNDS[:1], PROMPT)["input_ids"][0]
    text = target.tokenizer.decode([one for one in ids.tolist() if one != target.model.config.audio_token_id])
    assert text == (
        f"<|start_of_role|>system<|end_of_role|>{SYSTEM}<|end_of_text|>\n"
        f"<|start_of_role|>user<|end_of_role|>{PROMPT}<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>"
    )


def test_granite_without_a_chat_template_is_refused(copy_of):
    folder = copy_of("granite_speech")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings.pop("chat_template", None)
    path.write_text(json.dumps(settings))
    assert "its tokenizer has no chat template" in refusal(folder)


@pytest.mark.parametrize(
    ("model_type", "token"),
    [
        ("phi4_multimodal", "<|end|>"),
        ("gemma3n", "<end_of_turn>"),
        ("gemma4_unified", "<turn|>"),
        ("glmasr", "<|user|>"),
        ("granite_speech", "<|end_of_text|>"),
        ("voxtral", "</s>"),
    ],
)
def test_a_reference_text_ends_with_the_token_that_closes_an_answer(loaded, model_type, token):
    target = loaded(model_type)
    assert target.tokenizer.convert_ids_to_tokens(target.encode("a text")[-1]) == token


@pytest.mark.parametrize("model_type", ["phi4_multimodal", "gemma3n", "gemma4_unified"])
def test_what_sees_is_left_out(loaded, model_type):
    target = loaded(model_type)
    assert target.processor.image_processor is None
    seeing = [name for name, _ in target.model.named_parameters() if "vision_tower" in name]
    assert seeing == []


def test_a_processor_without_eyes_still_refuses_a_wrong_part(loaded):
    kind = hearing_only(type(loaded("gemma3n").processor))
    with pytest.raises(TypeError, match="was expected"):
        kind(None, None, loaded("gemma3n").tokenizer)


def test_the_weights_of_an_image_tower_are_not_read(copy_of, loaded):
    folder = copy_of("gemma3n")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.vision_tower.timm_model.conv_stem.conv.weight"] = torch.ones(2, 3, 3, 3)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    target = load_target(str(folder), device="cpu")
    assert torch.allclose(first_logits(target, SOUNDS[1]), first_logits(loaded("gemma3n"), SOUNDS[1]), atol=1e-4)


def test_a_gemma_that_cannot_hear_is_refused(copy_of):
    folder = copy_of("gemma4_unified")
    edit_config(folder, audio_config=None)
    assert "no audio support" in refusal(folder)


def test_a_clip_beyond_what_is_heard_is_cut_and_the_log_says_so(loaded, caplog):
    target = loaded("gemma4_unified")
    long = np.tile(SOUNDS[5], 5)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(first_logits(target, long), first_logits(target, long[: 30 * 16_000]))
    assert [record.getMessage() for record in caplog.records] == ["tiny: only the first 30 s of a clip are heard"]


def test_audio_is_fitted_between_the_least_and_the_most():
    assert fitted(np.ones(2), 4).tolist() == [1, 1, 0, 0]
    assert fitted(np.ones(4), 4, 4).tolist() == [1, 1, 1, 1]
    assert fitted(np.arange(6), 1, 3).tolist() == [0, 1, 2]


def test_voxtral_is_asked_for_a_transcript_without_words(loaded):
    target = loaded("voxtral")
    ids = target.inputs(SOUNDS[:1], TRANSCRIBE)["input_ids"][0].tolist()
    layout = ["<s>", "[INST]", "[BEGIN_AUDIO]", *["[AUDIO]"] * 375, "[/INST]", "[TRANSCRIBE]"]
    assert target.tokenizer.convert_ids_to_tokens(ids) == layout


def test_voxtral_is_asked_anything_else_in_a_chat_after_the_same_audio(loaded):
    target = loaded("voxtral")
    chat, request = target.inputs(SOUNDS[:2], PROMPT), target.inputs(SOUNDS[:2], TRANSCRIBE)
    ids = chat["input_ids"][0].tolist()
    words = target.encode(PROMPT)[:-1]
    assert ids[-1 - len(words) :] == [*words, target.tokenizer.convert_tokens_to_ids("[/INST]")]
    assert ids[: -1 - len(words)] == request["input_ids"][0].tolist()[:-2]
    assert torch.equal(chat["input_features"], request["input_features"])
    scored = target.score(SOUNDS[:2], PROMPT, [target.encode("a piano"), target.encode("rain")])
    assert [one.text for one in scored] == ["a piano", "rain"]


def test_voxtral_hears_a_clip_longer_than_its_window_beside_a_short_one(loaded):
    target = loaded("voxtral")
    long = np.tile(SOUNDS[5], 5)
    assert target.inputs([long], TRANSCRIBE)["input_ids"][0].tolist().count(24) == 750
    with torch.inference_mode():
        together = target.read([SOUNDS[0], long], TRANSCRIBE).logits
    alone = torch.cat([first_logits(target, clip, TRANSCRIBE) for clip in (SOUNDS[0], long)])
    assert together.numpy() == pytest.approx(alone.numpy(), abs=1e-4)


def test_voxtral_takes_special_tokens_in_a_text_literally_and_refuses_them_in_a_prompt(loaded):
    target = loaded("voxtral")
    assert not set(target.encode("[AUDIO] </s>")[:-1]) & set(target.tokenizer.all_special_ids)
    with pytest.raises(InputError, match=r"may not contain \[AUDIO\]"):
        target.inputs(SOUNDS[:1], "What is [AUDIO]?")


def test_voxtral_without_the_package_that_lays_out_its_prompts_is_refused(loaded):
    target = loaded("voxtral")
    other = type("Processor", (), {"tokenizer": loaded("glmasr").tokenizer})()
    with pytest.raises(InputError, match="the package mistral-common, which is missing"):
        VoxtralTarget(target.model, other, id="tiny", revision="x")


@pytest.mark.parametrize("model_type", sorted(NOT_AUDITED))
def test_a_type_that_is_not_audited_is_refused_with_its_reason(tmp_path, model_type):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    sentence = refusal(tmp_path)
    assert sentence.endswith(f"cannot be audited: {NOT_AUDITED[model_type]}")
