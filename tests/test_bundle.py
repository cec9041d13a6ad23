"""Bundles: what is written is what is read, by pandas alone; what is broken is refused in one sentence."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from precompute.bundle import (
    audio_file,
    audio_name,
    is_complete,
    plain,
    read_bundle,
    write_audio,
    write_bundle,
    write_original,
)
from precompute.clips import Clip, InputError


def parts():
    """A bundle of two clips, one target, one condition: the smallest that has every table."""
    keys = {"clip_id": ["a/1", "b"], "dataset": "d", "label": [1, 0]}
    scored = {"target": "t", "condition": "original", "realization": 0, "scored_text": "generated"}
    return {
        "audit": {"targets": [], "datasets": [], "conditions": [], "seed": np.int64(7)},
        "clips": pd.DataFrame(
            {**keys, "trained": [True, None], "text": ["né", None], "duration_s": [1.0, 2.5], "group": None}
        ),
        "scores": pd.DataFrame(
            {
                **keys,
                **scored,
                "generated_text": ["x", ""],
                "n_tokens": [3, 0],
                "nll": [0.1, np.nan],
                "mia_score": [0.7, np.nan],
                "mia_score_transfer": [0.6, np.nan],
            }
        ),
        "blind": pd.DataFrame(
            {
                **keys,
                **{key: [0.5, 0.25] for key in ("metadata_score", "text_score", "acoustic_score", "joint_score")},
                "acoustic.rms_mean": [1 / 3, 0.0],
            }
        ),
        "tokens": pd.DataFrame(
            {**keys, **scored, "token": [["x", "y"], []], "nll": [[0.1, 0.2], []], "id": [[5, 6], []]}
        ),
        "models": {"d": {"t": {"folds": [{"mean": np.array([0.1, np.nan])}]}}},
        "results": {
            **{key: [] for key in ("blind", "mia", "correlation", "heatmap", "conditions")},
            "verdicts": [{"dataset": "d", "auc": float("nan")}],
        },
    }


def test_a_bundle_reads_back_as_it_was_written(tmp_path):
    written = parts()
    write_bundle(tmp_path / "deep" / "b", **written)
    bundle = read_bundle(tmp_path / "deep" / "b")
    assert bundle.audit["seed"] == 7 and bundle.audit["schema"] == 1
    for name in ("clips", "scores", "blind"):
        table = getattr(bundle, name)
        assert list(table.columns) == list(written[name].columns)
        for column in table:
            if table[column].dtype == np.float32:
                np.testing.assert_allclose(table[column], written[name][column], rtol=1e-6)
            elif column not in ("trained", "group"):
                assert table[column].equals(written[name][column].astype(table[column].dtype))
    assert bundle.results["verdicts"][0] == {"dataset": "d", "auc": None}
    assert bundle.models()["d"]["t"]["folds"][0]["mean"] == [0.1, None]


def test_what_is_known_of_training_stays_true_false_or_missing(tmp_path):
    trained = write_bundle(tmp_path, **parts()).clips["trained"]
    assert trained.dtype == "boolean" and trained[0] and trained.isna()[1]


def test_token_lists_keep_their_lengths_and_types(tmp_path):
    tokens = write_bundle(tmp_path, **parts()).tokens()
    assert [list(cell) for cell in tokens["token"]] == [["x", "y"], []]
    assert tokens["nll"][0].dtype == np.float32 and tokens["id"][0].dtype.kind == "i"
    assert [len(cell) for cell in tokens["nll"]] == [2, 0]


def test_decimals_are_stored_as_float32_and_nothing_of_the_callers_tables_changes(tmp_path):
    written = parts()
    bundle = write_bundle(tmp_path, **written)
    assert bundle.scores["nll"].dtype == bundle.blind["acoustic.rms_mean"].dtype == np.float32
    assert written["scores"]["nll"].dtype == np.float64


def test_a_bundle_is_readable_with_pandas_and_json_alone(tmp_path):
    write_bundle(tmp_path, **parts())
    assert {p.name for p in tmp_path.iterdir()} == {
        *(f"{name}.parquet" for name in ("clips", "scores", "blind", "tokens")),
        *(f"{name}.json" for name in ("audit", "models", "results")),
    }
    assert len(pd.read_parquet(tmp_path / "scores.parquet")) == 2
    for file in tmp_path.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert "NaN" not in text and isinstance(json.loads(text), dict)


def test_a_write_that_stops_midway_leaves_no_bundle_that_looks_whole(tmp_path, monkeypatch):
    written = parts()
    write_bundle(tmp_path, **written)
    assert is_complete(tmp_path)
    replace = Path.replace

    def stops(self, target):
        if "scores" in self.name:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stops)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path, **written)
    assert not is_complete(tmp_path)
    with pytest.raises(InputError, match=r"not a whole bundle, audit\.json is missing"):
        read_bundle(tmp_path)


def test_a_write_that_fails_before_the_swap_leaves_the_old_bundle_whole(tmp_path):
    written = parts()
    write_bundle(tmp_path, **written)
    with pytest.raises(TypeError):
        write_bundle(tmp_path, **{**written, "audit": {**written["audit"], "seed": object()}})
    assert read_bundle(tmp_path).audit["seed"] == 7


def test_broken_bundles_are_refused_in_one_sentence_that_names_the_file(tmp_path):
    with pytest.raises(InputError, match="there is no bundle here"):
        read_bundle(tmp_path / "nowhere")
    write_bundle(tmp_path, **parts())
    (tmp_path / "results.json").write_text("[1")
    with pytest.raises(InputError, match=r"results\.json cannot be read"):
        read_bundle(tmp_path)
    (tmp_path / "results.json").write_text('{"blind": []}')
    with pytest.raises(InputError, match=r"results\.json lacks mia, correlation"):
        read_bundle(tmp_path)
    (tmp_path / "blind.parquet").write_bytes(b"PAR1nonsense")
    with pytest.raises(InputError, match=r"blind\.parquet cannot be read"):
        read_bundle(tmp_path)
    (tmp_path / "scores.parquet").unlink()
    with pytest.raises(InputError, match=r"scores\.parquet is missing"):
        read_bundle(tmp_path)
    (tmp_path / "audit.json").write_text('{"schema": 99, "targets": [], "datasets": [], "conditions": []}')
    with pytest.raises(InputError, match="has schema 99 and this version reads schema 1"):
        read_bundle(tmp_path)


def test_a_missing_column_is_refused_before_anything_is_written(tmp_path):
    written = parts()
    written["scores"] = written["scores"].drop(columns=["nll", "n_tokens"])
    with pytest.raises(InputError, match=r"scores\.parquet lacks n_tokens, nll"):
        write_bundle(tmp_path / "b", **written)
    assert not (tmp_path / "b").exists()


def test_plain_turns_numpy_and_missing_values_into_json():
    value = {
        1: np.float32(0.5),
        "b": (np.bool_(True), np.nan, float("inf"), pd.NA),
        "c": np.arange(2),
        "p": Path("x/y"),
    }
    assert plain(value) == {"1": 0.5, "b": [True, None, None, None], "c": [0, 1], "p": "x/y"}


@given(st.text(max_size=300))
def test_no_clip_id_makes_a_file_name_that_leaves_its_folder_or_is_too_long(clip_id):
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", audio_name(clip_id))


def test_ids_that_look_alike_have_files_of_their_own():
    ids = ["a/b", "a-b", "a b", "A/B", "../a/b", "x" * 200 + "a/b", "y" * 200 + "a/b"]
    assert len({audio_name(clip_id).casefold() for clip_id in ids}) == len(ids)


def test_audio_lies_in_a_folder_per_condition_and_voice(tmp_path):
    assert audio_file(tmp_path, "a", "original").parent == tmp_path / "audio/original"
    assert audio_file(tmp_path, "a", "resynthesis", 2).parent == tmp_path / "audio/resynthesis-2"
    with pytest.raises(InputError, match="is not the name of a condition"):
        audio_file(tmp_path, "a", "../../etc")


def test_audio_is_written_whole_and_without_loss(tmp_path):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 4000).astype(np.int16)
    path = write_audio(tmp_path, "a/1", "resynthesis", 1, samples, 16_000)
    read, rate = soundfile.read(path, dtype="int16")
    assert rate == 16_000 and [p.name for p in path.parent.iterdir()] == [path.name]
    np.testing.assert_array_equal(read, samples)


def test_louder_than_full_scale_is_clipped_and_does_not_wrap(tmp_path):
    read, _ = soundfile.read(write_audio(tmp_path, "a", "noise", 0, np.array([1.5, -1.5, 0.0]), 16_000))
    np.testing.assert_allclose(read, [1, -1, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("subtype", "dtype"), [("PCM_U8", "int16"), ("PCM_16", "int16"), ("PCM_24", "int32"), ("FLOAT", "float64")]
)
def test_the_original_keeps_its_rate_its_channels_and_every_sample(tmp_path, subtype, dtype):
    source = tmp_path / "s.wav"
    soundfile.write(source, np.random.default_rng(1).uniform(-0.9, 0.9, (2000, 2)), 8000, subtype=subtype)
    expected, _ = soundfile.read(source, dtype=dtype)
    copy = write_original(tmp_path, Clip("c", source))
    read, rate = soundfile.read(copy, dtype=dtype)
    assert rate == 8000
    np.testing.assert_allclose(read, expected, atol=2**-23 if dtype == "float64" else 0)


def test_a_span_of_a_recording_is_copied_alone(tmp_path):
    source = tmp_path / "s.wav"
    soundfile.write(source, np.arange(1000, dtype=np.int16), 1000)
    read, _ = soundfile.read(write_original(tmp_path, Clip("c", source, start=0.1, end=0.25)), dtype="int16")
    np.testing.assert_array_equal(read, np.arange(100, 250))
    with pytest.raises(InputError, match="cannot be read as audio"):
        write_original(tmp_path, Clip("c", tmp_path / "missing.wav"))


def test_importing_the_bundle_reader_loads_nothing_heavier_than_pandas():
    heavy = "{'torch', 'transformers', 'librosa', 'sklearn', 'scipy', 'soundfile', 'diskcache'}"
    code = f"import sys, precompute.bundle; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
