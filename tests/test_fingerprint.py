"""The recording fingerprint reads what each edit leaves behind, and names what separates the classes."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.stats import false_discovery_control, mannwhitneyu

from precompute.attack import assign_folds
from precompute.blind.acoustic import ACOUSTIC
from precompute.blind.fingerprint import (
    EXPLANATIONS,
    FINGERPRINT,
    UNITS,
    fingerprint_features,
)
from precompute.blind.metadata import METADATA
from precompute.blind.planted import EDITS, draw, family_scores, main, measure, planted_clips, study
from precompute.blind.properties import PROPERTIES, separating_properties, words
from precompute.blind.trees import trees_fold
from precompute.clips import Clip, InputError
from precompute.statistics.roc import auc

RATE = 8000


def written(folder, samples, rate=RATE, subtype="PCM_16", name="clip.wav", **span) -> Clip:
    soundfile.write(folder / name, samples, rate, subtype=subtype)
    return Clip("clip", folder / name, **span)


def found(folder, samples, **how) -> dict[str, float]:
    values = fingerprint_features(written(folder, samples, **how))
    return {name.removeprefix("fingerprint."): value for name, value in values.items()}


def hiss(seconds: float, steps: float, seed: int = 0) -> np.ndarray:
    return np.rint(steps * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.int16)


@pytest.mark.parametrize(
    "how",
    [
        {"samples": hiss(1.0, 500)},
        {"samples": np.zeros(RATE, np.int16)},
        {"samples": np.zeros(1, np.int16)},
        {"samples": np.array([12_000], np.int16)},
        {"samples": np.array([1, -1], np.int16)},
        {"samples": np.full(4000, 32_767, np.int16)},
        {"samples": np.full(4000, -32_768, np.int16)},
        {"samples": hiss(0.02, 500)},
        {"samples": hiss(0.5, 500) / 32_768, "subtype": "FLOAT"},
        {"samples": np.array([np.nan, np.inf, -np.inf, 1e30] * 200), "subtype": "DOUBLE"},
        {"samples": hiss(1.0, 500).reshape(-1, 2)},
        {"samples": hiss(1.0, 500), "subtype": "PCM_24"},
        {"samples": hiss(1.0, 500), "subtype": "PCM_U8"},
        {"samples": hiss(1.0, 500), "subtype": "ULAW"},
        {"samples": hiss(1.0, 500), "rate": 44_100},
        {"samples": hiss(1.0, 500), "name": "clip.flac"},
        {"samples": hiss(1.0, 500), "subtype": "VORBIS", "name": "clip.ogg"},
    ],
    ids=lambda how: f"{how['samples'].shape}-{how.get('subtype', 'PCM_16')}",
)
def test_every_file_gives_the_same_finite_features_without_a_warning(tmp_path, how):
    clip = written(tmp_path, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = fingerprint_features(clip)
    assert tuple(values) == FINGERPRINT
    assert np.isfinite(list(values.values())).all()


def test_a_span_is_measured_as_if_it_were_its_own_file(tmp_path):
    samples = hiss(2.0, 300)
    cut = found(tmp_path, samples, start=0.5, end=1.25)
    own = found(tmp_path, samples[4000:10_000])
    assert cut == pytest.approx(own)


def test_a_file_that_is_missing_or_a_span_without_samples_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        fingerprint_features(Clip("none", tmp_path / "none.wav"))
    with pytest.raises(InputError, match="holds no audio"):
        fingerprint_features(written(tmp_path, hiss(0.1, 100), start=3.0))


def test_silence_level_offset_and_peak_are_read_in_their_units(tmp_path):
    samples = np.concatenate([np.zeros(800), np.full(4000, 16_384), np.zeros(1600)]).astype(np.int16)
    values = found(tmp_path, samples)
    assert values["start_zeros"] == pytest.approx(0.1) and values["end_zeros"] == pytest.approx(0.2)
    assert values["longest_hold"] == pytest.approx(0.5)
    assert values["peak"] == pytest.approx(-6.02, abs=0.01)
    assert values["at_peak"] == pytest.approx(4000 / 6400)
    assert values["offset"] == pytest.approx(16_384 * 4000 / 6400)
    assert values["unused_bits"] == 14 and values["whole_10ms"] == 1


def test_the_header_tells_format_and_extra_chunks(tmp_path):
    plain = found(tmp_path, hiss(0.5, 300))
    assert (plain["stored_bits"], plain["sample_rate"], plain["channels"]) == (16, RATE, 1)
    assert plain["header_bytes"] == 44
    deep = found(tmp_path, hiss(0.5, 300), subtype="PCM_24")
    assert deep["stored_bits"] == 24 and deep["unused_bits"] == 8
    loose = found(tmp_path, np.random.default_rng(0).standard_normal(4000) * 0.01, subtype="FLOAT")
    assert loose["stored_bits"] == 0 and loose["off_grid"] > 0.9


def test_a_gain_before_rounding_leaves_gaps_and_an_attenuation_doubles_values(tmp_path):
    untouched = found(tmp_path, hiss(2.0, 40))
    louder = found(tmp_path, np.rint(hiss(2.0, 40) * 1.122).astype(np.int16))
    softer = found(tmp_path, np.rint(hiss(2.0, 40) * 0.9).astype(np.int16))
    # Where four are expected, chance leaves out one value in fifty.
    assert untouched["gaps"] < 0.02
    assert louder["gaps"] == pytest.approx(1 - 1 / 1.122, abs=0.03)
    assert softer["gaps"] < 0.02 and softer["doubled"] > 0.05
    assert min(louder["comb"], softer["comb"]) > untouched["comb"] + 1


def test_the_rounding_floor_counts_how_often_samples_were_rounded(tmp_path):
    time = np.arange(4 * RATE) / RATE
    tones = sum(3000 * np.sin(2 * np.pi * hertz * time + hertz) for hertz in (203.3, 611.7, 1499.1))
    once = np.rint(tones)
    twice = np.rint(once * 0.97)
    floors = [found(tmp_path, samples.astype(np.int16))["floor_top_985"] for samples in (once, twice)]
    # The fifth of the frames left out is the loudest, so a floor lies a little under its power.
    assert floors[0] == pytest.approx(0.0, abs=1.0)
    assert floors[1] - floors[0] == pytest.approx(10 * np.log10(1 + 0.97**2), abs=0.7)


def test_a_linear_fade_has_ramp_one_and_steady_noise_ramp_zero(tmp_path):
    steady = hiss(1.0, 3000)
    faded = np.rint(EDITS["fade_in"].apply(steady.astype(float), RATE, np.random.default_rng(0))).astype(np.int16)
    assert found(tmp_path, steady)["start_ramp"] == pytest.approx(0.0, abs=0.15)
    assert found(tmp_path, faded)["start_ramp"] == pytest.approx(1.0, abs=0.15)
    assert found(tmp_path, faded[::-1])["end_ramp"] == pytest.approx(1.0, abs=0.15)


def test_a_low_pass_is_found_where_it_is(tmp_path):
    filtered = EDITS["lowpass"].apply(hiss(2.0, 3000).astype(float), RATE, np.random.default_rng(0))
    values = found(tmp_path, np.rint(filtered).astype(np.int16))
    assert values["top_850"] < -15 and found(tmp_path, hiss(2.0, 3000))["top_850"] == pytest.approx(0, abs=1)
    assert values["edge_at"] == pytest.approx(0.98, abs=0.2)


def test_every_blind_feature_has_words_and_a_unit():
    assert set(EXPLANATIONS) == set(UNITS) == set(FINGERPRINT)
    assert all(name.startswith("fingerprint.") for name in FINGERPRINT)
    names = (*METADATA, *ACOUSTIC, *FINGERPRINT)
    texts = [words(name) for name in names]
    assert all(text and text != name for name, (text, _) in zip(names, texts, strict=True))
    assert len(set(EXPLANATIONS.values())) == len(FINGERPRINT)
    assert words("acoustic.f0_p50") == ("pitch (middle frame)", "Hz")
    assert words("something else") == ("something else", "")


def test_separating_properties_are_sorted_and_corrected_as_scipy_does():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], 100)
    table = pd.DataFrame({f"fingerprint.x{i}": rng.standard_normal(200) for i in range(15)})
    table["fingerprint.peak"] = rng.standard_normal(200) - 2 * labels
    table["fingerprint.gaps"] = 0.0
    table.loc[3, "fingerprint.x0"] = np.nan
    rows = separating_properties(table, labels, list(table))
    assert len(rows) == PROPERTIES
    distance = [abs(row["auc"] - 0.5) for row in rows]
    assert distance == sorted(distance, reverse=True)
    first = rows[0]
    assert (first["property"], first["words"], first["unit"]) == ("fingerprint.peak", "largest sample", "dBFS")
    assert first["auc"] == auc(labels, table["fingerprint.peak"].to_numpy()) < 0.2
    assert first["auc_low"] < first["auc"] < first["auc_high"] < 0.5
    assert np.median(table["fingerprint.peak"][labels == 1]) == pytest.approx(first["member_quantiles"][2])
    assert first["member_quantiles"][2] < first["non_member_quantiles"][2]
    chances = []
    for name in table:
        member, other = (table[name][labels == label].dropna() for label in (1, 0))
        chances.append(1.0 if name == "fingerprint.gaps" else mannwhitneyu(member, other, method="asymptotic").pvalue)
    expected = dict(zip(table, false_discovery_control(chances), strict=True))
    assert {row["property"]: row["q"] for row in rows} == pytest.approx(
        {row["property"]: expected[row["property"]] for row in rows}
    )
    short = next((row for row in rows if row["property"] == "fingerprint.x0"), None)
    assert short is None or short["n_member"] == 99


def test_a_property_that_never_varies_or_lacks_a_class_separates_nothing():
    labels = np.array([1, 1, 0, 0])
    table = pd.DataFrame({"metadata.channels": [1.0] * 4, "acoustic.f0_sd": [1.0, 2.0, np.nan, np.nan]})
    (row,) = separating_properties(table, labels, list(table))
    assert (row["property"], row["auc"], row["q"]) == ("metadata.channels", 0.5, 1.0)
    assert separating_properties(table, labels, []) == []


def test_fold_logits_are_centred_and_repeat():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    values = rng.standard_normal((300, 3))
    values[:, 1] += 2 * labels
    training, held = np.arange(200), np.arange(200, 300)
    logits = trees_fold(values.T, labels, training, held)
    assert np.array_equal(logits, trees_fold(values.T, labels, training, held))
    assert auc(labels[held], logits) > 0.85
    assert trees_fold(values.T, labels, training, training).mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", list(EDITS))
def test_every_edit_changes_speech_in_its_own_way_only(name):
    samples = hiss(0.6, 2000) / 32_768
    edited = EDITS[name].apply(samples, RATE, np.random.default_rng(0))
    longer = {"tail": 1200, "tail_zeros": 1200, "trimmed": -8, "faster": -48, "stretched": -48}
    assert len(edited) == pytest.approx(len(samples) + longer.get(name, 0), abs=2)
    assert np.isfinite(edited).all()
    assert (name == "nothing") == np.array_equal(edited, samples)


def test_an_unedited_copy_holds_the_very_samples_of_its_original(tmp_path):
    clips, labels = draw(4, seed=1)
    assert sorted(labels) == [0, 0, 1, 1]
    for clip, copy in zip(clips, planted_clips(EDITS["nothing"], clips, tmp_path), strict=True):
        first, second = (soundfile.read(one.path, dtype="int16")[0] for one in (clip, copy))
        assert np.array_equal(first, second) and copy.clip_id == clip.clip_id


def test_planted_edits_are_found_on_200_clips_and_nothing_where_there_is_nothing():
    rows = {row["edit"]: row for row in study(("nothing", "gain", "tilt"), 200, 1, ("fingerprint",))}
    assert rows["nothing"]["fingerprint_low"] < 0.5 < rows["nothing"]["fingerprint_high"]
    for name in ("gain", "tilt"):
        assert rows[name]["fingerprint_auc"] >= 0.9


def test_the_cause_of_a_planted_fade_is_named(tmp_path):
    clips, labels = draw(80, seed=2)
    table = measure(planted_clips(EDITS["nothing"], clips, tmp_path), ["fingerprint"])
    members = [clip for clip, label in zip(clips, labels, strict=True) if label]
    edited = measure(planted_clips(EDITS["fade_in"], members, tmp_path), ["fingerprint"])
    table.loc[labels == 1] = edited.to_numpy()
    assert separating_properties(table, labels, FINGERPRINT)[0]["property"].startswith("fingerprint.start_")
    folds = assign_folds([clip.clip_id for clip in clips], labels)
    assert auc(labels, family_scores(table, labels, folds, "fingerprint")) > 0.9


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    assert main(["--edits", "offset", "--clips", "24", "--json", str(tmp_path / "rows.json")]) == 0
    assert "constant offset" in capsys.readouterr().out
    stored = json.loads((tmp_path / "rows.json").read_text())
    assert stored["clips"] == 24 and stored["rows"][0]["n_member"] == 12
    assert stored["rows"][0]["fingerprint_auc"] > 0.9
