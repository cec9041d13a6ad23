"""Protocols, word error and the stored form of token statistics."""

import io

import numpy as np
import pytest

from precompute.clips import InputError
from precompute.indicators import STATISTICS, TokenStats
from precompute.scoring import (
    PROTOCOLS,
    normalise,
    stats_from_arrays,
    stats_to_arrays,
    under_protocol,
    wer,
)


def made(ids, text="", fill=0.0):
    ids = np.asarray(ids, dtype=np.int64)
    numbers = np.full((len(ids), len(STATISTICS)), fill, dtype=np.float32)
    return TokenStats.from_numbers(ids, numbers, tuple(str(i) for i in ids), text)


class Echo:
    """A target that writes the length of a clip and remembers what it was asked."""

    id, revision, dtype, family, prompts = "echo", "0", "float32", "echo", {"speech": ""}

    def __init__(self):
        self.asked = []

    def generate(self, audios, prompt, max_new_tokens):
        self.asked.append(("generate", [len(audio) for audio in audios]))
        return [made([len(audio)], fill=1.0) for audio in audios]

    def score(self, audios, prompt, token_ids):
        self.asked.append(("score", [(len(a), tuple(ids)) for a, ids in zip(audios, token_ids, strict=True)]))
        return [made(ids, fill=2.0) for ids in token_ids]

    def encode(self, text):
        return [ord(character) for character in text]


def clip(length):
    return np.zeros(length, dtype=np.float32)


def test_two_passes_score_the_very_ids_of_the_first():
    target = Echo()
    stats = under_protocol(target, "two-pass").generate([clip(5), clip(3)], "p", 4)
    assert target.asked == [("generate", [5, 3]), ("score", [(5, (5,)), (3, (3,))])]
    assert [one.logprob.tolist() for one in stats] == [[2.0], [2.0]]
    assert set(PROTOCOLS) == {"single-pass", "two-pass"}


def test_a_single_pass_is_the_target_itself():
    target = Echo()
    assert under_protocol(target, "single-pass") is target


def test_an_unknown_protocol_is_named_in_one_sentence():
    with pytest.raises(InputError, match=r"unknown protocol 'three-pass': choose one of single-pass, two-pass"):
        under_protocol(Echo(), "three-pass")


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("Hello, World!", "hello world", 0.0),
        ("one two three four", "one two tree four", 0.25),
        ("one two", "", 1.0),
        ("one", "one two three", 2.0),
        ("Don’t worry", "dont worry", 0.0),
        ("twenty-one", "twenty one", 0.0),
        ("STRASSE", "Straße", 0.0),
        ("Пожалуйста, введите номер.", "пожалуйста введите номер", 0.0),
        ("déjà vu", "de\u0301ja\u0300 vu", 0.0),
    ],
)
def test_word_error_counts_words_and_not_case_or_punctuation(reference, hypothesis, expected):
    assert wer(reference, hypothesis) == pytest.approx(expected)


@pytest.mark.parametrize("reference", ["", None, " ... ", "?!"])
def test_word_error_is_unknown_without_a_reference_word(reference):
    assert np.isnan(wer(reference, "anything"))


def test_normalising_twice_changes_nothing_more():
    text = "Ça va?  It's 20–30 % (or “more”)…"
    assert normalise(normalise(text)) == normalise(text) == "ça va its 20 30 or more"


@pytest.mark.parametrize("ids", [[], [7], [5, 900, 151_668]])
def test_token_statistics_survive_the_store(ids):
    numbers = np.random.default_rng(3).normal(size=(len(ids), len(STATISTICS))).astype(np.float32)
    stats = TokenStats.from_numbers(
        np.asarray(ids, dtype=np.int64), numbers, (" д\x00", "\x00", "<|im_end|>")[: len(ids)], "д\x00 \n"
    )
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in stats_to_arrays(stats).items() if isinstance(v, np.ndarray)})
    buffer.seek(0)
    arrays = {**stats_to_arrays(stats), **np.load(buffer, allow_pickle=False)}
    again = stats_from_arrays(arrays)
    assert again.ids.tolist() == ids and again.tokens == stats.tokens and again.text == stats.text
    assert np.array_equal(again.numbers, stats.numbers) and again.numbers.dtype == np.float32


def test_parts_that_do_not_belong_together_are_refused():
    arrays = stats_to_arrays(made([1, 2]))
    with pytest.raises(ValueError, match="differ in length"):
        stats_from_arrays({**arrays, "ids": np.array([1])})
