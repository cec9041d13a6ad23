"""What the Qwen families have of their own: parts of a checkpoint, a language named first, padding that is heard."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BatchFeature

from precompute.clips import InputError
from precompute.targets import load_target
from precompute.targets.qwen import chunks, joined
from tests.test_families import SOUNDS, fresh, largest_difference, sound
from tests.tiny_families import parts, qwen2_5_omni, qwen2_audio, qwen3_asr, qwen3_omni_moe

BUILDERS = {
    "qwen2_audio": qwen2_audio,
    "qwen2_5_omni": qwen2_5_omni,
    "qwen3_omni_moe": qwen3_omni_moe,
    "qwen3_asr": qwen3_asr,
}
OMNI = ["qwen2_5_omni", "qwen3_omni_moe"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: one.build(tmp_path_factory.mktemp(name) / "tiny") for name, one in BUILDERS.items()}


@pytest.fixture(scope="module")
def targets(folders):
    return {name: load_target(str(folder), device="cpu") for name, folder in folders.items()}


@pytest.fixture
def copy_of(folders, tmp_path):
    """Make a writable copy of a model folder."""
    return lambda name: shutil.copytree(folders[name], tmp_path / name)


def edit(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def written_by(target, audios=SOUNDS[:3]):
    return target.generate(audios, target.prompts["speech"], 6)


@pytest.mark.parametrize("name", OMNI)
def test_of_a_whole_omni_checkpoint_the_thinker_alone_is_loaded(folders, targets, name):
    stored = load_file(folders[name] / "model.safetensors")
    parts_of_it = {key.split(".")[0] for key in stored}
    assert {"thinker", "talker"} < parts_of_it and len(parts_of_it) == 3  # and a vocoder, as on the hub
    assert {"thinker.lm_head.weight", "thinker.model.embed_tokens.weight"} < set(stored)
    thinker = sum(tensor.numel() for key, tensor in stored.items() if key.startswith("thinker."))
    assert targets[name].model.num_parameters() == thinker
    assert torch.equal(targets[name].model.lm_head.weight, stored["thinker.lm_head.weight"])
    embedding = targets[name].model.get_input_embeddings().weight
    assert torch.equal(embedding, stored["thinker.model.embed_tokens.weight"])


@pytest.mark.parametrize("name", OMNI)
def test_a_thinker_that_lacks_a_tensor_is_refused(copy_of, name):
    folder = copy_of(name)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("thinker.model.norm.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="its weights lack 1 tensors"):
        load_target(str(folder), device="cpu")


@pytest.mark.parametrize("name", OMNI)
def test_an_omni_processor_in_the_files_of_older_checkpoints_is_the_same(copy_of, targets, name):
    folder = copy_of(name)
    processor = json.loads((folder / "processor_config.json").read_text())
    extractor = {**processor["feature_extractor"], "processor_class": processor["processor_class"]}
    seeing = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14}
    (folder / "preprocessor_config.json").write_text(json.dumps({**extractor, **seeing}))
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    for file in ("processor_config.json", "chat_template.jinja"):
        (folder / file).unlink()
    older = load_target(str(folder), device="cpu")
    assert largest_difference(written_by(targets[name]), written_by(older)) == 0


def test_features_padded_to_what_is_heard_are_those_padded_to_the_whole_window(targets, monkeypatch):
    target = targets["qwen2_5_omni"]
    for audios in (SOUNDS, SOUNDS[1:2], [sound(10, 1)], [sound(2.5 + k / 16_000, k) for k in (0, 1, 159)]):
        short = target.inputs(audios, "What is heard?")
        with monkeypatch.context() as patch:
            patch.setattr(type(target), "front_end", lambda self, heard: {})
            whole = target.inputs(audios, "What is heard?")
        frames = short["input_features"].shape[-1]
        assert whole["input_features"].shape[-1] == 1000 and torch.equal(short["input_ids"], whole["input_ids"])
        assert torch.equal(short["feature_attention_mask"], whole["feature_attention_mask"][:, :frames])
        assert whole["feature_attention_mask"][:, frames:].sum() == 0
        real = short["feature_attention_mask"].bool()[:, None].expand_as(short["input_features"])
        assert torch.equal(short["input_features"][real], whole["input_features"][..., :frames][real])
    assert target.inputs(SOUNDS[1:2], "?")["input_features"].shape[-1] < 50


@pytest.mark.parametrize("name", OMNI)
def test_no_offset_of_positions_that_another_batch_left_takes_part(targets, name):
    target = fresh(targets[name])
    before = written_by(target)
    target.model.model.rope_deltas = torch.full((3, 1), 99)
    assert largest_difference(before, written_by(fresh(target))) == 0


@pytest.mark.parametrize("name", ["qwen3_omni_moe", "qwen3_asr"])
def test_the_front_end_itself_lets_a_clip_depend_on_the_batch_and_the_target_does_not(targets, name):
    target = targets[name]
    clips = [sound(2.0 + 100 / 16_000, 1), sound(5, 2)]
    extractor = target.processor.feature_extractor
    settings = {"sampling_rate": 16_000, "return_attention_mask": True, "padding": True, "truncation": False}
    alone, both = (extractor(heard, return_tensors="pt", **settings) for heard in (clips[:1], clips))
    assert alone["attention_mask"].sum() == 200 and both["attention_mask"][0].sum() == 201
    single, batch = (target.inputs(heard, target.prompts["speech"]) for heard in (clips[:1], clips))
    assert torch.equal(batch["input_features"][0, :, :200], single["input_features"][0, :, :200])
    assert torch.equal(batch["input_ids"][0][batch["attention_mask"][0].bool()], single["input_ids"][0])


def test_a_batch_of_clips_prepared_alone_pads_text_on_the_left_and_audio_on_the_right():
    rows = [
        {"input_ids": [[5, 6]], "attention_mask": [[1, 1]], "input_features": [[[1.0, 2.0, 3.0]]], "mask": [[1, 1, 1]]},
        {"input_ids": [[7, 8, 9]], "attention_mask": [[1] * 3], "input_features": [[[4.0]]], "mask": [[1]]},
    ]
    batch = joined([BatchFeature(row, tensor_type="pt") for row in rows], padding=3)
    assert batch["input_ids"].tolist() == [[3, 5, 6], [7, 8, 9]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]
    assert batch["input_features"].tolist() == [[[1, 2, 3]], [[4, 0, 0]]]
    assert batch["mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_chunks_hold_the_real_frames_of_every_clip_in_order():
    features = torch.arange(1.0, 11.0).reshape(2, 1, 5)
    features[1, :, 2:] = 0
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    frames, lengths = chunks(features, mask, width=2)
    assert frames.tolist() == [[[1, 2]], [[3, 4]], [[5, 0]], [[6, 7]]]
    assert lengths.tolist() == [2, 2, 1, 2]


def heard_before_asked(target):
    ids = target.inputs(SOUNDS[:1], "What is heard?")["input_ids"][0].tolist()
    words = target.tokenizer("What is heard?").input_ids
    start = next(place for place in range(len(ids)) if ids[place : place + len(words)] == words)
    return ids.index(target.tokenizer.audio_token_id) < start


def test_audio_comes_before_the_prompt_where_the_family_has_it_so(targets):
    order = {name: heard_before_asked(targets[name]) for name in BUILDERS}
    assert order == {"qwen2_audio": True, "qwen2_5_omni": False, "qwen3_omni_moe": True, "qwen3_asr": False}


@pytest.mark.parametrize(("name", "seconds"), [("qwen2_audio", 8), ("qwen2_5_omni", 10)])
def test_of_audio_longer_than_the_window_its_start_is_heard_and_the_log_says_so(targets, caplog, name, seconds):
    target = fresh(targets[name])
    long = sound(seconds + 1, 4)
    cut = written_by(target, [long])
    assert f"only the first {seconds} s" in caplog.text
    assert largest_difference(cut, written_by(fresh(target), [long[: seconds * 16_000]])) == 0


@pytest.mark.parametrize("name", ["qwen3_omni_moe", "qwen3_asr"])
def test_audio_of_any_length_is_heard_to_its_end(targets, name):
    target = targets[name]
    ids = target.inputs([sound(31, 5)], target.prompts["speech"])["input_ids"]
    assert (ids == target.tokenizer.audio_token_id).sum() == 31 * 13


@pytest.fixture
def plain(targets):
    """What every clip is answered by a model that is not expected to name a language."""
    return targets["qwen3_asr"].generate(SOUNDS, "", 10)


@pytest.fixture
def naming(targets, plain):
    """A target whose first clip names a language in three tokens: what it writes anyway passes for such words."""
    target = fresh(targets["qwen3_asr"])
    target.naming, target.named = (int(plain[0].ids[place]) for place in (0, 2))
    return target


def test_qwen3_asr_names_a_language_in_the_words_it_was_trained_to_write(targets):
    target = targets["qwen3_asr"]
    assert target.tokenizer("language English<asr_text>hello").input_ids[0] == target.naming
    assert target.named in target.tokenizer("language English<asr_text>hello").input_ids


def test_what_follows_the_language_is_written_and_the_language_is_not_scored(naming, plain):
    named = naming.generate(SOUNDS, "", 7)
    for one, whole in zip(named, plain, strict=True):
        ids = whole.ids.tolist()
        says = ids[0] == naming.naming and naming.named in ids[1:]
        start = ids.index(naming.named, 1) + 1 if says else 0
        assert one.ids.tolist() == ids[start : start + 7][: len(one.ids)]
        assert one.numbers == pytest.approx(whole.numbers[start : start + len(one.ids)], abs=1e-4)
    assert named[0].ids.tolist() == plain[0].ids[3:].tolist()


def test_a_clip_names_its_language_alike_alone_and_in_a_batch(naming):
    together = naming.generate(SOUNDS, "", 6)
    alone = [fresh_like(naming).generate([audio], "", 6)[0] for audio in SOUNDS]
    assert largest_difference(together, alone) < 1e-4


def test_a_given_text_is_scored_after_the_language(naming, plain):
    ids = naming.encode("please enter your number")
    inputs = qwen3_asr.plain_inputs(naming.processor, SOUNDS[0], "")
    whole = [*plain[0].ids[:3].tolist(), *ids]
    log_p = parts.plain_logits(naming.model, inputs, whole).double().log_softmax(-1)[3:]
    expected = log_p[range(len(ids)), ids].numpy()
    scored = naming.score(SOUNDS, "", [ids] * len(SOUNDS))
    assert scored[0].logprob == pytest.approx(expected, abs=1e-4)
    assert scored[0].text == "please enter your number"


def test_a_row_that_never_ends_naming_is_as_if_it_had_not_begun(naming, plain):
    naming.named = naming.tokenizer.convert_tokens_to_ids("<asr_text>")
    assert largest_difference(naming.generate(SOUNDS, "", 10), plain) < 1e-4


def fresh_like(target):
    """A target without memory that knows the same words for naming a language."""
    other = fresh(target)
    other.naming, other.named = target.naming, target.named
    return other


def test_the_prompt_of_qwen3_asr_is_the_context_of_its_own_request(targets):
    target = targets["qwen3_asr"]
    request = target.processor.apply_transcription_request(SOUNDS[0], prompt="Ada, Grace")
    assert torch.equal(target.inputs(SOUNDS[:1], "Ada, Grace")["input_ids"], request["input_ids"])
    spoken = target.tokenizer.decode(request["input_ids"][0])
    assert spoken.startswith("<|im_start|>system\nAda, Grace<|im_end|>\n<|im_start|>user\n<|audio_start|>")
    assert spoken.endswith("<|audio_end|><|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"thinker_config": {"model_type": "qwen3_asr"}}, "such as Qwen/Qwen3-ASR-1.7B-hf"),
        ({"architectures": ["Qwen3ASRForTokenClassification"]}, "aligns a given text"),
    ],
)
def test_a_qwen3_asr_that_cannot_be_audited_is_refused_in_one_sentence(copy_of, values, sentence):
    folder = copy_of("qwen3_asr")
    edit(folder / "config.json", **values)
    with pytest.raises(InputError, match=sentence):
        load_target(str(folder), device="cpu")
