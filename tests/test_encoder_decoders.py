"""What Whisper, Moonshine and their like are asked, what they hear, and where their decoders end."""

import logging

import numpy as np
import pytest
import torch

from precompute.clips import InputError
from precompute.targets import base, load_target
from tests.tiny_families import (
    canary,
    cohere_asr,
    moonshine,
    moonshine_streaming,
    seamless_m4t,
    speech_to_text,
    whisper,
)

CLOSE = 1e-4


def sound(seconds, seed):
    """Noise of a seed."""
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((1.3, 0.4, 3.1, 2.2))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of all models, by name."""
    place = tmp_path_factory.mktemp("folders")
    return {
        "whisper": whisper.build(place / "whisper"),
        "english": whisper.build(place / "english", multilingual=False),
        "moonshine": moonshine.build(place / "moonshine"),
        "moonshine_streaming": moonshine_streaming.build(place / "moonshine_streaming"),
        "speech_to_text": speech_to_text.build(place / "speech_to_text"),
        "translator": speech_to_text.build(place / "translator", multilingual=True),
        "seamless_m4t": seamless_m4t.build(place / "seamless_m4t"),
        "cohere_asr": cohere_asr.build(place / "cohere_asr"),
        "canary": canary.build(place / "canary"),
    }


@pytest.fixture
def load(folders):
    return lambda name: load_target(str(folders[name]), device="cpu")


def tokens(target, names):
    return target.tokenizer.convert_tokens_to_ids(names.split())


def forced(target, prompt):
    """Names of the tokens that the answers about all sounds begin with."""
    rows = target.forced(target.listen(SOUNDS), prompt).tolist()
    return [" ".join(target.tokenizer.convert_ids_to_tokens(row)) for row in rows]


def largest_difference(one, other):
    assert [a.ids.tolist() for a in one] == [b.ids.tolist() for b in other]
    return max(np.abs(a.numbers - b.numbers).max(initial=0) for a, b in zip(one, other, strict=True))


def written_by_generate(target, audio, steps=6, **request):
    """What transformers' own Whisper decoding writes where nothing is suppressed."""
    features = target.processor(audio, sampling_rate=16_000, return_tensors="pt").input_features
    free = {"suppress_tokens": None, "begin_suppress_tokens": None, "force_unique_generate_call": True}
    return target.model.generate(features, max_new_tokens=steps, **request, **free)[0].tolist()


def test_whisper_is_asked_to_transcribe_in_the_language_it_detects_in_each_clip(load):
    target = load("whisper")
    features = target.processor(SOUNDS, sampling_rate=16_000, return_tensors="pt").input_features
    detected = target.tokenizer.convert_ids_to_tokens(target.model.detect_language(features).tolist())
    assert set(detected) <= {"<|en|>", "<|es|>", "<|fr|>", "<|ru|>"}
    expected = [f"<|startoftranscript|> {language} <|transcribe|> <|notimestamps|>" for language in detected]
    assert forced(target, "transcribe") == forced(target, "") == expected


@pytest.mark.parametrize(
    ("prompt", "request_"),
    [
        ("transcribe", {"task": "transcribe"}),
        ("transcribe es", {"task": "transcribe", "language": "es"}),
        ("translate", {"task": "translate"}),
        ("translate ru", {"task": "translate", "language": "ru"}),
    ],
)
def test_a_task_and_a_language_are_those_of_transformers_own_whisper(load, prompt, request_):
    target = load("whisper")
    for audio, row, stats in zip(SOUNDS, forced(target, prompt), target.generate(SOUNDS, prompt, 6), strict=True):
        assert tokens(target, row) + stats.ids.tolist() == written_by_generate(target, audio, **request_)


def test_other_text_is_what_whisper_takes_for_the_transcript_before(load):
    target = load("whisper")
    prompt = "Ada, Grace"
    ids = torch.as_tensor(target.processor.get_prompt_ids(prompt))
    for audio, row, stats in zip(SOUNDS, forced(target, prompt), target.generate(SOUNDS, prompt, 6), strict=True):
        written = written_by_generate(target, audio, task="transcribe", prompt_ids=ids)
        assert tokens(target, row) + stats.ids.tolist() == written
        assert row.startswith("<|startofprev|> ")
    plain, told = target.score(SOUNDS, "", [[9]] * 4), target.score(SOUNDS, prompt, [[9]] * 4)
    assert largest_difference(plain, told) > 10 * CLOSE


def test_an_english_only_whisper_has_neither_language_nor_task(load):
    target = load("english")
    assert forced(target, "transcribe") == ["<|startoftranscript|> <|notimestamps|>"] * 4
    for audio, stats in zip(SOUNDS, target.generate(SOUNDS, "transcribe", 6), strict=True):
        assert tokens(target, "<|startoftranscript|> <|notimestamps|>") + stats.ids.tolist() == written_by_generate(
            target, audio
        )


def test_a_whisper_tuned_to_one_language_is_asked_in_it(load):
    target = load("whisper")
    for named in ("<|fr|>", "fr", "french"):
        target.model.generation_config.language = named
        assert {row.split()[1] for row in forced(target, "transcribe")} == {"<|fr|>"}
    assert {row.split()[1] for row in forced(target, "transcribe es")} == {"<|es|>"}


def test_an_old_whisper_without_a_list_of_languages_finds_them_in_its_vocabulary(load):
    target = load("whisper")
    before = forced(target, "transcribe")
    del target.model.generation_config.lang_to_id
    assert sorted(target.languages) == ["en", "es", "fr", "ru"] and forced(target, "transcribe") == before


@pytest.mark.parametrize(
    ("name", "prompt", "sentence"),
    [
        ("whisper", "transcribe xx", "whisper: 'xx' is no language it writes; choose one of en, es, fr, ru"),
        ("whisper", "say <|endoftext|>", r"the prompt may not contain <\|endoftext\|>, which whisper reserves"),
        ("whisper", "word " * 40, r"whisper: the prompt has \d+ tokens, and 31 is the most it takes"),
        ("english", "translate", "english: it is English-only and does not translate"),
        ("english", "transcribe en", "english: 'en' is no language it writes; it is English-only"),
        ("moonshine", "Transcribe.", "moonshine: models of type moonshine take no prompt, so 'Transcribe.' cannot be"),
        ("translator", "xx", "translator: 'xx' is no language it writes; choose one of pt, fr, ru"),
        ("seamless_m4t", "en", "seamless_m4t: 'en' is no language it writes; choose one of eng, fra"),
        ("cohere_asr", "xx", r"cohere_asr: 'xx' is no language it writes \(Unsupported language"),
        ("canary", "xx", r"canary: 'xx' is no language it writes \("),
    ],
)
def test_what_a_model_cannot_be_asked_is_refused_in_one_sentence(load, name, prompt, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        load(name).generate(SOUNDS[:1], prompt, 2)
    assert "\n" not in str(error.value)


def test_whisper_hears_one_window_and_says_so(load, caplog):
    target = load("whisper")
    long = sound(9, 5)
    with caplog.at_level(logging.WARNING):
        heard = target.generate([long], "transcribe", 4)
    assert "whisper: only the first 8 s of a clip are heard" in caplog.text
    assert largest_difference(heard, target.generate([long[: 8 * 16_000]], "transcribe", 4)) == 0


@pytest.mark.parametrize(("name", "seconds"), [("cohere_asr", 30), ("moonshine_streaming", 512 * 0.02)])
def test_what_is_beyond_the_longest_a_model_can_hear_is_cut(load, name, seconds):
    target = load(name)
    assert target.longest == round(seconds * 16_000)
    long = sound(seconds + 0.5, 6)
    prompt = target.prompts["speech"]
    heard = target.score([long], prompt, [[9, 10]])
    assert largest_difference(heard, target.score([long[: target.longest]], prompt, [[9, 10]])) == 0


def test_whispers_text_begins_with_a_space_where_words_are_spaced(load):
    target = load("whisper")
    end = target.tokenizer.eos_token_id
    spaced = target.tokenizer(" a dog", add_special_tokens=False).input_ids
    assert target.encode("a dog") == target.encode(" a dog ") == [*spaced, end]
    for text in ("我喜欢", "ありがとう", "ขอบคุณ"):
        assert target.encode(text) == [*target.tokenizer(text, add_special_tokens=False).input_ids, end]
    assert target.encode("") == [end]


def test_more_tokens_than_the_decoder_has_room_for_are_refused(load):
    target = load("whisper")
    assert len(target.generate(SOUNDS[:1], "transcribe", 60)[0].ids) <= 60
    with pytest.raises(InputError, match="whisper: its decoder has room for 60 tokens, not for 61"):
        target.generate(SOUNDS[:1], "transcribe", 61)
    with pytest.raises(InputError, match="canary: its decoder has room for 55 tokens, not for 56"):
        load("canary").generate(SOUNDS[:1], "en", 56)


def test_a_text_without_room_is_not_scored_and_the_others_are(load, caplog):
    target = load("whisper")
    texts = [[9, 10, 11], [9] * 61, [9] * 60, [12]]
    with caplog.at_level(logging.WARNING):
        together = target.score(SOUNDS, "transcribe", texts)
    assert "a text of over 60 tokens has no room in its decoder and is not scored" in caplog.text
    assert [len(stats.ids) for stats in together] == [3, 0, 60, 1]
    alone = [target.score([SOUNDS[index]], "transcribe", [texts[index]])[0] for index in (0, 2, 3)]
    assert largest_difference([together[index] for index in (0, 2, 3)], alone) < CLOSE


@pytest.mark.parametrize("name", ["whisper", "moonshine", "canary"])
def test_every_clip_is_encoded_once_whatever_is_asked_and_scored(load, name):
    target = load(name)
    sizes = []
    hook = target.model.get_encoder().register_forward_hook(
        lambda _module, _inputs, output: sizes.append(len(output.last_hidden_state))
    )
    prompt = target.prompts["speech"]
    target.generate([SOUNDS[0], SOUNDS[1], SOUNDS[0]], prompt, 3)
    target.score(SOUNDS[:3], prompt, [[9], [9, 10], [11]])
    target.generate(SOUNDS[2:], {"whisper": "translate", "canary": "es"}.get(name, prompt), 3)
    hook.remove()
    assert sum(sizes) == 4


def test_what_is_remembered_of_heard_clips_is_bounded(load, monkeypatch):
    target = load("moonshine")
    one = sum(part.nbytes for part in target.encode_audio(SOUNDS[:1])[0])
    monkeypatch.setattr(base, "PREFILL_BYTES", 3 * one)
    before = target.generate(SOUNDS, "", 3)
    for seed in range(6):
        target.generate([sound(1.3, 100 + seed)], "", 1)
    assert 0 < sum(part.nbytes for clip in target._heard.values() for part in clip) <= 3 * one
    assert largest_difference(before, target.generate(SOUNDS, "", 3)) == 0


def test_moonshine_would_hear_the_padding_of_a_batch(load):
    """Its front end normalises over time, so no mask keeps padding out: why clips are encoded without any."""
    target = load("moonshine")
    short = SOUNDS[1]
    padded = torch.as_tensor(np.stack([np.pad(short, (0, 16_000)), sound(len(short) / 16_000 + 1, 8)]))
    mask = torch.ones(padded.shape, dtype=torch.long)
    mask[0, len(short) :] = 0
    with torch.inference_mode():
        both = target.model.get_encoder()(padded, attention_mask=mask)
    ((alone, real),) = target.encode_audio([short])
    assert real.all() and both.attention_mask[0].sum() >= len(alone)
    assert (both.last_hidden_state[0, : len(alone)] - alone).abs().max() > 100 * CLOSE


def test_speech_to_text_is_asked_for_a_language_where_it_has_a_choice(load):
    target = load("translator")
    assert forced(target, "fr") == ["</s> <lang:fr>"] * 4
    assert forced(target, "") == ["</s> <lang:pt>"] * 4
    features = target.processor(SOUNDS[2], sampling_rate=16_000, return_tensors="pt")
    language = target.tokenizer.lang_code_to_id["fr"]
    written = target.model.generate(**features, forced_bos_token_id=language, max_new_tokens=7)[0].tolist()
    assert written[2:] == target.generate(SOUNDS[2:3], "fr", 6)[0].ids.tolist()


def test_a_frame_that_only_completes_a_pair_is_not_attended_to_as_in_seamless_itself(load):
    target = load("seamless_m4t")
    clip = sound((400 + 14 * 160) / 16_000, 4)  # 15 frames: the eighth pair is not whole, and the adapter strides by 8
    ((frames, real),) = target.encode_audio([clip])
    assert len(frames) == 2 and real.tolist() == [1, 0]
    inputs = seamless_m4t.plain_inputs(target.processor, clip, "fra")
    logits = seamless_m4t.plain_logits(target.model, inputs, [9, 10])
    expected = logits.log_softmax(-1)[[0, 1], [9, 10]].numpy()
    assert target.score([clip], "fra", [[9, 10]])[0].logprob == pytest.approx(expected, abs=CLOSE)


def test_a_reference_in_capitals_is_scored_in_the_letters_speech_to_text_has(load):
    target = load("speech_to_text")
    assert target.encode("PLEASE ENTER YOUR NUMBER") == target.encode("please enter your number")
    assert target.tokenizer.unk_token_id not in target.encode("PLEASE ENTER YOUR NUMBER")


def test_silence_has_features_of_zero_where_it_has_no_deviation_to_be_divided_by(load):
    target = load("speech_to_text")
    quiet = np.zeros(8_000, dtype=np.float32)
    assert not target.features([quiet])["input_features"].any()
    loud = target.features([SOUNDS[0]])["input_features"]
    plain = target.processor(SOUNDS[0], sampling_rate=16_000, return_tensors="pt")["input_features"]
    assert torch.equal(loud, plain) and np.isfinite(target.score([quiet], "", [[9]])[0].logprob).all()


@pytest.mark.parametrize("name", ["cohere_asr", "canary"])
def test_a_language_is_asked_for_as_the_processor_asks(load, name):
    target = load(name)
    request = "<|startofcontext|> <|startoftranscript|> <|emo:undefined|> <|es|> <|es|> <|pnc|> <|noitn|>"
    (row, *_) = forced(target, "es")
    assert row.removeprefix("▁ ") == f"{request} <|notimestamp|> <|nodiarize|>"
    assert target.prompts["speech"] == "en" and "<|en|> <|en|>" in forced(target, "en")[0]
