"""Scores made elsewhere go through the same statistics and get the same verdict, without a target being loaded."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from precompute.__main__ import main
from precompute.bundle import Bundle, read_bundle
from precompute.clips import Clip, Cohort, InputError
from precompute.given import GIVEN, given_scores
from precompute.indicators import INDICATORS
from precompute.request import Request
from precompute.scores import Plan

ROOT = Path(__file__).parents[1]


def cohort(name: str = "a", n: int = 4) -> Cohort:
    clips = tuple(Clip(f"{name}/{i}", Path(f"/audio/{name}/{i}.wav")) for i in range(n))
    return Cohort(name, clips, tuple((np.arange(n) % 2 == 0).astype(int)))


def table(folder: Path, rows: list[dict], name: str = "mine.csv") -> Path:
    pd.DataFrame(rows).to_csv(folder / name, index=False)
    return folder / name


def test_scores_are_read_by_clip_id_and_kept_as_they_are(tmp_path):
    path = table(tmp_path, [{"clip_id": f"a/{i}", "score": -1000.5 * i} for i in range(4)])
    ((rows, description),) = given_scores(path, [cohort()])
    assert rows["mia_score"].tolist() == [0.0, -1000.5, -2001.0, -3001.5]
    assert rows["clip_id"].tolist() == [f"a/{i}" for i in range(4)] and rows["label"].tolist() == [1, 0, 1, 0]
    assert set(rows["target"]) == {"mine"} and rows[list(INDICATORS)].isna().all(axis=None)
    assert (rows["condition"] == "original").all() and (rows["scored_text"] == "generated").all()
    assert rows["trained"].isna().all()
    assert description["family"] == GIVEN and description["id"] == "mine" and len(description["revision"]) == 12


@pytest.mark.parametrize("name", ["{i}.wav", "/audio/a/{i}.wav"])
def test_scores_are_read_by_file_name_or_whole_path(tmp_path, name):
    path = table(tmp_path, [{"file_name": name.format(i=i), "score": i} for i in range(4)])
    ((rows, _),) = given_scores(path, [cohort()])
    assert rows["mia_score"].tolist() == [0, 1, 2, 3]


def test_clips_without_a_row_or_with_an_empty_score_are_nan(tmp_path):
    path = table(tmp_path, [{"clip_id": "a/0", "score": 1.0}, {"clip_id": "a/2", "score": None}])
    ((rows, _),) = given_scores(path, [cohort()])
    assert rows["mia_score"].notna().tolist() == [True, False, False, False]


def test_several_targets_in_one_file_are_told_apart(tmp_path):
    path = table(tmp_path, [{"clip_id": f"a/{i}", "score": i, "target": t} for i in range(4) for t in ("x", "y")])
    found = given_scores(path, [cohort()])
    assert [description["id"] for _, description in found] == ["x", "y"]
    assert all(rows["mia_score"].notna().all() for rows, _ in found)


def test_a_dataset_column_keeps_a_score_to_one_dataset(tmp_path):
    shared = Cohort("b", cohort().clips, (0, 1, 0, 1))
    rows = [{"clip_id": f"a/{i}", "score": i, "dataset": name} for i in range(4) for name in ("a", "b")]
    for row in rows[1::2]:
        row["score"] += 10
    ((found, _),) = given_scores(table(tmp_path, rows), [cohort(), shared])
    assert found.groupby("dataset")["mia_score"].apply(list).to_dict() == {"a": [0, 1, 2, 3], "b": [10, 11, 12, 13]}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"clip_id": "a/0"}], "needs the columns clip_id (or file_name) and score; it has clip_id"),
        ([{"name": "a/0", "score": 1}], "it has name, score"),
        ([{"clip_id": "a/0", "score": "high"}], "row 2: the score 'high' is not a number"),
        ([{"clip_id": "b/0", "score": 1}], "no row of mine names a clip of the given lists"),
        ([{"clip_id": "a/0", "score": 1}, {"clip_id": "a/0", "score": 2}], "'a/0' has two scores of one target"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, rows, sentence):
    with pytest.raises(InputError) as error:
        given_scores(table(tmp_path, rows), [cohort()])
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        given_scores(tmp_path / "empty.csv", [cohort()])


def test_rows_of_clips_outside_the_lists_are_left_out(tmp_path):
    """A file may know more clips than are audited, as under --limit."""
    path = table(tmp_path, [{"clip_id": f"a/{i}", "score": i} for i in range(4)] + [{"clip_id": "b/0", "score": 1}])
    ((rows, _),) = given_scores(path, [cohort()])
    assert rows["mia_score"].tolist() == [0, 1, 2, 3]


def test_the_end_of_a_path_names_a_clip(tmp_path):
    """As the list itself writes it: `a/0.wav` beside `b/0.wav`."""
    path = table(tmp_path, [{"file_name": f"a/{i}.wav", "score": i} for i in range(4)])
    ((rows, _),) = given_scores(path, [cohort()])
    assert rows["mia_score"].tolist() == [0, 1, 2, 3]


def test_a_file_name_that_stands_for_two_clips_is_refused(tmp_path):
    both = Cohort("both", (*cohort("a").clips, *cohort("b").clips), (1, 0, 1, 0) * 2)
    path = table(tmp_path, [{"file_name": "0.wav", "score": 1.0}])
    try:
        ((rows, _),) = given_scores(path, [both])
    except InputError:
        return
    assert rows["mia_score"].notna().sum() < 2


def test_a_row_without_a_target_is_not_dropped_silently(tmp_path):
    rows = [{"clip_id": "a/0", "score": 1, "target": "x"}, {"clip_id": "a/1", "score": 2, "target": None}]
    try:
        found = given_scores(table(tmp_path, rows), [cohort()])
    except InputError:
        return
    assert sum(int(part["mia_score"].notna().sum()) for part, _ in found) == 2


# --- through the command line ---------------------------------------------------------------------------------------


def test_scores_named_like_a_scored_target_are_refused(tmp_path, monkeypatch):
    from precompute import audit

    described = {"id": "mine", "family": "given scores"}
    monkeypatch.setattr(audit, "given_scores", lambda *_: [(pd.DataFrame(), described)])
    monkeypatch.setattr(audit, "cohorts_of", lambda *_: [cohort()])
    for name in ("check_name", "check_cohorts", "write_listening_audio"):
        monkeypatch.setattr(audit, name, lambda *_: None)
    monkeypatch.setattr(audit, "fingerprint_of", lambda *_: "")
    monkeypatch.setattr(audit, "feature_table", lambda *_: (pd.DataFrame(), {}))
    monkeypatch.setattr(audit, "score_target", lambda *_: described)
    plan = Plan(("original",))
    request = Request(("a",), ("mine",), tmp_path / "b", tmp_path / "c", plan, scores=tmp_path / "mine.csv")
    with pytest.raises(InputError, match="mine is the name of a target scored here"):
        audit.run(request)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """A list of 24 members and 24 non-members: half a second of noise each."""
    folder = tmp_path_factory.mktemp("list")
    rows, rng = [], np.random.default_rng(0)
    for i in range(48):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(8000), 16_000)
        rows.append({"file_name": f"{i}.wav", "label": i % 2, "text": f"clip number {i}"})
    return table(folder, rows, "list.csv")


def scores_of(folder: Path, gap: float) -> Path:
    """Member-like scores of all clips but two members and one non-member; labels are i % 2."""
    score = np.random.default_rng(1).standard_normal(48) + gap * (np.arange(48) % 2)
    return table(
        folder, [{"file_name": f"{i}.wav", "score": score[i]} for i in range(48) if i not in (1, 3, 4)], "s.csv"
    )


@pytest.fixture(scope="module")
def audited(manifest, tmp_path_factory) -> tuple[Bundle, str]:
    folder = tmp_path_factory.mktemp("given")
    command = [
        "audit",
        "--dataset",
        str(manifest),
        "--scores",
        str(scores_of(folder, 3.0)),
        "--out",
        str(folder / "out"),
    ]
    code = (
        "import sys\nfrom precompute.__main__ import main\nfrom tests.fake_scores import few_draws\n"
        f"with few_draws(): assert main({[*command, '--cache', str(folder / 'cache')]!r}) == 0\n"
        "print('loaded:', 'torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read_bundle(folder / "out"), done.stdout


def test_given_scores_are_audited_without_a_model_library(audited):
    assert "loaded: False" in audited[1]


def test_given_scores_get_a_verdict_from_the_scores_as_given(audited, tmp_path):
    (row,) = audited[0].results["verdicts"]
    assert (row["dataset"], row["target"]) == ("list", "s")
    scores = pd.read_csv(scores_of(tmp_path, 3.0))
    labels = scores["file_name"].str.removesuffix(".wav").astype(int) % 2
    assert row["auc"] == pytest.approx(roc_auc_score(labels, scores["score"]))
    assert row["verdict"] == "LEAK" and row["p"] == pytest.approx(1 / 200) and row["tests"] == 1
    assert "scores made elsewhere" in row["method"] and row["sentence"].startswith("LEAK: s on list")
    assert row["trained_members"] is None and row["direction_auc"] > 0.5


def test_clips_without_a_given_score_are_counted_by_class(audited):
    (row,) = audited[0].results["verdicts"]
    assert (row["n_member"], row["n_non_member"]) == (22, 23)
    assert (row["excluded_member"], row["excluded_non_member"]) == (2, 1)
    (mia,) = [row for row in audited[0].results["mia"] if row["fit"] == "refit"]
    assert (mia["excluded_member"], mia["excluded_non_member"]) == (2, 1)


def test_what_takes_indicators_is_left_out_for_given_scores(audited):
    results = audited[0].results
    for name in ("indicators", "conditions", "claims", "controls", "reference", "heatmap"):
        assert results[name] == [], name
    for name in ("blind", "adjustment", "correlation", "properties"):
        assert results[name], name
    assert audited[0].audit["targets"][0]["family"] == GIVEN
    assert audited[0].audit["reference_target"] is None


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        (None, "an audit needs a --target, or --scores made elsewhere"),
        ("none.csv", "none.csv: no such file"),
        ("clip_id\n0.wav\n", "needs the columns clip_id (or file_name) and score"),
        ("clip_id,score\n0.wav,much\n", "the score 'much' is not a number"),
        ("clip_id,score\n0.wav,1\n0.wav,2\n", "has two scores of one target"),
        ("clip_id,score\nother.wav,1\n", "names a clip of the given lists"),
    ],
)
def test_given_scores_that_cannot_be_used_end_in_one_sentence_and_status_2(
    manifest, tmp_path, monkeypatch, capsys, scores, sentence
):
    monkeypatch.chdir(tmp_path)
    options = []
    if scores is not None:
        options = ["--scores", "none.csv" if scores == "none.csv" else "mine.csv"]
        (tmp_path / "mine.csv").write_text(scores)
    assert main(["audit", "--dataset", str(manifest), *options, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and sentence in error
    assert not (tmp_path / "out").exists()


def test_a_reference_target_without_a_target_is_refused(manifest, tmp_path, capsys):
    scores = str(scores_of(tmp_path, 1.0))
    command = ["audit", "--dataset", str(manifest), "--scores", scores, "--reference-target", "tiny-audio-flamingo"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "--reference-target is compared with a --target" in capsys.readouterr().err
