"""Every family on its real classes with small random weights: the same demands on all, against transformers itself."""

import copy
import importlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import transformers
from scipy.special import log_softmax

import precompute.targets as targets
from precompute.clips import InputError
from precompute.indicators import INDICATORS, STATISTICS, indicators
from precompute.scoring import under_protocol
from precompute.targets import base as base_module
from precompute.targets import load_target, open_target
from precompute.targets.families import FAMILIES, NOT_AUDITED
from tests.tiny_families import parts

STEPS = 8
CLOSE = 1e-4
TEXTS = ("one", "two words", "", "a much longer sentence than that", "4", "número 5")


def sound(seconds, seed):
    """Noise swept by a tone, unlike that of any other seed."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(seed).normal(0, 0.1, len(time))
    return (noise * np.sin(2 * np.pi * (3 + 7 * seed) * time)).astype(np.float32)


SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((2.9, 0.3, 1.6, 4.3, 1.1, 7.0))]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request):
    """Every family in turn."""
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def builder(family):
    """The module that builds a small model of the family."""
    return importlib.import_module(f"tests.tiny_families.{family.model_type}")


@pytest.fixture(scope="module")
def folder(family, builder, tmp_path_factory):
    return builder.build(tmp_path_factory.mktemp(family.model_type) / "tiny")


@pytest.fixture(scope="module")
def loaded(folder):
    return load_target(str(folder), device="cpu")


@pytest.fixture(scope="module")
def prompt(family):
    return family.prompts["speech"]


@pytest.fixture(scope="module")
def written(loaded, prompt):
    """What the target writes about all sounds, in one batch."""
    return fresh(loaded).generate(SOUNDS, prompt, STEPS)


@pytest.fixture
def target(loaded):
    """The loaded model behind an adapter without memory of other tests."""
    return fresh(loaded)


def fresh(target):
    return type(target)(target.model, target.processor, id=target.id, revision=target.revision, prompts=target.prompts)


def plain(builder, name):
    """The family's own way to a reference value, or the common one."""
    return getattr(builder, name, getattr(parts, name))


def largest_difference(one, other):
    assert [a.ids.tolist() for a in one] == [b.ids.tolist() for b in other]
    return max(differences(a.numbers, b.numbers).max(initial=0) for a, b in zip(one, other, strict=True))


def differences(one, other):
    """Differences of token statistics; rounding may move one vocabulary entry over the threshold of renyi_0."""
    found = np.abs(one - other)
    column = STATISTICS.index("renyi_0")
    counts = np.abs(np.exp(one[:, column]) - np.exp(other[:, column]))
    found[:, column] = np.where(counts < 1.5, 0, found[:, column])
    return found


def test_no_family_is_both_audited_and_refused():
    assert not set(FAMILIES) & set(NOT_AUDITED)
    assert all(name == family.model_type for name, family in FAMILIES.items())


def test_the_folder_is_small_and_loads_as_the_registered_class(family, folder, loaded):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    assert f"{type(loaded).__module__}:{type(loaded).__name__}" == family.target
    assert type(loaded.model).__module__.startswith("transformers.models.")
    assert type(loaded.processor).__module__.startswith("transformers.models.")
    assert loaded.prompts == family.prompts and set(loaded.prompts) == {"speech", "sound", "music"}
    assert loaded.dtype == "float32" and loaded.revision == targets.folder_revision(folder)


def test_without_its_weights_it_makes_the_same_keys_and_ids_and_scores_nothing(folder, loaded, prompt, monkeypatch):
    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", None)
    known = open_target(str(folder), "float32")
    told = ("id", "revision", "dtype", "family", "prompts", "access", "limits", "decoding")
    assert [getattr(known, name) for name in told] == [getattr(loaded, name) for name in told]
    assert [known.encode(text) for text in TEXTS] == [loaded.encode(text) for text in TEXTS]
    for refused in (lambda: known.generate(SOUNDS, prompt, STEPS), lambda: known.score(SOUNDS[:2], prompt, [[1], [2]])):
        with pytest.raises(InputError, match=r"^tiny: its weights are with the workers, who left at least [62] texts"):
            refused()


def test_outputs_are_no_degenerate_case(target, prompt, written):
    assert len({tuple(one.ids) for one in written}) >= 4
    assert np.median([len(set(one.ids.tolist())) for one in written]) >= 4
    assert all(0.02 < indicators(one)["nll"] < 6 for one in written)
    other = target.generate([sound(len(SOUNDS[0]) / 16_000, 77)], prompt, STEPS)[0]
    assert abs(other.renyi_inf[0] - written[0].renyi_inf[0]) > 10 * CLOSE  # one length, so it is heard, not counted


def test_greedy_ids_are_those_of_transformers_own_generate(builder, target, prompt, written):
    for audio, one in zip(SOUNDS, written, strict=True):
        inputs = plain(builder, "plain_inputs")(target.processor, audio, prompt)
        assert plain(builder, "plain_ids")(target.model, inputs, STEPS) == one.ids.tolist()


def test_statistics_are_those_of_one_plain_forward_pass_without_cache(builder, target, prompt, written):
    for audio, one in zip(SOUNDS, written, strict=True):
        inputs = plain(builder, "plain_inputs")(target.processor, audio, prompt)
        logits = plain(builder, "plain_logits")(target.model, inputs, one.ids.tolist())
        log_p = log_softmax(logits.double().numpy(), axis=1)
        assert one.logprob == pytest.approx(log_p[np.arange(len(one.ids)), one.ids], abs=CLOSE)
        assert one.entropy == pytest.approx(-(np.exp(log_p) * log_p).sum(1), abs=CLOSE)
        assert one.renyi_inf == pytest.approx(-log_p.max(1), abs=CLOSE)


def test_the_identities_of_greedy_decoding_hold_on_a_real_pass(written):
    for one in written:
        values = indicators(one)
        assert values["nll"] == pytest.approx(values["renyi_inf_k100"], rel=1e-12)
        assert values["min_k_10"] == pytest.approx(values["renyi_inf_k10"], rel=1e-12)
        assert values["entropy"] == pytest.approx(values["renyi_1_k100"], rel=1e-12)


def test_a_clip_is_scored_the_same_alone_and_in_any_batch(target, prompt, written):
    alone = [target.generate([audio], prompt, STEPS)[0] for audio in SOUNDS]
    backwards = target.generate(SOUNDS[::-1], prompt, STEPS)[::-1]
    assert largest_difference(written, alone) < CLOSE
    assert largest_difference(written, backwards) < CLOSE


def test_a_batch_that_is_read_in_parts_is_scored_the_same(target, prompt, written, monkeypatch):
    monkeypatch.setattr(base_module, "READ_AT_ONCE", 2)
    assert largest_difference(written, fresh(target).generate(SOUNDS, prompt, STEPS)) < CLOSE


def test_given_text_is_scored_the_same_alone_in_any_batch_and_token_by_token(target, prompt, monkeypatch):
    texts = [target.encode(text) for text in TEXTS]
    together = target.score(SOUNDS, prompt, texts)
    alone = [target.score([audio], prompt, [ids])[0] for audio, ids in zip(SOUNDS, texts, strict=True)]
    assert [one.ids.tolist() for one in together] == texts
    assert largest_difference(together, alone) < CLOSE
    monkeypatch.setattr(base_module, "LOGITS_AT_ONCE", 1)
    assert largest_difference(together, fresh(target).score(SOUNDS, prompt, texts)) < CLOSE


def test_given_text_is_scored_as_by_one_plain_forward_pass(builder, target, prompt):
    texts = [target.encode(text) for text in TEXTS]
    for audio, ids, one in zip(SOUNDS, texts, target.score(SOUNDS, prompt, texts), strict=True):
        inputs = plain(builder, "plain_inputs")(target.processor, audio, prompt)
        log_p = log_softmax(plain(builder, "plain_logits")(target.model, inputs, ids).double().numpy(), axis=1)
        assert one.logprob == pytest.approx(log_p[np.arange(len(ids)), ids], abs=CLOSE)


def test_what_was_written_is_scored_with_the_numbers_of_the_pass_that_wrote_it(target, prompt, written):
    scored = target.score(SOUNDS, prompt, [one.ids.tolist() for one in written])
    assert largest_difference(written, scored) < CLOSE
    assert largest_difference(written, under_protocol(target, "two-pass").generate(SOUNDS, prompt, STEPS)) < CLOSE
    assert [(one.text, one.tokens) for one in scored] == [(one.text, one.tokens) for one in written]


def test_a_reference_text_is_encoded_whole_and_closed_by_the_end_token(target, prompt):
    for text in ("please enter your number", "la extensión, por favor", "x"):
        ids = target.encode(text)
        assert ids[-1] in target.end_ids and not set(ids[:-1]) & set(target.end_ids)
        one = target.score(SOUNDS[:1], prompt, [ids])[0]
        assert one.text.strip() == text and len(one.tokens) == len(ids)
    assert target.encode("")[-1] in target.end_ids


def test_earlier_batches_leave_no_trace_in_later_ones(builder, target, prompt, written):
    texts = [target.encode(text) for text in TEXTS]
    scored = target.score(SOUNDS, prompt, texts)
    target.generate(SOUNDS[2:4], getattr(builder, "OTHER_PROMPT", "Something else?"), 2)
    assert largest_difference(scored, target.score(SOUNDS, prompt, texts)) == 0
    assert largest_difference(written, target.generate(SOUNDS, prompt, STEPS)) < CLOSE
    repeated = target.generate([SOUNDS[1], SOUNDS[5], SOUNDS[1]], prompt, STEPS)
    assert largest_difference([written[1], written[5], written[1]], repeated) < CLOSE


def test_copies_share_the_weights_and_work_at_the_same_time_as_the_target_does_alone(
    target, prompt, written, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    several = target.side_by_side()
    assert [type(one) for one in several] == [type(target)] * 2 and several[0] is target
    assert target.side_by_side()[1] is several[1]
    weights = [{part.data_ptr() for part in one.model.parameters()} for one in several]
    assert weights[0] == weights[1] and several[1].model is not target.model

    ids = [target.encode(text) for text in TEXTS]

    def answer(one, part):
        return one.generate(SOUNDS[part], prompt, STEPS), one.score(SOUNDS[part], prompt, ids[part])

    expected = target.score(SOUNDS, prompt, ids)
    halves = (slice(0, 3), slice(3, 6))
    for turn in (halves, halves[::-1]):
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(answer, several, turn))
        for part, (wrote, scored) in zip(turn, found, strict=True):
            assert largest_difference(written[part], wrote) < CLOSE
            assert largest_difference(expected[part], scored) < CLOSE


def test_a_large_model_and_one_core_stay_alone(target, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert target.side_by_side() == [target]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(type(target.model), "num_parameters", lambda self: 10**9)
    assert target.side_by_side() == [target]


def test_finished_rows_leave_the_batch_and_the_others_go_on_unchanged(target, prompt, written):
    rows = [one.ids.tolist() for one in written]
    stop = next(token for row in rows for token in row[1:-1] if 0 < sum(token in other for other in rows) < len(rows))
    target.end_ids = [*target.end_ids, stop]
    ended = target.generate(SOUNDS, prompt, STEPS)
    lengths = [row.index(stop) + 1 if stop in row else len(row) for row in rows]
    assert [one.ids.tolist() for one in ended] == [row[:n] for row, n in zip(rows, lengths, strict=True)]
    for one, whole, length in zip(ended, written, lengths, strict=True):
        assert one.numbers == pytest.approx(whole.numbers[:length], abs=CLOSE)


def test_no_setting_of_a_generation_config_reaches_the_decoding(target, prompt, written, monkeypatch):
    unruly = copy.deepcopy(target.model.generation_config)
    unruly.do_sample, unruly.temperature, unruly.repetition_penalty = True, 5.0, 9.0
    unruly.no_repeat_ngram_size, unruly.min_new_tokens = 1, STEPS
    unruly.suppress_tokens = unruly.begin_suppress_tokens = written[0].ids.tolist()
    monkeypatch.setattr(target.model, "generation_config", unruly)
    assert largest_difference(written, fresh(target).generate(SOUNDS, prompt, STEPS)) < CLOSE


def test_the_vocabulary_is_not_spread_over_the_whole_prompt(target, prompt):
    sizes = []
    head = target.model.get_output_embeddings()
    hook = head.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[:-1].numel()))
    target.prefill(SOUNDS, prompt)
    hook.remove()
    assert 0 < max(sizes) <= 8 * len(SOUNDS)


def test_silent_empty_and_very_short_audio_is_scored_like_any_other(target, prompt):
    shorts = [np.zeros(16_000), np.zeros(0), sound(0.1, 9), sound(0.001, 9), sound(0.03, 9), np.zeros(80_000)]
    clips = [*(audio.astype(np.float32) for audio in shorts), SOUNDS[0]]
    together = target.generate(clips, prompt, 4)
    alone = [target.generate([audio], prompt, 4)[0] for audio in clips]
    assert largest_difference(together, alone) < CLOSE
    assert all(np.isfinite(indicators(one)[name]) for one in together for name in INDICATORS)


def test_nothing_to_write_or_to_score_gives_empty_statistics(target, prompt):
    for stats in (target.generate(SOUNDS[:2], prompt, 0), target.score(SOUNDS[:2], prompt, [[], []])):
        assert [(len(one.ids), one.text, one.tokens) for one in stats] == [(0, "", ())] * 2
    assert target.generate([], prompt, 4) == [] and target.score([], prompt, []) == []


def test_half_precision_weights_are_scored_with_float32_statistics(folder, prompt):
    target = load_target(str(folder), device="cpu", dtype="bfloat16")
    values = indicators(target.generate(SOUNDS[:2], prompt, 4)[0])
    assert target.dtype == open_target(str(folder), "bfloat16").dtype == "bfloat16" and np.isfinite(values["nll"])
    assert values["nll"] == pytest.approx(values["renyi_inf_k100"], rel=1e-12)
    assert target.prefill(SOUNDS[:2], prompt).logits.dtype == torch.float32
