"""VibeVoice-ASR: the frame of its answers, what they say, and that nothing is drawn."""

import json

import numpy as np
import pytest
import torch

from precompute.clips import InputError
from precompute.targets import load_target
from precompute.targets.vibevoice import frame
from tests.tiny_families import vibevoice_asr


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return load_target(str(vibevoice_asr.build(tmp_path_factory.mktemp("vibevoice") / "tiny")), device="cpu")


def sound(seconds, seed):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def request(target, audio, prompt=""):
    return target.tokenizer.decode(target.inputs([audio], prompt)["input_ids"][0])


def fresh(target):
    return type(target)(target.model, target.processor, id="x", revision="x", prompts=target.prompts)


@pytest.mark.parametrize(("seconds", "end"), [(7, "7"), (2.9, "2.9"), (0.3, "0.3"), (15.434, "15.43"), (30.001, "30")])
def test_the_frame_is_a_segment_over_the_whole_clip(seconds, end):
    assert frame(seconds) == f'<|im_start|>assistant\n[{{"Start":0,"End":{end},"Speaker":0,"Content":"'
    (segment,) = json.loads(frame(seconds).removeprefix("<|im_start|>assistant\n") + 'said"}]')
    assert segment == {"Start": 0, "End": float(end), "Speaker": 0, "Content": "said"}


def test_the_request_is_the_models_own_and_ends_where_what_was_said_begins(target):
    text = request(target, sound(1.2, 0))
    assert text.startswith("<|im_start|>system\nYou are a helpful assistant that transcribes")
    assert "This is a 1.20 seconds audio, please transcribe it with these keys:" in text
    assert text.endswith("Content<|im_end|>\n" + frame(1.2))
    assert text.count("<|box_start|>") == 9  # 1.2 s at 24 kHz, 3,200 samples a frame


def test_a_prompt_is_extra_information_and_changes_what_is_scored(target):
    clip, ids = sound(1.2, 0), target.encode("Ada")
    assert "with extra info: About Ada\n\nPlease transcribe it" in request(target, clip, "About Ada")
    plain, told = (target.score([clip], prompt, [ids])[0] for prompt in ("", "About Ada"))
    assert np.abs(plain.logprob - told.logprob).max() > 1e-3
    with pytest.raises(InputError, match=r"the prompt may not contain <\|box_start\|>"):
        target.generate([clip], "<|box_start|>", 2)


def test_what_is_heard_is_not_drawn_although_the_model_can_draw(target):
    clip = sound(1.2, 0)
    inputs = target.inputs([clip], "")
    with torch.inference_mode():
        drawn = [target.model(**inputs).logits[0, -1] for _ in range(2)]
    assert (drawn[0] - drawn[1]).abs().max() > 1e-3
    one, other = (fresh(target).generate([clip], "", 6)[0] for _ in range(2))
    assert np.array_equal(one.ids, other.ids) and np.array_equal(one.numbers, other.numbers)


@pytest.mark.parametrize("text", ["plain", 'she said "no" \\ and left', "two\nlines", "número, введите", ""])
def test_a_reference_is_written_as_the_rest_of_a_json_answer(target, text):
    ids = target.encode(text)
    assert target.tokenizer.convert_ids_to_tokens(ids[-1]) == "<|im_end|>"
    answer = target.tokenizer.decode(ids[:-1])
    assert json.loads(frame(1).removeprefix("<|im_start|>assistant\n") + answer)[0]["Content"] == text
    assert target.score([sound(0.5, 1)], "", [ids])[0].text == text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('hello there"}]', "hello there"),
        ('one"},{"Start":1.5,"End":2,"Speaker":1,"Content":"two \\"2\\""}]', 'one two "2"'),
        ("cut off in the mid", "cut off in the mid"),
        ('cut","Speaker":0},{"Start":1,"End":2,"Speaker":0,"Content":"off in', "cut off in"),
        ("an escape \\x that is none", "an escape \\x that is none"),
        ("a last backslash \\", "a last backslash "),
    ],
)
def test_what_an_answer_says_is_the_content_of_its_segments(target, answer, said):
    ids = target.tokenizer(answer, add_special_tokens=False).input_ids
    assert target.text_of(ids) == said
    assert "".join(target.score([sound(0.5, 1)], "", [ids])[0].tokens) == answer


def test_a_clip_is_heard_at_24_kilohertz(target):
    clip = sound(1, 2)
    assert len(target.fit(clip)) == 24_000 and len(target.fit(clip[:0])) == 1
    assert target.processor.feature_extractor.sampling_rate == 24_000
