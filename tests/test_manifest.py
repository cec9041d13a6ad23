"""Lists of clips: every form gives the same cohort, and what is not understood is refused with its row."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from precompute.clips import InputError
from precompute.manifest import MIN_PER_CLASS, STEPS, Problems, load_manifest, understood_rows
from precompute.records import COLUMNS, parse_columns, written_out

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


def test_a_good_list_gives_one_cohort_named_after_it(tmp_path, rows):
    (cohort,) = load_manifest(write_csv(tmp_path / "list.csv", rows))
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
    [
        ("member", 1),
        ("Member", 1),
        ("1", 1),
        ("1.0", 1),
        ("NON-MEMBER", 0),
        (" non-member ", 0),
        ("0", 0),
        ("TRUE", 1),
        ("False", 0),
        ("non_member", 0),
    ],
)
def test_label_words_are_understood_in_any_case(tmp_path, word, label):
    sound(tmp_path / "a.wav")
    sound(tmp_path / "b.wav")
    rows = [{"file_name": "a.wav", "label": word}, {"file_name": "b.wav", "label": 1 - label}]
    (cohort,) = load_manifest(write_csv(tmp_path / "list.csv", rows))
    assert cohort.labels == (label, 1 - label)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12))
def test_no_other_label_word_is_guessed(tmp_path_factory, word):
    if word.strip().lower() in {"member", "non-member", "non_member", "1", "0", "1.0", "0.0", "true", "false"}:
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
    assert cohort.clips[0].path is cohort.clips[1].path  # a list of many spans holds each file's path once


def test_absolute_paths_are_trusted_and_named_as_seen_from_the_list(tmp_path):
    inside, outside = sound(tmp_path / "lists/a.wav"), sound(tmp_path / "else/b.wav")
    rows = [{"file_name": str(inside), "label": 1}, {"file_name": str(outside), "label": 0, "clip_id": "b"}]
    (cohort,) = load_manifest(write_csv(tmp_path / "lists/list.csv", rows))
    assert [(clip.clip_id, clip.path) for clip in cohort.clips] == [("a.wav", inside), ("b", outside)]


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
        ("a.csv", b"wav,label\nx.wav,1\n", "a.csv has no column file_name, only wav, label; say which is which with"),
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
    problems = Problems()
    assert understood_rows(tmp_path / name, problems) == []
    (problem,) = problems.found
    assert problem.startswith(f"[1/{len(STEPS)}] {sentence}") and "\n" not in problem
    with pytest.raises(InputError) as refused:
        load_manifest(tmp_path / name)
    assert sentence in str(refused.value)


def test_missing_lists_and_folders_without_one_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: there is no such file"):
        load_manifest(tmp_path / "gone.csv")
    with pytest.raises(InputError, match=r"is a folder without metadata\.csv.* and without the subfolders member"):
        load_manifest(tmp_path)


def encoded(path):
    """Bytes of a short recording of noise, whose file is not kept."""
    data = sound(path).read_bytes()
    path.unlink()
    return data


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """Where audio is written that a list holds in itself."""
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("column", ["audio", "path"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_audio_or_path_column_stands_in_for_the_file_name(tmp_path, column, ending):
    sound(tmp_path / "a.wav")
    sound(tmp_path / "b.wav")
    table = pd.DataFrame([{column: "a.wav", "label": 1}, {column: "b.wav", "label": 0}])
    path = tmp_path / f"list.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_json(path, orient="records", lines=True)
    (cohort,) = load_manifest(path)
    assert [(clip.clip_id, clip.path) for clip in cohort.clips] == [
        ("a.wav", tmp_path / "a.wav"),
        ("b.wav", tmp_path / "b.wav"),
    ]


def test_a_file_name_column_goes_before_one_named_audio(tmp_path):
    sound(tmp_path / "a.wav")
    sound(tmp_path / "b.wav")
    rows = [{"file_name": n, "audio": "gone.wav", "label": k} for k, n in enumerate(("a.wav", "b.wav"))]
    (cohort,) = load_manifest(write_csv(tmp_path / "list.csv", rows))
    assert [clip.path.name for clip in cohort.clips] == ["a.wav", "b.wav"]


def test_audio_inside_a_parquet_table_is_written_out_once_under_its_content(tmp_path, data_folder):
    one, two = encoded(tmp_path / "x.wav"), encoded(tmp_path / "y.flac")
    rows = [
        {"audio": {"bytes": one, "path": "train/one.wav"}, "label": 1, "start": None},
        {"audio": {"bytes": two, "path": None}, "label": 0, "start": 0.01},
        {"audio": {"bytes": one, "path": "again"}, "label": 1, "start": None},
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "list.parquet")
    (cohort,) = load_manifest(tmp_path / "list.parquet")
    assert [clip.clip_id for clip in cohort.clips] == ["train/one.wav", "row-2#0.01-end", "again"]
    assert [clip.path.suffix for clip in cohort.clips] == [".wav", ".flac", ".wav"]
    assert [clip.path.read_bytes() for clip in cohort.clips] == [one, two, one]
    files = sorted(path for path in data_folder.rglob("*") if path.is_file())
    assert files == sorted({clip.path for clip in cohort.clips}) and len(files) == 2
    times = [path.stat().st_mtime_ns for path in files]
    load_manifest(tmp_path / "list.parquet")
    assert [path.stat().st_mtime_ns for path in files] == times


@pytest.mark.parametrize(
    ("how", "ending"),
    [
        ({"format": "WAV"}, ".wav"),
        ({"format": "FLAC"}, ".flac"),
        ({"format": "OGG", "subtype": "OPUS"}, ".ogg"),
        ({"format": "MP3", "subtype": "MPEG_LAYER_III"}, ".mp3"),
        ({"format": "AIFF"}, ".aiff"),
        ({"format": "AU"}, ".au"),
    ],
)
def test_audio_without_a_name_gets_the_ending_of_its_format_or_of_its_name(data_folder, how, ending):
    file = io.BytesIO()
    soundfile.write(file, RNG.uniform(-0.5, 0.5, 8000), 16000, **how)
    path = written_out(file.getvalue(), "x.AU" if ending == ".au" else "")
    assert path.suffix == ending and path.is_relative_to(data_folder)
    assert soundfile.info(path).samplerate in (16000, 48000)  # Opus is always read at 48 kHz
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_audio_column_without_bytes_gives_its_path(tmp_path):
    sound(tmp_path / "a.wav")
    sound(tmp_path / "b.wav")
    lines = [{"audio": {"path": name, "bytes": None}, "label": k} for k, name in enumerate(("a.wav", "b.wav"))]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (cohort,) = load_manifest(tmp_path / "list.jsonl")
    assert [clip.path for clip in cohort.clips] == [tmp_path / "a.wav", tmp_path / "b.wav"]
    (tmp_path / "list.jsonl").write_text(json.dumps({"audio": {"array": [0.0]}, "label": 1}))
    with pytest.raises(InputError, match=r"row 1 \(no file_name\): has no file_name"):
        load_manifest(tmp_path / "list.jsonl")


def test_class_numbers_of_a_hugging_face_table_are_read_by_their_names(tmp_path):
    """`datasets` numbers the folders member and non-member 0 and 1: the numbers alone would swap the lists."""
    import pyarrow
    import pyarrow.parquet

    for name in ("a.wav", "b.wav"):
        sound(tmp_path / name)
    label = {"names": ["member", "non-member"], "_type": "ClassLabel"}
    features = {"info": {"features": {"file_name": {"dtype": "string", "_type": "Value"}, "label": label}}}
    table = pyarrow.table({"file_name": ["a.wav", "b.wav"], "label": [0, 1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pyarrow.parquet.write_table(table, tmp_path / "list.parquet")
    (cohort,) = load_manifest(tmp_path / "list.parquet")
    assert cohort.labels == (1, 0)


@pytest.mark.parametrize("names", [("member", "non-member"), ("Members", "non_members")])
def test_a_folder_with_a_subfolder_for_each_class_needs_no_list(tmp_path, names):
    yes, no = (tmp_path / "mine" / name for name in names)
    for path in (yes / "a.wav", yes / "deep/b.flac", no / "c.OGG"):
        sound(path)
    (no / "notes.txt").write_text("no audio")
    sound(tmp_path / "mine/elsewhere/d.wav")
    (cohort,) = load_manifest(tmp_path / "mine")
    assert cohort.name == "mine"
    found = {clip.clip_id: label for clip, label in zip(cohort.clips, cohort.labels, strict=True)}
    assert found == {f"{names[0]}/a.wav": 1, f"{names[0]}/deep/b.flac": 1, f"{names[1]}/c.OGG": 0}
    assert all(clip.path.is_file() and clip.text is None for clip in cohort.clips)


def test_a_list_goes_before_the_subfolders(tmp_path):
    sound(tmp_path / "member/a.wav")
    sound(tmp_path / "non-member/b.wav")
    write_csv(tmp_path / "metadata.csv", [{"file_name": "member/a.wav", "label": 0}])
    with pytest.raises(InputError, match="has only non-members"):
        load_manifest(tmp_path)


def test_a_folder_of_one_class_or_of_nothing_is_no_list(tmp_path):
    sound(tmp_path / "member/a.wav")
    with pytest.raises(InputError, match="has only members"):
        load_manifest(tmp_path)
    (tmp_path / "empty/member").mkdir(parents=True)
    with pytest.raises(InputError, match="empty has no rows"):
        load_manifest(tmp_path / "empty")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_columns_of_other_names_are_mapped_to_ours(tmp_path, ending):
    for name in ("a.wav", "b.wav"):
        sound(tmp_path / name)
    rows = [
        {"wav": "a.wav", "text": "an id", "sentence": "what is said", "in_train": True},
        {"wav": "b.wav", "text": "an id", "sentence": None, "in_train": False},
    ]
    table, path = pd.DataFrame(rows), tmp_path / f"list.{ending}"
    if ending == "csv":
        table.to_csv(path, index=False)
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows))
    else:
        table.to_parquet(path)
    (cohort,) = load_manifest(path, parse_columns("file_name=wav, text=sentence,label=in_train"))
    assert cohort.labels == (1, 0)
    assert [clip.text for clip in cohort.clips] == ["what is said", None]


def test_a_mapped_column_that_is_not_there_is_named(tmp_path, rows):
    path = write_csv(tmp_path / "list.csv", rows)
    with pytest.raises(InputError, match=r"list\.csv has no column sentence to take as text, only file_name, label"):
        load_manifest(path, {"text": "sentence"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("text", "'text' is not of the form OURS=THEIRS"),
        ("text=", "'text=' is not of the form"),
        ("text=a,", "'' is not of the form"),
        ("words=a", "there is no column words (there are file_name, label, text,"),
        ("text=a,text=b", "text is given twice"),
    ],
)
def test_a_mapping_of_another_form_is_refused(text, sentence):
    with pytest.raises(InputError) as refused:
        parse_columns(text)
    assert sentence in str(refused.value)


@given(st.dictionaries(st.sampled_from(COLUMNS), st.from_regex(r"[\w .:-]*[\w.:-]", fullmatch=True), min_size=1))
def test_a_mapping_is_read_as_it_was_written(columns):
    written = ",".join(f"{ours}={theirs}" for ours, theirs in columns.items())
    assert parse_columns(written) == {ours: theirs.strip() for ours, theirs in columns.items()}
