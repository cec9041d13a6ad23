"""The audit end to end: planted truth, the bundle's contract, resumption after a kill, bad input."""

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from precompute.__main__ import main
from precompute.corpora import core_sounds
from precompute.indicators import INDICATORS
from precompute.scores import Plan
from tests.fake_scores import few_draws


def cell(scores, **wanted):
    """Rows of one target, dataset, condition, realization and scored text."""
    keep = np.ones(len(scores), dtype=bool)
    for column, value in {"realization": 0, "scored_text": "generated", "condition": "original", **wanted}.items():
        keep &= (scores[column] == value).to_numpy()
    return scores[keep]


# --- planted truth -----------------------------------------------------------------------------------------------


def test_the_target_that_was_trained_on_the_members_gives_them_away(bundle):
    rows = cell(bundle.scores, dataset="core-clean", target="tiny-audio-flamingo")
    assert roc_auc_score(rows.label, -rows.nll) > 0.75
    assert roc_auc_score(rows.label, rows.mia_score) > 0.75


def test_the_target_trained_on_the_other_half_is_the_mirror_image(bundle):
    rows = cell(bundle.scores, dataset="core-clean", target="tiny-audio-flamingo-b")
    assert roc_auc_score(rows.label, -rows.nll) < 0.25
    assert (rows.trained == (rows.label == 0)).all()


def test_clips_never_trained_on_are_marked_so_and_score_near_chance(bundle):
    rows = cell(bundle.scores, dataset="core-unseen", target="tiny-audio-flamingo")
    assert not rows.trained.any()
    assert 0.3 < roc_auc_score(rows.label, -rows.nll) < 0.7  # 40 per class: the standard error is 0.065


def test_silence_of_one_length_holds_nothing_of_the_clip(bundle):
    rows = cell(bundle.scores, dataset="core-clean", target="tiny-audio-flamingo", condition="silence_fixed")
    assert rows.nll.nunique() == 1
    assert roc_auc_score(rows.label, rows.mia_score) == 0.5


def test_members_are_written_down_better_than_non_members(bundle):
    rows = cell(bundle.scores, dataset="core-clean", target="tiny-audio-flamingo")
    assert rows[rows.trained].wer.mean() < 0.5 * rows[~rows.trained].wer.mean()


# --- identities that greedy decoding from raw logits must keep, on real targets -------------------------------------


def test_identities_of_the_indicators_hold_on_every_generated_row(bundle):
    rows = bundle.scores[bundle.scores.scored_text == "generated"]
    np.testing.assert_allclose(rows.nll, rows.renyi_inf_k100, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rows.min_k_10, rows.renyi_inf_k10, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rows.entropy, rows.renyi_1_k100, rtol=1e-4, atol=1e-5)


# --- the bundle's contract -------------------------------------------------------------------------------------------


def test_every_clip_has_every_cell_once(bundle):
    plan = Plan(("original", "silence_fixed", "resynthesis"))
    assert len(plan.inputs()) == 5 and plan.texts_per_clip() == 14
    keys = ["clip_id", "dataset", "target", "condition", "realization", "scored_text"]
    assert not bundle.scores.duplicated(keys).any()
    counts = bundle.scores.groupby(["clip_id", "dataset", "target"]).size()
    assert len(counts) == 160 * 2 and (counts == 14).all()
    assert set(INDICATORS) <= set(bundle.scores.columns)


def test_tokens_add_up_to_the_indicators(bundle):
    keys = ["clip_id", "target", "condition", "realization", "scored_text"]
    joined = bundle.scores.merge(bundle.tokens(), on=keys, suffixes=("", "_tokens")).dropna(subset="nll")
    assert (joined.nll_tokens.map(len) == joined.n_tokens).all()
    np.testing.assert_allclose(joined.nll_tokens.map(np.mean), joined.nll, atol=1e-3)


def test_the_bundle_is_readable_with_pandas_alone_and_holds_no_pickle(bundle_path):
    assert {"clip_id", "dataset", "label", "trained", "text", "duration_s", "group"} <= set(
        pd.read_parquet(bundle_path / "clips.parquet").columns
    )
    suffixes = {path.suffix for path in bundle_path.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".parquet", ".flac"}


def test_listening_copies_are_the_audio_that_was_audited(bundle, bundle_path):
    from precompute.bundle import audio_file

    clip = core_sounds.COHORTS["core-clean"]().clips[0]
    kept = bundle.clips.clip_id.iloc[0]
    source = next(c for c in core_sounds.COHORTS["core-clean"]().clips if c.clip_id == kept)
    copied, rate = soundfile.read(audio_file(bundle_path, kept, "original", 0), dtype="int16")
    original, wanted = soundfile.read(source.path, dtype="int16")
    assert rate == wanted and clip.language
    np.testing.assert_array_equal(copied, original)


def test_verdicts_use_the_contracts_words(bundle):
    verdicts = {(v["dataset"], v["target"]): v for v in bundle.results["verdicts"]}
    assert len(verdicts) == 4
    words = {"LEAK", "REVERSED", "NO LEAK SEEN", "SHIFT ONLY", "NOT AUDITABLE", "UNDECIDED"}
    assert {v["verdict"] for v in verdicts.values()} <= words
    assert {v["phase1"] for v in verdicts.values()} <= {"CLEAN", "SHIFTED", "UNDECIDED"}
    for target in ("tiny-audio-flamingo", "tiny-audio-flamingo-b"):
        assert verdicts["core-unseen", target]["verdict"] not in ("LEAK", "REVERSED")
    assert verdicts["core-clean", "tiny-audio-flamingo"]["verdict"] != "REVERSED"
    assert verdicts["core-clean", "tiny-audio-flamingo-b"]["verdict"] != "LEAK"


def test_the_target_of_the_other_half_is_the_reference_of_the_audited_one(bundle):
    assert bundle.audit["reference_target"] == "tiny-audio-flamingo-b"
    rows = {row["kind"]: row for row in bundle.results["reference"] if row["dataset"] == "core-clean"}
    assert len(rows) == 3
    assert {(r["target"], r["reference"]) for r in rows.values()} == {("tiny-audio-flamingo", "tiny-audio-flamingo-b")}
    # Trained on opposite halves of one pool: the difference is the effect of training, clip by clip.
    gap = rows["difference of mean NLL, sign fixed"]
    alone = cell(bundle.scores, dataset="core-clean", target="tiny-audio-flamingo")
    assert gap["auc_low"] > 0.8 and gap["auc"] > roc_auc_score(alone.label, -alone.nll)
    unseen = [r for r in bundle.results["reference"] if r["dataset"] == "core-unseen" and "sign fixed" in r["kind"]]
    assert len(unseen) == 1 and unseen[0]["auc_low"] < 0.6


def test_adjusted_scores_and_weights_stand_beside_what_they_adjust(bundle):
    scored = bundle.scores.mia_score_adjusted.notna()
    original = (bundle.scores.condition == "original") & (bundle.scores.scored_text == "generated")
    assert (scored <= original).all() and scored.sum() == (original & bundle.scores.nll.notna()).sum()
    member = bundle.blind.label == 1
    assert bundle.blind.propensity.between(0, 1, inclusive="neither").all()
    weight = np.where(member, 1 - bundle.blind.propensity, bundle.blind.propensity)
    np.testing.assert_allclose(bundle.blind.overlap_weight, weight, atol=1e-6)
    for name, rows in bundle.blind.groupby("dataset"):
        (row,) = [row for row in bundle.results["adjustment"] if row["dataset"] == name]
        w = rows.overlap_weight[rows.label == 1]
        assert row["effective_member"] == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_every_verdict_says_its_steps_and_what_would_change_it(bundle):
    for row in bundle.results["verdicts"]:
        assert row["tests"] == 4 and row["sentence"].startswith(
            f"{row['verdict']}: {row['target']} on {row['dataset']}"
        )
        assert row["steps"] and all(set(step) == {"question", "answer", "because"} for step in row["steps"])
        assert row["changes"] and row["p"] <= row["p_holm"] <= 1


def test_controls_are_made_for_every_target_and_hold(bundle):
    rows = bundle.results["controls"]
    assert len(rows) == 4 * 3
    assert sum(not row["held"] for row in rows) <= 2  # 12 intervals of 95%


def test_the_report_prints_every_format(bundle_path, capsys):
    for name in ("text", "markdown", "csv"):
        assert main(["report", str(bundle_path), "--format", name]) == 0
        assert "core-clean" in capsys.readouterr().out
    assert main(["report", str(bundle_path), "--format", "json"]) == 0
    assert {"blind", "mia", "correlation", "heatmap", "conditions", "verdicts"} <= set(
        json.loads(capsys.readouterr().out)
    )


def test_one_clip_is_scored_against_the_bundle(bundle, bundle_path, capsys):
    member = next(c for c in core_sounds.COHORTS["core-clean"]().clips if c.clip_id in set(bundle.clips.clip_id))
    options = ["--bundle", str(bundle_path), "--dataset", "core-clean", "--target", "tiny-audio-flamingo"]
    assert main(["score", str(member.path), *options, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 < result["score"] < 1
    assert result["floor"] <= result["share_non_members"] <= 1


# --- resumption -------------------------------------------------------------------------------------------------------


def small_list(folder, n=20):
    """A manifest of our own: 20 members and 20 non-members of the embedded speech, copied."""
    half_a, half_b = core_sounds.training_halves()
    rows = []
    for label, half in (("member", half_a), ("non-member", half_b)):
        for index, item in enumerate(half[:n]):
            name = f"{label}-{index}.wav"
            shutil.copy(item.clip.path, folder / name)
            rows.append({"file_name": name, "label": label, "text": item.clip.text, "language": item.clip.language})
    pd.DataFrame(rows).to_csv(folder / "list.csv", index=False)
    return folder / "list.csv"


def own_audit(manifest, out, cache):
    return [
        *("audit", "--dataset", str(manifest), "--target", "tiny-audio-flamingo", "--conditions", "original,noise"),
        *("--batch-size", "4", "--out", str(out), "--cache", str(cache)),
    ]


def stored(cache):
    """Keys in the cache, read beside the writer that holds it."""
    if not (cache / "cache.db").exists():
        return set()
    with contextlib.closing(sqlite3.connect(f"file:{cache / 'cache.db'}?mode=ro", uri=True)) as database:
        try:
            return {key for (key,) in database.execute("SELECT key FROM Cache")}
        except sqlite3.OperationalError:  # the writer is just creating it
            return set()


def test_a_killed_audit_goes_on_where_it_was_and_a_changed_clip_is_done_alone(tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    manifest = small_list(lists)
    command = own_audit(manifest, tmp_path / "killed", tmp_path / "cache")
    with subprocess.Popen([sys.executable, "-m", "precompute", *command], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(stored(tmp_path / "cache")) < 80:
            pass
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = stored(tmp_path / "cache")
    assert len(before) >= 80
    assert not (tmp_path / "killed" / "audit.json").exists()

    with few_draws():
        assert main(command) == 0
        after = stored(tmp_path / "cache")
        assert before < after
        assert main(own_audit(manifest, tmp_path / "whole", tmp_path / "cache-of-its-own")) == 0
    resumed, whole = (pd.read_parquet(tmp_path / name / "scores.parquet") for name in ("killed", "whole"))
    keys = ["clip_id", "condition", "scored_text"]
    resumed, whole = (table.sort_values(keys, ignore_index=True) for table in (resumed, whole))
    np.testing.assert_allclose(resumed[list(INDICATORS)], whole[list(INDICATORS)], rtol=1e-3, atol=1e-4)

    samples, rate = soundfile.read(lists / "member-3.wav")
    soundfile.write(lists / "member-3.wav", samples * 0.5, rate)
    with few_draws():
        assert main(command) == 0
    # one clip's features, and its generated, carried and reference texts under two inputs
    assert 0 < len(stored(tmp_path / "cache") - after) <= 6


def test_a_finished_audit_is_not_run_again(bundle_path, capsys, monkeypatch):
    from precompute import request

    monkeypatch.setattr(request, "load_target", lambda *_a, **_k: pytest.fail("a finished audit loaded its target"))
    from tests.conftest import SMALL_AUDIT

    again = [*SMALL_AUDIT, "--out", str(bundle_path), "--cache", str(bundle_path.parent / "cache")]
    assert main(again) == 0
    assert str(bundle_path) in capsys.readouterr().out


# --- bad input: one sentence, status 2 ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["audit", "--dataset", "nope", "--target", "tiny-audio-flamingo", "--out", "x"], "no such dataset: nope"),
        (["audit", "--dataset", "core-clean", "--target", "a/b/c", "--out", "x"], "no such target: a/b/c"),
        (
            ["audit", "--dataset", "core-clean", "--target", "tiny-audio-flamingo", "--out", "x", "--limit", "5"],
            "core-clean: 5 members, at least 20 are needed",
        ),
        (
            ["audit", "--dataset", "core-clean", "--target", "x", "--out", "x", "--conditions", "whisper"],
            "no such condition: whisper",
        ),
        (["report", "no-bundle"], "no-bundle"),
        (["train", "nope", "--out", "x"], "no such embedded target: nope"),
        (["score", "none.wav", "--bundle", "nb", "--dataset", "d", "--target", "t"], "nb"),
    ],
)
def test_bad_input_ends_in_one_sentence_and_status_2(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert sentence in captured.err


@pytest.mark.parametrize("command", ["datasets", "targets", "conditions"])
def test_listings_name_what_is_embedded(command, capsys):
    assert main([command]) == 0
    expected = {"datasets": "core-unseen", "targets": "tiny-music-flamingo", "conditions": "silence_fixed"}
    assert expected[command] in capsys.readouterr().out
