"""The bench measures what it says: both sides agree, counts are right, every figure says what it was taken from."""

import json
import math
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest
import torch

from precompute.__main__ import main
from precompute.bench import PARTS, chosen, features, full_size, memory, printed, roofline, run, scoring
from precompute.bench.child import in_child
from precompute.bench.figures import Part, Size
from precompute.bench.machine import describe, peak_memory_mb, sentence
from precompute.bench.plain import textbook_indicators
from precompute.bench.timing import interleaved, per_second, rate, ratio
from precompute.blind import ACOUSTIC
from precompute.blind.extract import measure
from precompute.clips import SAMPLE_RATE, InputError, content_hash, read_audio
from precompute.indicators import INDICATORS
from precompute.manifest import load_manifest
from precompute.scores import Plan

CONDITIONS = ("original", "silence", "silence_fixed", "noise")


def figures(part: Part) -> dict[str, float | str]:
    return {one.what: one.value for one in part.figures}


@pytest.fixture(scope="module")
def target():
    return scoring.loaded()


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> scoring.Ready:
    return scoring.prepare(scoring.choose(4), CONDITIONS, tmp_path_factory.mktemp("cache"), None)


@pytest.fixture(scope="module")
def both(target, ready):
    plan = Plan(CONDITIONS)
    return scoring.plain_side(target, ready, plan), scoring.our_side(target, ready, plan, None)


def test_the_plain_protocol_and_ours_agree_on_every_text_of_every_input(both):
    plain, ours = both
    assert len(plain) == len(ours) == 4 * Plan(CONDITIONS).texts_per_clip()
    part = Part("", "")
    scoring.add_agreement(part, plain, ours)
    share, largest, stepped = (one.value for one in part.figures)
    assert share == 1
    assert largest < 1e-4 and stepped < 1e-4


def test_texts_that_differ_are_counted_and_numbers_that_differ_are_named(both):
    plain, ours = both
    row, stats = ours[0]
    changed = [({**row, "entropy": row["entropy"] + 0.5}, stats), *ours[1:]]
    part = Part("", "")
    scoring.add_agreement(part, plain, changed)
    assert figures(part)["largest difference of 27 indicators (entropy)"] == pytest.approx(0.5, abs=1e-4)
    clip_id, one = plain[0]
    shorter = [(clip_id, type(one)(one.condition, one.realization, one.scored_text, one.ids[:-1], one.values))]
    part = Part("", "")
    scoring.add_agreement(part, [*shorter, *plain[1:]], ours)
    assert figures(part)["texts with equal token ids"] == 1 - 1 / len(plain)


def test_no_two_inputs_are_equal_but_those_meant_to_be(ready):
    audios = [audio for one in scoring.heard(ready, Plan(CONDITIONS)).values() for audio in one.values()]
    assert len({content_hash(audio) for audio in audios}) == len(audios) - 3  # four clips share one fixed silence
    assert "silence_fixed" not in scoring.DISTINCT


def test_textbook_indicators_of_a_uniform_and_of_a_certain_distribution():
    uniform = textbook_indicators(torch.zeros(3, 8), [1, 2, 3], "abc")
    assert tuple(sorted(uniform)) == tuple(sorted(INDICATORS))
    for name in ("nll", "entropy", "min_k_05", "max_k_60", "renyi_0_k0", "renyi_2_k10", "renyi_inf_k100"):
        assert uniform[name] == pytest.approx(math.log(8), abs=1e-6), name
    assert uniform["prob_gap"] == 0
    certain = torch.full((2, 8), -math.inf)
    certain[0, 4] = certain[1, 5] = 0.0
    found = textbook_indicators(certain, [4, 5], "")
    assert found["prob_gap"] == 1
    assert all(found[name] == 0 for name in INDICATORS if name != "prob_gap")


def test_textbook_indicators_worked_by_hand():
    # Tokens with probabilities 1/2 and 1/8 of (1/2, 1/4, 1/8, 1/8).
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.125, 0.125]] * 2))
    found = textbook_indicators(logits, [0, 2], "no")
    bits = math.log(2)
    assert found["nll"] == pytest.approx(2 * bits)
    assert (found["min_k_10"], found["max_k_10"]) == pytest.approx((3 * bits, bits))
    assert found["renyi_1_k100"] == found["entropy"] == pytest.approx(1.75 * bits)
    assert found["renyi_0_k0"] == pytest.approx(math.log(2))  # two entries are at least as likely as 1/4
    assert found["renyi_2_k0"] == pytest.approx(-math.log(0.25 + 0.0625 + 2 / 64))
    assert found["renyi_inf_k10"] == pytest.approx(bits)
    assert found["prob_gap"] == pytest.approx(0.25)


def test_costs_count_every_weight_of_the_decoder_once(target):
    costs = roofline.costs_of(target.model)
    decoder = [*target.model.model.language_model.layers.parameters(), target.model.lm_head.weight]
    products = sum(weight.numel() for weight in decoder if weight.ndim == 2)
    assert costs.token_flops == 2 * products
    assert costs.head_flops == 2 * target.model.lm_head.weight.numel()
    every = sum(one.numel() for one in target.model.parameters())
    embedding = target.model.get_input_embeddings().weight.numel()
    assert costs.decoder_bytes + costs.encoder_bytes == 4 * (every - embedding)
    text = target.model.config.text_config
    assert costs.cache_bytes == 4 * 2 * text.num_hidden_layers * text.hidden_size  # as many key heads as heads


def test_least_times_worked_by_hand():
    costs = roofline.Costs(100.0, 1000, 2000, 10.0, 0.0, 4, 2.0)
    fast, slow = roofline.Device(1e3, 1e9), roofline.Device(1e9, 1.0)
    one = roofline.Reading(windows=2, positions=5, written=3, given=(4, 1))
    # Bound by memory: encoder once, then prompt, two steps and one pass over given text with all weights each.
    found = roofline.least_seconds(costs, fast, [one], rows=8)
    assert found["reading"] == pytest.approx((1000 + 2000 + 5 * 4) / 1e3)
    assert found["writing"] == pytest.approx((2 * 2000 + (6 + 7) * 4) / 1e3)
    assert found["scoring"] == pytest.approx((2000 + 5 * 4) / 1e3)
    # Bound by arithmetic: 2 windows, 5 positions of which one needs the head, 2 tokens written, 3 given ones.
    found = roofline.least_seconds(costs, slow, [one], rows=8)
    assert found == pytest.approx({"reading": 200 + 5 * 10 - 4 * 2, "writing": 20, "scoring": 30})
    # What all prompts begin with is not computed for each.
    found = roofline.least_seconds(costs, slow, [replace(one, shared=4)], rows=8)
    assert found["reading"] == pytest.approx(200 + 10)
    # Together, two rows read the weights once.
    together = roofline.least_seconds(costs, fast, [one, one], rows=2)["writing"]
    assert together == pytest.approx((2 * 2000 + 2 * (6 + 7) * 4) / 1e3)
    assert roofline.least_seconds(costs, fast, [one, one], rows=1)["writing"] == pytest.approx(2 * (4000 + 52) / 1e3)


def test_a_reading_knows_what_was_written_and_given(target, ready, both):
    _, ours = both
    found = scoring.readings_of(target, ours, scoring.heard(ready, Plan(CONDITIONS)))
    assert len(found) == 4 * len(CONDITIONS) - 3
    texts = {(row["clip_id"], row["condition"], row["scored_text"]): stats.n_tokens for row, stats in ours}
    assert max(one.written for one in found) == max(n for key, n in texts.items() if key[2] == "generated")
    shared = max(found, key=lambda one: len(one.given))
    assert len(shared.given) > 2  # the fixed silence: references and carried texts of four clips
    seconds = {
        name: [len(audio) / 16_000 for audio in one.values()]
        for name, one in scoring.heard(ready, Plan(CONDITIONS)).items()
    }
    longest = max(max(values) for values in seconds.values())
    assert max(one.windows for one in found) == pytest.approx(longest / 3, abs=0.02)  # windows of 3 s
    assert all(one.positions > one.shared > 10 for one in found)


def test_the_share_attained_is_a_share(target, ready, both):
    part = Part("", "")
    scoring.add_roofline(part, target, both[1], scoring.heard(ready, Plan(CONDITIONS)), 1e3, 32)
    assert 0 < figures(part)["share of what bandwidth and arithmetic allow"] < 1
    assert figures(part)["matrix product"] > 0


SMALL_ENCODER = {
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_mel_bins": 16,
}
SMALL_DECODER = {
    "vocab_size": 3000,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def test_the_full_size_comparison_runs_on_the_same_classes_in_small():
    small = full_size.build("cpu", torch.float32, SMALL_ENCODER, SMALL_DECODER)
    assert type(small.model).__name__ == "AudioFlamingo3ForConditionalGeneration"
    part = Part("", "")
    full_size.compare(part, small, count=3, plain_count=1, max_new_tokens=4)
    found = figures(part)
    assert found["texts with equal token ids"] == 1
    assert next(value for name, value in found.items() if name.startswith("largest difference of 27")) < 1e-3
    assert found["audio read together"] == 6  # silence and noise of three clips, after the originals
    assert found["ours: peak memory of the device"] == "not measured: no GPU"


def test_full_size_is_audio_flamingo_3(monkeypatch):
    from transformers import AudioFlamingo3EncoderConfig

    encoder = AudioFlamingo3EncoderConfig(**full_size.ENCODER)
    assert (encoder.num_hidden_layers, encoder.hidden_size, encoder.num_mel_bins) == (32, 1280, 128)
    with torch.device("meta"):
        target = full_size.build("meta", torch.bfloat16)
    billions = sum(one.numel() for one in target.model.parameters()) / 1e9
    assert 8.0 < billions < 8.5
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [one.value for one in full_size.measure(Size(full_size=True)).figures] == ["not measured: no GPU"]


def test_sides_are_taken_in_turn_and_rounds_are_compared_with_themselves():
    seen = []
    times, results = interleaved({"a": lambda r: seen.append(("a", r)) or r, "b": lambda r: seen.append(("b", r))}, 3)
    assert seen == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert [one["a"] for one in results] == [0, 1, 2]
    assert all(len(one.wall) == len(one.cpu) == 3 for one in times.values())
    assert ratio([2.0, 6.0, 90.0], [1.0, 2.0, 3.0]) == 3.0  # the median of 2, 3 and 30
    assert rate([10, 10, 30], [1.0, 5.0, 5.0]) == 6.0
    speed, calls = per_second(lambda: None, 0.0)
    assert calls == 3 and speed > 0


def test_a_child_gives_its_result_and_its_own_peak_memory():
    held = np.ones(30_000_000)  # this process is larger than the child will be
    done = in_child("precompute.bench.machine:peak_memory_mb")
    assert 5 < done["result"] <= done["peak_mb"] < peak_memory_mb()
    assert held.nbytes < peak_memory_mb() * 1e6
    with pytest.raises(InputError, match=r"in a process of its own: .*nothing"):
        in_child("precompute.bench.machine:nothing")


def test_separate_calls_give_the_same_features_where_definitions_coincide(tmp_path):
    clip = features.ten_second_clips(1, tmp_path)[0]
    assert len(read_audio(clip)) == 10 * SAMPLE_RATE
    one, other = features.separate(clip), measure(clip).features
    assert set(one) == set(ACOUSTIC)
    assert features.difference([(one, other)]) < 1e-5
    changed = other | {"acoustic.rms_mean": other["acoustic.rms_mean"] + 0.5}
    assert features.difference([(one, changed)]) == pytest.approx(0.5, abs=1e-4)


def test_the_list_for_the_memory_measurement_has_no_equal_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "DISTINCT", 12)
    cohort = load_manifest(memory.write_list(40, tmp_path))[0]
    assert len(cohort.clips) == 40 and sum(cohort.labels) == 20
    assert len({content_hash(read_audio(clip)) for clip in cohort.clips}) == 40
    assert len({clip.text for clip in cohort.clips}) == 40
    assert all(0.6 < len(read_audio(clip)) / SAMPLE_RATE <= 1 for clip in cohort.clips)


def test_what_is_measured_by_default_and_by_name():
    assert chosen(None) == [name for name in PARTS if name != "memory"]
    assert set(chosen(None)) - set(chosen(None, quick=True)) == {"explorer"}
    assert chosen(None, memory=True) == list(PARTS)
    assert chosen("cache, scoring") == ["scoring", "cache"]
    assert chosen("explorer", quick=True) == ["explorer"]
    with pytest.raises(InputError, match="nothing called 'speed' is measured"):
        chosen("cache,speed")


def test_a_wrong_name_is_a_sentence_with_status_2(capsys):
    assert main(["bench", "--only", "speed"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: --only speed: nothing called 'speed' is measured")
    assert err.count("\n") == 1


def test_the_command_prints_json_and_columns_with_machine_unit_and_n(capsys):
    assert main(["bench", "--quick", "--only", "cache,full-size", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["parts"]) == {"cache", "full-size"}
    assert {"cpu", "cores", "torch_threads", "memory_gb", "gpu", "load"} == set(found["machine"])
    writes = found["parts"]["cache"]["figures"][0]
    assert writes["what"] == "writes" and writes["unit"] == "rows/s" and writes["n"].startswith("2,000 rows")
    assert writes["value"] > 0
    lines = printed(found).splitlines()
    assert lines[0] == sentence(found["machine"])
    assert any(line.split() == ["writes", *line.split()[1:]] and "rows/s" in line for line in lines)


def test_statistics_and_bundle_opening_are_measured():
    found = run(Namespace(quick=True, memory=False, full_size=False, only="statistics,bundle", bundle=None))["parts"]
    for part in found.values():
        assert part["title"] and part["how"]
        for figure in part["figures"]:
            assert figure["unit"] and figure["n"]
            assert math.isfinite(figure["value"]) and figure["value"] > 0


def test_the_machine_is_named():
    machine = describe()
    assert machine["cores"] >= 1 and machine["torch_threads"] >= 1
    assert machine["cpu"] in sentence(machine) and "cores" in sentence(machine)
