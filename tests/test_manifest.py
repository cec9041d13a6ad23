"""Lists of clips: every format gives the same cohort, and every problem is found and names its row."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from precompute.clips import InputError
from precompute.manifest import MIN_PER_CLASS, STEPS, check, load_manifest

RNG = np.random.default_rng(0)


def sound(path, samples=None, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, RNG.uniform(-0.5, 0.5, 400) if samples is None else samples, rate)
    return path


def write_csv(path, rows):
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def rows(tmp_path):
    """As many clips of noise in each class as a check asks for."""
    names = [f"clips/{k}.wav" for k in range(2 * MIN_PER_CLASS)]
    for name in names:
        sound(tmp_path / name)
    return [{"file_name": name, "label": "member" if k % 2 else "non-member"} for k, name in enumerate(names)]


def problems_of(tmp_path, rows):
    return check(write_csv(tmp_path / "list.csv", rows))


def test_a_good_list_has_no_problem_and_gives_one_cohort_named_after_it(tmp_path, rows):
    assert problems_of(tmp_path, rows) == []
    (cohort,) = load_manifest(tmp_path / "list.csv")
    assert cohort.name == "list" and cohort.licence == "not stated"
    assert cohort.labels == (0, 1) * MIN_PER_CLASS
    assert cohort.clips[3].clip_id == "clips/3.wav" and cohort.clips[3].path == tmp_path / "clips/3.wav"
    assert cohort.clips[3].text is None


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "folder/csv", "folder/jsonl", "folder/parquet"])
def test_every_format_reads_to_the_same_clips(tmp_path, form):
    ending = form.split("/")[-1]
    path = tmp_path / (f"metadata.{ending}" if "/" in form else f"list.{ending}")
    for name in ("a.wav", "b c.wav"):
        sound(tmp_path / name)
    rows = [
        {"file_name": "a.wav", "label": 1, "text": 'NA, she said "no"', "group": "7", "start": 0.01, "language": "NO"},
        {"file_name": "b c.wav", "label": 0, "text": None, "group": None, "start": None, "language": None},
    ]
    table = pd.DataFrame(rows)
    if ending == "csv":
        table.to_csv(path, index=False, encoding="utf-8-sig")
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    else:
        table.to_parquet(path)
    (cohort,) = load_manifest(tmp_path if "/" in form else path)
    assert cohort.name == (tmp_path.name if "/" in form else "list")
    first, second = cohort.clips
    assert cohort.labels == (1, 0)
    assert (first.text, first.group, first.start, first.end) == ('NA, she said "no"', "7", 0.01, None)
    assert (first.clip_id, first.language) == ("a.wav#0.01-end", "no")
    assert (second.clip_id, second.text, second.group, second.start) == ("b c.wav", None, None, None)


@pytest.mark.parametrize(
    ("word", "label"),
    [("member", 1), ("Member", 1), ("1", 1), ("1.0", 1), ("NON-MEMBER", 0), (" non-member ", 0), ("0", 0)],
)
def test_label_words_are_understood_in_any_case(tmp_path, word, label):
    sound(tmp_path / "a.wav")
    sound(tmp_path / "b.wav")
    rows = [{"file_name": "a.wav", "label": word}, {"file_name": "b.wav", "label": 1 - label}]
    (cohort,) = load_manifest(write_csv(tmp_path / "list.csv", rows))
    assert cohort.labels == (label, 1 - label)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12))
def test_no_other_label_word_is_guessed(tmp_path_factory, word):
    if word.strip().lower() in {"member", "non-member", "1", "0", "1.0", "0.0"}:
        return
    folder = tmp_path_factory.mktemp("list")
    path = folder / "list.jsonl"
    path.write_text(json.dumps({"file_name": "a.wav", "label": word}), encoding="utf-8")
    with pytest.raises(InputError, match="is none of member, non-member, 1, 0"):
        load_manifest(path)


def test_a_dataset_column_gives_a_cohort_each_and_they_may_share_clips(tmp_path):
    for name in ("a.wav", "b.wav"):
        sound(tmp_path / name)
    rows = [{"file_name": n, "label": k, "dataset": d} for d in ("y", "x") for k, n in enumerate(("a.wav", "b.wav"))]
    cohorts = load_manifest(write_csv(tmp_path / "list.csv", rows))
    assert [cohort.name for cohort in cohorts] == ["y", "x"]
    assert cohorts[0].clips == cohorts[1].clips


def test_spans_of_one_recording_are_clips_of_their_own(tmp_path):
    sound(tmp_path / "a.wav")
    rows = [
        {"file_name": "a.wav", "label": 1, "start": 0, "end": 0.02},
        {"file_name": "a.wav", "label": 0, "start": 0.02, "end": 0.04},
    ]
    (cohort,) = load_manifest(write_csv(tmp_path / "list.csv", rows))
    assert [clip.clip_id for clip in cohort.clips] == ["a.wav#0-0.02", "a.wav#0.02-0.04"]


def test_absolute_paths_are_trusted_and_named_as_seen_from_the_list(tmp_path):
    inside, outside = sound(tmp_path / "lists/a.wav"), sound(tmp_path / "else/b.wav")
    rows = [{"file_name": str(inside), "label": 1}, {"file_name": str(outside), "label": 0, "clip_id": "b"}]
    (cohort,) = load_manifest(write_csv(tmp_path / "lists/list.csv", rows))
    assert [(clip.clip_id, clip.path) for clip in cohort.clips] == [("a.wav", inside), ("b", outside)]


def test_every_problem_of_a_row_is_found_at_its_step_and_names_the_row(tmp_path, rows):
    (tmp_path / "text.wav").write_text("no audio at all")
    sound(tmp_path / "empty.wav", np.zeros(0))
    sound(tmp_path / "zeros.wav", np.zeros(800))
    bad = [
        ({"file_name": "", "label": 1}, "[2/6] row 41 (no file_name): has no file_name"),
        ({"file_name": "clips/0.wav", "label": "perhaps"}, "[2/6] row 42 (clips/0.wav): label 'perhaps' is none of"),
        ({"file_name": "clips/0.wav", "label": 1, "start": "soon"}, "[2/6] row 43 (clips/0.wav): start 'soon' is not"),
        ({"file_name": "clips/0.wav", "label": 1, "start": "-1"}, "[2/6] row 44 (clips/0.wav): start '-1' is not"),
        ({"file_name": "clips/0.wav", "label": 1, "start": "2", "end": "1"}, "[2/6] row 45 (clips/0.wav): ends at 1 s"),
        ({"file_name": "clips/1.wav", "label": 1}, "[2/6] row 46 (clips/1.wav): has the same clip_id as row 2"),
        ({"file_name": "gone.wav", "label": 1}, "[3/6] row 47 (gone.wav): there is no file"),
        ({"file_name": "text.wav", "label": 1}, "[4/6] row 48 (text.wav):"),
        ({"file_name": "empty.wav", "label": 1}, "[4/6] row 49 (empty.wav):"),
        ({"file_name": "zeros.wav", "label": 1}, "[4/6] row 50 (zeros.wav): is digital silence"),
        ({"file_name": "clips/0.wav", "label": 0, "start": "9", "end": "10"}, "[4/6] row 51 (clips/0.wav#9-10):"),
    ]
    found = problems_of(tmp_path, [*rows, *(row for row, _ in bad)])
    assert len(found) == len(bad)
    for problem, (_, expected) in zip(found, bad, strict=True):
        assert problem.startswith(expected)
        assert "\n" not in problem


def test_the_same_audio_in_both_classes_is_found_whatever_its_file_is_called(tmp_path, rows):
    samples, rate = soundfile.read(tmp_path / rows[1]["file_name"], dtype="int16")
    sound(tmp_path / "copy.flac", samples, rate)
    found = problems_of(tmp_path, [*rows, {"file_name": "copy.flac", "label": 0}])
    assert found == [
        "[6/6] row 41 (copy.flac): listed as non-member, holds the same audio as row 2 (clips/1.wav), listed as member"
    ]


def test_the_same_audio_within_one_class_or_in_two_datasets_is_no_problem(tmp_path, rows):
    samples, rate = soundfile.read(tmp_path / rows[1]["file_name"], dtype="int16")
    sound(tmp_path / "copy.flac", samples, rate)
    assert problems_of(tmp_path, [*rows, {"file_name": "copy.flac", "label": 1}]) == []
    swapped = [{**row, "label": 1 - k % 2, "dataset": "swapped"} for k, row in enumerate(rows)]
    assert problems_of(tmp_path, [*({**row, "dataset": "as is"} for row in rows), *swapped]) == []


def test_one_file_listed_in_both_classes_is_found_as_such(tmp_path, rows):
    found = problems_of(tmp_path, [*rows, {"file_name": "clips/1.wav", "label": 0, "clip_id": "again"}])
    assert len(found) == 1 and found[0].startswith("[6/6] row 41 (again)")


def test_small_classes_and_single_classes_are_found_with_their_rows(tmp_path, rows):
    few = [row for k, row in enumerate(rows) if k % 2 or k < 6]
    assert problems_of(tmp_path, few) == ["[5/6] list: only 3 non-members (rows 1, 3, 5), at least 20 needed"]
    one = [row for row in rows if row["label"] == "member"]
    assert problems_of(tmp_path, one) == ["[5/6] list (from row 1): has only members, and an audit compares both"]
    with pytest.raises(InputError, match="has only members"):
        load_manifest(tmp_path / "list.csv")


def test_one_clip_id_for_two_recordings_is_refused_across_datasets_too(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        sound(tmp_path / name)
    rows = [
        {"file_name": "a.wav", "label": 1, "dataset": "x", "clip_id": "1"},
        {"file_name": "b.wav", "label": 0, "dataset": "x", "clip_id": "2"},
        {"file_name": "c.wav", "label": 1, "dataset": "y", "clip_id": "1"},
        {"file_name": "b.wav", "label": 0, "dataset": "y", "clip_id": "2"},
    ]
    with pytest.raises(InputError, match=r"row 3 \(1\): row 1 gives the same clip_id to other audio"):
        load_manifest(write_csv(tmp_path / "list.csv", rows))


def test_reading_stops_at_the_first_problem_and_points_to_check(tmp_path, rows):
    rows += [{"file_name": "gone.wav", "label": 1}, {"file_name": "gone too.wav", "label": 1}]
    with pytest.raises(
        InputError, match=r"row 41 \(gone.wav\): there is no file .*; 1 more problem.* check .*list.csv"
    ):
        load_manifest(write_csv(tmp_path / "list.csv", rows))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "a.csv has no rows"),
        ("a.csv", b"file_name,label\n", "a.csv has no rows"),
        ("a.csv", b"path,label\nx.wav,1\n", "a.csv has no column file_name, only path, label"),
        ("a.csv", b"file_name,label\nx.wav,1,extra\n", "a.csv: row 1 has more cells than the heading"),
        ("a.csv", b"file_name,label\nx\xff.wav,1\n", "a.csv cannot be read"),
        ("a.jsonl", b'{"file_name": "x"}\n{', "a.jsonl: row 2 is not JSON"),
        ("a.jsonl", b"[1]", "a.jsonl: row 1 is not a JSON object"),
        ("a.parquet", b"PAR1", "a.parquet cannot be read"),
        ("a.xlsx", b"PK", "a.xlsx is not a list of clips"),
    ],
)
def test_files_that_are_no_list_are_refused_in_one_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    (problem,) = check(tmp_path / name)
    assert problem.startswith(f"[1/{len(STEPS)}] {sentence}") and "\n" not in problem
    with pytest.raises(InputError) as refused:
        load_manifest(tmp_path / name)
    assert sentence in str(refused.value)


def test_missing_lists_and_folders_without_one_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: there is no such file"):
        load_manifest(tmp_path / "gone.csv")
    with pytest.raises(InputError, match=r"is a folder without metadata\.csv"):
        load_manifest(tmp_path)
