"""Corpora in the folders they were distributed in: every layout, made small."""

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from precompute.clips import InputError, read_audio
from precompute.corpora.hub import find
from precompute.corpora.paper import CORPORA
from tests.hub_replica import clip


def noise(path: Path, seconds: float = 1.0, form: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples, rate = soundfile.read(io.BytesIO(clip(path.name, seconds=seconds)))
    soundfile.write(path, samples, rate, format=form)
    return path


def lay_librispeech(root: Path) -> None:
    for part in ("train-clean-100", "train-other-500", "test-clean"):
        for speaker in ("19", "26"):
            chapter = root / "LibriSpeech" / part / speaker / "198"
            names = [f"{speaker}-198-{n:04}" for n in range(3)]
            for name in names:
                noise(chapter / f"{name}.flac")
            text = "".join(f"{name} HE SAID {name[-1]}\n" for name in names)
            (chapter / f"{speaker}-198.trans.txt").write_text(text)


def lay_tedlium(root: Path) -> None:
    for part in ("train", "test"):
        legacy = root / "TEDLIUM_release-3/legacy" / part
        for talk in ("AlGore_2009", "PaulaScher_2008P"):
            noise(legacy / "sph" / f"{talk}.sph", 4.0, "NIST")
            lines = [f"{talk} 1 {talk} {n}.25 {n + 1}.00 <o,f0,male> it 's number {n} <unk>" for n in range(3)]
            lines.append(f"{talk} 1 {talk} 3.25 4.00 <o,f0,male> ignore_time_segment_in_scoring")
            (legacy / "stm").mkdir(exist_ok=True)
            (legacy / "stm" / f"{talk}.stm").write_text("\n".join(lines))


def lay_spgispeech(root: Path) -> None:
    for part in ("train", "val"):
        names = [f"07a785e9237c{n // 3}/{n}.wav" for n in range(6)]
        for name in names:
            noise(root / part / name)
        rows = "".join(f'{name}|19244|So, "revenue" grew.\n' for name in names)
        (root / f"{part}.csv").write_text(f"wav_filename|wav_filesize|transcript\n{rows}")


def lay_clotho(root: Path) -> None:
    for part in ("development", "evaluation"):
        names = [f"{part} rain, {n}.wav" for n in range(6)]
        with (root / f"clotho_captions_{part}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file_name", *(f"caption_{i}" for i in range(1, 6))])
            for name in names:
                noise(root / part / name)
                table.writerow([name, *(f"Rain, take {i}." for i in range(1, 6))])


def lay_cochlscene(root: Path) -> None:
    for part in ("Train", "Test"):
        for n in range(6):
            noise(root / "CochlScene" / part / "SubwayStation" / f"SubwayStation_user000{n % 2}_1489725{n}_005.wav")


def lay_nsynth(root: Path) -> None:
    for part in ("nsynth-train", "nsynth-test"):
        notes = {f"synth_lead_synthetic_00{n % 2}-0{60 + n}-100": {"pitch": 60 + n} for n in range(6)}
        for name in notes:
            noise(root / part / "audio" / f"{name}.wav")
        (root / part / "examples.json").write_text(json.dumps(notes))


LAID = {
    "librispeech": (lay_librispeech, 5, "he said", {"19", "26"}),
    "tedlium": (lay_tedlium, 5, "it's number", {"AlGore_2009", "PaulaScher_2008P"}),
    "spgispeech": (lay_spgispeech, 5, 'So, "revenue" grew.', {"07a785e9237c0", "07a785e9237c1"}),
    "clotho": (lay_clotho, 5, "Rain, take 1.", {None}),
    "cochlscene": (lay_cochlscene, 5, "Ambient sound of a place: subway station.", {"user0000", "user0001"}),
    "nsynth": (
        lay_nsynth,
        5,
        "A single synthetic synth note, MIDI pitch 6",
        {"synth_lead_synthetic_000", "synth_lead_synthetic_001"},
    ),
}


@pytest.mark.parametrize("name", LAID)
def test_a_folder_in_the_original_layout_gives_a_balanced_seeded_cohort(name, tmp_path, monkeypatch):
    lay, per_class, text, groups = LAID[name]
    lay(tmp_path)
    (cohort,) = find(f"{name}={tmp_path}", 0, per_class)
    assert Counter(cohort.labels) == {0: per_class, 1: per_class}
    assert all(one.text.startswith(text) for one in cohort.clips)
    assert {one.group for one in cohort.clips} == groups
    assert {one.task for one in cohort.clips} == {CORPORA[name].task}
    for one in cohort.clips:
        assert len(read_audio(one)) == (12_000 if name == "tedlium" else 16_000)
    monkeypatch.setenv(f"AUDIT_{name.upper()}", str(tmp_path))
    assert find(name, 0, per_class) == [cohort]
    drawn = {frozenset(one.clip_id for one in find(name, seed, per_class)[0].clips) for seed in range(4)}
    assert len(drawn) > 1


def test_missing_and_broken_files_of_a_folder_are_no_clips(tmp_path):
    lay_clotho(tmp_path)
    (tmp_path / "development/development rain, 0.wav").unlink()
    (tmp_path / "development/development rain, 1.wav").write_bytes(b"nothing")
    (cohort,) = find(f"clotho={tmp_path}", 0, 6)
    assert Counter(cohort.labels) == {0: 4, 1: 4}
    assert not {"development rain, 0.wav", "development rain, 1.wav"} & {one.path.name for one in cohort.clips}


def test_a_folder_of_another_layout_is_refused_with_the_layout_it_should_have(tmp_path):
    for name in LAID:
        with pytest.raises(InputError, match="holds no non-members"):
            find(f"{name}={tmp_path}")
    with pytest.raises(InputError, match="no such folder"):
        find(f"nsynth={tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match="not read from a folder"):
        find(f"voxpopuli={tmp_path}")
    with pytest.raises(InputError, match="cochlscene=FOLDER"):
        find("cochlscene")
