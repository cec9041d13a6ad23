"""Checking a list: problems name their rows, copies are found however they were made, notes say what follows."""

import io
import re

import numpy as np
import pandas as pd
import pytest
import soundfile

from precompute.__main__ import main
from precompute.check import check, printed
from precompute.clips import Clip, resample
from precompute.corpora.core_sounds import distinct
from precompute.manifest import MIN_PER_CLASS
from precompute.prospects import audited_design, clean_note, detection_note, notes_of
from precompute.statistics.delong import hanley_mcneil
from precompute.statistics.equivalence import power_of

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
    return list(check(write_csv(tmp_path / "list.csv", rows)).problems)


def notes_about(tmp_path, rows, word):
    found = check(write_csv(tmp_path / "list.csv", rows))
    assert not found.problems
    return [note for note in found.notes if word in note]


def test_a_good_list_has_notes_and_no_problem(tmp_path, rows, capsys):
    path = write_csv(tmp_path / "list.csv", rows)
    assert main(["check", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "no problem found"
    assert len(lines) > 5 and all(line.startswith("note: list: ") for line in lines[1:])


def test_problems_are_numbered_and_end_in_status_1(tmp_path, rows, capsys):
    path = write_csv(
        tmp_path / "list.csv", [*rows, {"file_name": "gone.wav", "label": 1}, {"file_name": "", "label": 1}]
    )
    assert main(["check", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1. [2/6] row 42") and lines[1].startswith("2. [3/6] row 41 (gone.wav)")
    assert printed(check(path)).splitlines() == lines


def test_a_list_that_cannot_be_read_is_one_problem_without_notes(tmp_path):
    found = check(tmp_path / "gone.csv")
    assert found.problems == ("[1/6] there is no such file",) and found.notes == ()


def test_columns_of_other_names_are_checked_through_a_mapping(tmp_path, rows):
    path = write_csv(tmp_path / "list.csv", [{"wav": row["file_name"], "in_train": row["label"]} for row in rows])
    assert check(path).problems[0].startswith("[1/6] list.csv has no column file_name and no column label")
    assert check(path, {"file_name": "wav", "label": "in_train"}).problems == ()


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


def codec(samples, rate, **how):
    """Samples after a round trip through a lossy file format."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **how)
    file.seek(0)
    return soundfile.read(file)


COPIES = {
    "mp3": lambda x: codec(resample(x, 8000, 16000), 16000, format="MP3", subtype="MPEG_LAYER_III"),
    "opus": lambda x: codec(resample(x, 8000, 16000), 16000, format="OGG", subtype="OPUS"),
    "vorbis": lambda x: codec(x, 8000, format="OGG", subtype="VORBIS"),
    "resampled": lambda x: (resample(x, 8000, 22050), 22050),
    "3 dB louder": lambda x: (np.clip(1.413 * x, -1, 1), 8000),
    "100 ms cut from the beginning": lambda x: (x[800:], 8000),
    "100 ms cut from the end": lambda x: (x[:-800], 8000),
    "cut, half as loud, and mp3": lambda x: codec(0.5 * x[800:], 8000, format="MP3", subtype="MPEG_LAYER_III"),
    "upside down": lambda x: (-x, 8000),
}


@pytest.fixture
def speech(tmp_path):
    """Rows of recordings of one speaker, of 2 to 6 s, and their samples, with three more that are in no row."""
    recordings = [one for one in distinct(("en",)) if 2 < one.seconds < 6][: 2 * MIN_PER_CLASS + 3]
    rows = [{"file_name": str(one.clip.path), "label": k % 2} for k, one in enumerate(recordings[:-3])]
    return rows, [soundfile.read(one.clip.path, dtype="float32")[0] for one in recordings]


def test_different_sentences_of_one_speaker_are_no_copies(tmp_path, speech):
    assert problems_of(tmp_path, speech[0]) == []


def test_copies_are_found_however_they_were_made(tmp_path, speech):
    rows, samples = speech
    copies = []
    for k, (name, made) in enumerate(COPIES.items()):
        sound(tmp_path / f"{name}.flac", *made(samples[2 * k + 1]))
        copies.append({"file_name": f"{name}.flac", "label": 0})
    found = problems_of(tmp_path, [*rows, *copies])
    assert len(found) == len(COPIES)
    for k, (name, problem) in enumerate(zip(COPIES, found, strict=True)):
        assert problem.startswith(
            f"[6/6] row {41 + k} ({name}.flac): listed as non-member, is a copy of row {2 * k + 2} ("
        )


def test_a_part_of_a_recording_is_a_copy_and_a_shared_jingle_is_none(tmp_path, speech):
    rows, samples = speech
    part = samples[1][len(samples[1]) // 5 : len(samples[1]) * 4 // 5]
    jingle, *sentences = samples[-3:]
    sound(tmp_path / "part.flac", part)
    for name, sentence in zip(("first", "second"), sentences, strict=True):
        sound(tmp_path / f"{name}.flac", np.concatenate([jingle[: len(sentence) // 2], sentence]))
    rows += [{"file_name": "part.flac", "label": 0}, {"file_name": "first.flac", "label": 1}]
    found = problems_of(tmp_path, [*rows, {"file_name": "second.flac", "label": 0}])
    assert len(found) == 1 and "(part.flac): listed as non-member, is a copy of row 2 (" in found[0]
    seconds = float(found[0].split("listed as member: ")[1].split(" s of")[0])
    assert seconds == pytest.approx(len(part) / 8000, abs=0.02)


def test_spans_of_one_file_that_overlap_between_the_classes_are_found_with_what_they_share(tmp_path, rows):
    sound(tmp_path / "talk.wav", RNG.uniform(-0.5, 0.5, 80000))
    spans = [(0, 4, 1), (4, 6, 0), (3.5, 5, 0), (7, 9, 1), (8, 8.75, 0), (9, 10, 0), (0.5, 1, 1)]
    talk = [{"file_name": "talk.wav", "start": a, "end": b, "label": label} for a, b, label in spans]
    assert problems_of(tmp_path, [*rows, *talk]) == [
        "[6/6] row 43 (talk.wav#3.5-5): listed as non-member, shares 0.50 s of its file with row 41 (talk.wav#0-4), "
        "listed as member",
        "[6/6] row 45 (talk.wav#8-8.75): listed as non-member, shares 0.75 s of its file with row 44 (talk.wav#7-9), "
        "listed as member",
    ]


def test_a_whole_file_overlaps_with_every_span_of_it_whatever_it_is_called(tmp_path, rows):
    sound(tmp_path / "talk.wav", RNG.uniform(-0.5, 0.5, 16000))
    (tmp_path / "link.wav").symlink_to(tmp_path / "talk.wav")
    talk = [{"file_name": "talk.wav", "label": 1}, {"file_name": "link.wav", "label": 0, "start": 1.5}]
    (found,) = problems_of(tmp_path, [*rows, *talk])
    assert "row 42 (link.wav#1.5-end): listed as non-member, shares 0.50 s of its file with row 41" in found


def grouped(rows, group_of):
    return [{**row, "group": group_of(k, row["label"] == "member")} for k, row in enumerate(rows)]


def test_a_class_that_is_one_speaker_is_a_problem(tmp_path, rows):
    (found,) = problems_of(tmp_path, grouped(rows, lambda k, member: f"{member} {k % 6 if member else 0}"))
    assert found.startswith("[5/6] list: all clips of a class have one group")


def test_few_speakers_in_one_class_each_are_noted_as_undecided(tmp_path, rows):
    three = grouped(rows, lambda k, member: f"{member} {k % 6 // 2}")
    (few,) = notes_about(tmp_path, three, "UNDECIDED whatever")
    assert few == "list: a class has 3 groups, and under 6 the verdict is UNDECIDED whatever is found."
    assert notes_about(tmp_path, three, "(3 member, 3 non-member)")


def test_speakers_on_both_sides_are_counted(tmp_path, rows):
    (both,) = notes_about(tmp_path, grouped(rows, lambda k, member: f"{k // 4}"), "in both classes")
    assert both.startswith("list: 10 of 10 groups have clips in both classes")


def test_what_a_list_lacks_is_said_with_what_follows(tmp_path, rows):
    notes = check(write_csv(tmp_path / "list.csv", rows)).notes
    for words in (
        "no transcript is given, so there is no reference row",
        "resynthesis says what the target wrote; nor is there a blind text baseline",
        "every clip is taken as independent",
        "no language is given",
        "all clips are taken as speech",
    ):
        assert any(words in note for note in notes), words
    whole = [{**row, "text": f"one {k}", "group": k, "language": "en"} for k, row in enumerate(rows)]
    notes = check(write_csv(tmp_path / "list.csv", whole)).notes
    assert not any(words in note for note in notes for words in ("transcript is", "as independent", "no language"))


def test_texts_in_one_class_only_are_said_to_be_a_shift(tmp_path, rows):
    known = [{**row, "text": f"one {k}" if k % 2 else ""} for k, row in enumerate(rows)]
    (note,) = notes_about(tmp_path, known, "transcript (it is")
    assert note.startswith(
        "list: 20 of 40 clips have no transcript (it is given for 100% of members, 0% of non-members)"
    )
    assert "a shift of its own" in note


def test_a_wording_in_both_classes_is_noted_and_counted_as_one(tmp_path, rows):
    texts = [{**row, "text": "Thank you!" if k in (0, 1, 3) else f"one {k}"} for k, row in enumerate(rows)]
    texts[3]["text"] = "thank YOU"
    (note,) = notes_about(tmp_path, texts, "wording")
    assert note.startswith('list: 1 wording(s) stand in both classes (3 clips), such as "Thank you!"')
    assert note.endswith("count as one and share a fold.")


def test_captions_are_called_captions_and_mixed_tasks_are_noted():
    clips = [Clip(str(k), "x.wav", task="sound" if k < 30 else "music") for k in range(60)]
    notes = notes_of("d", clips, [k % 2 for k in range(60)], [1.0] * 60)
    assert any("no caption is given" in note for note in notes)
    assert not any("speech" in note or "language" in note for note in notes)
    clips[0] = Clip("0", "x.wav", text="hello")
    (mixed,) = [note for note in notes_of("d", clips, [k % 2 for k in range(60)], [1.0] * 60) if "mixed" in note]
    assert "speech 1, sound 29, music 30" in mixed


def independent(n, groups=None):
    labels = np.repeat([1, 0], n)
    clips = [Clip(str(k), "x.wav", group=None if groups is None else groups(k)) for k in range(2 * n)]
    return labels, audited_design(clips, labels.tolist())


def test_what_a_list_can_detect_is_two_point_eight_standard_errors():
    """300 a class: se = sqrt((1/4 + 2 * 299 / 12) / 300^2) = 0.02359; 0.5 + 2.8016 se = 0.566; 1.4 times: 0.593."""
    note = detection_note(*independent(300))
    assert "300 members and 300 non-members can show leaks of AUC 0.57 and above by a single score, 0.59 by" in note
    assert "NO LEAK SEEN" not in note
    # sqrt((1/4 + 2 * 99 / 12) / 100^2) = 0.04093: 0.615, and 0.661 trained, which is above 0.60.
    note = detection_note(*independent(100))
    assert "AUC 0.61 and above by a single score, 0.66 by" in note and "NO LEAK SEEN takes 0.60" in note


def test_speakers_count_instead_of_clips_where_they_may_be_all_alike():
    """25 speakers a class: sqrt((1/4 + 2 * 24 / 12) / 25^2) = 0.0825; 0.5 + 2.8016 * 1.4 * 0.0825 = 0.82."""
    note = detection_note(*independent(300, lambda k: f"speaker {k // 12}"))
    assert "groups count instead of clips: 0.82" in note


def test_clips_that_a_clean_verdict_takes():
    """One family: margin / se = z(0.95) + z(0.90) = 2.926, se = 1.4 * 0.408 / sqrt(n), so n = 1,119 or so."""
    note = clean_note(independent(300)[0], 6)
    together, apart = (int(number.replace(",", "")) for number in re.findall(r"(?:about|to) ([\d,]+\d)\b(?!%)", note))
    assert 1110 < together < 1130
    assert 1.5 * together < apart < 1.8 * together
    assert power_of(apart, 1.4 * float(hanley_mcneil(0.5, 300, 300)), 300, families=6) >= 0.8
    assert "here the chance is 0% to 0%" in note
