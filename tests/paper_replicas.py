"""The paper's corpora as small repositories, with the very columns and folders of each, and clips of noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tests.hub_replica import CONVERTED, Repository, card, clip, files

TRAIN, TEST = 48, 18
"""Rows of each train split (two files of four row groups) and of each test split (one file of three)."""

TEXT, NUMBER = pa.string(), pa.int64()
Maker = Callable[[str, int], dict[str, Any]]


def rows(split: str, n: int, make: Maker) -> list[dict[str, Any]]:
    """Make the rows of a split."""
    return [make(split, number) for number in range(n)]


def both(make: Maker, train: list[str], test: list[str], types: dict[str, Any]) -> dict[str, bytes]:
    """Write a train and a test split."""
    return {**files(train, rows("train", TRAIN, make), types), **files(test, rows("test", TEST, make), types)}


def numbered(path: str, n: int) -> list[str]:
    """Paths ``.../0000.parquet`` and on."""
    return [f"{path}/{i:04}.parquet" for i in range(n)]


def librispeech() -> Repository:
    def make(split: str, n: int) -> dict[str, Any]:
        name = f"{100 * (split == 'test') + n // 3}-{n // 6}-{n:04}"
        speaker, chapter, _ = name.split("-")
        return {
            "file": f"{name}.flac",
            "audio": {"bytes": clip(f"librispeech {split} {n}"), "path": f"{name}.flac"},
            "text": f"CHAPTER {split.upper()} SENTENCE {n}",
            "speaker_id": int(speaker),
            "chapter_id": int(chapter),
            "id": name,
        }

    types = {"file": TEXT, "audio": 16_000, "text": TEXT, "speaker_id": NUMBER, "chapter_id": NUMBER, "id": TEXT}
    content = {
        **files(numbered("all/train.clean.100", 2), rows("train", TRAIN, make)[: TRAIN // 2], types),
        **files(numbered("all/train.clean.360", 1), rows("train", TRAIN, make)[TRAIN // 2 : 40], types),
        **files(numbered("all/train.other.500", 1), rows("train", TRAIN, make)[40:], types),
        **files(numbered("all/test.clean", 1), rows("test", TEST, make)[: TEST // 2], types),
        **files(numbered("all/test.other", 1), rows("test", TEST, make)[TEST // 2 :], types),
    }
    splits = ("train.clean.100", "train.clean.360", "train.other.500", "test.clean", "test.other")
    readme = card("all", {split: f"all/{split}/*.parquet" for split in splits})
    return Repository({"main": {**content, "README.md": readme}})


def gigaspeech() -> Repository:
    def make(split: str, n: int) -> dict[str, Any]:
        recording = f"{'POD' if split == 'train' else 'YOU'}{n // 4:010}"
        text = "<MUSIC>" if n % 6 == 5 else f"WELL <COMMA> SEGMENT {n} OF {split.upper()} <PERIOD>"
        name = f"{recording}_S{n:07}"
        return {
            "segment_id": name,
            "speaker": "N/A",
            "text": text,
            "audio": {"bytes": clip(f"gigaspeech {split} {n}", form="WAV"), "path": f"{name}.wav"},
            "begin_time": 1.5 * n,
            "end_time": 1.5 * n + 0.6,
            "audio_id": recording,
            "title": "A title",
            "url": "http://example.org",
            "source": 1,
            "category": 0,
            "original_full_path": f"audio/podcast/P0001/{recording}.opus",
        }

    types = {
        **{"segment_id": TEXT, "speaker": TEXT, "text": TEXT, "audio": 16_000},
        **{"begin_time": pa.float32(), "end_time": pa.float32(), "audio_id": TEXT, "title": TEXT, "url": TEXT},
        **{"source": ["audiobook", "podcast", "youtube"], "category": ["People and Blogs", "Business"]},
        "original_full_path": TEXT,
    }
    train = [f"xl/train-{i:05}-of-00002.parquet" for i in range(2)]
    content = both(make, train, ["xl/test-00000-of-00001.parquet"], types)
    readme = card("xl", {"train": "xl/train-*", "test": "xl/test-*"})
    return Repository({"main": {**content, "README.md": readme}}, gated=True)


def tedlium() -> Repository:
    def make(split: str, n: int) -> dict[str, Any]:
        talk = f"Speaker{'AB'[split == 'test']}{n // 5}_2008P"
        text = "ignore_time_segment_in_scoring" if n % 6 == 0 else f"it 's <unk> number {n} of {split}"
        return {
            "audio": {"bytes": clip(f"tedlium {split} {n}", form="WAV"), "path": f"{talk}.sph"},
            "text": text,
            "speaker_id": talk,
            "gender": n % 3,
            "file": f"/cache/{talk}.sph",
            "id": f"{talk}-{n}.0-{n}.6-<o,f0,female>",
        }

    types = {
        **{"audio": 16_000, "text": TEXT, "speaker_id": TEXT},
        **{"gender": ["unknown", "female", "male"], "file": TEXT, "id": TEXT},
    }
    content = both(make, numbered("release3/partial-train", 2), numbered("release3/partial-test", 1), types)
    other = files(numbered("release1/test", 1), rows("test", 6, make), types)
    script = {"tedlium.py": b"raise SystemExit", "README.md": b"---\nlanguage: en\n---\n"}
    return Repository({"main": script, CONVERTED: {**content, **other}})


def voxpopuli() -> Repository:
    def make(split: str, n: int) -> dict[str, Any]:
        name = f"20180206-0900-PLENARY-{n}-en_20180206-16:10:{n:02}_{split}"
        return {
            "audio_id": name,
            "language": 0,
            "audio": {"bytes": clip(f"voxpopuli {split} {n}", form="OGG"), "path": f"{name}.ogg"},
            "raw_text": "" if n % 2 else f"Mr President, {split} {n}.",
            "normalized_text": "" if n % 6 == 4 else f"mr president {split} {n}",
            "gender": "female",
            "speaker_id": "None" if n % 6 == 0 else str(n // 3),
            "is_gold_transcript": True,
            "accent": "None",
        }

    types = {
        **{"audio_id": TEXT, "language": ["en", "de"], "audio": 16_000, "raw_text": TEXT, "normalized_text": TEXT},
        **{"gender": TEXT, "speaker_id": TEXT, "is_gold_transcript": pa.bool_(), "accent": TEXT},
    }
    content = both(make, numbered("en/partial-train", 2), numbered("en/test", 1), types)
    return Repository({"main": {"voxpopuli.py": b"raise SystemExit"}, CONVERTED: content})


def spgispeech() -> Repository:
    def make(split: str, n: int) -> dict[str, Any]:
        name = f"{split[0] * 8}{n // 4:02x}/{n}.wav"
        return {
            "wav_filename": name,
            "audio": {"bytes": clip(f"spgispeech {split} {n}", form="WAV"), "path": f"{n}.wav"},
            "wav_filesize": 19_244,
            "transcript": f"Revenue grew {n}% in {split}.",
        }

    types = {"wav_filename": TEXT, "audio": 16_000, "wav_filesize": pa.int32(), "transcript": TEXT}
    content = both(make, numbered("L/partial-train", 2), numbered("L/test", 1), types)
    return Repository({"main": {"spgispeech.py": b"raise SystemExit"}, CONVERTED: content}, gated=True)


def clotho() -> Repository:
    def make(split: str, n: int) -> dict[str, Any]:
        captions = [f"Caption {i} of {split} sound {n}" for i in range(5)]
        return {
            "index": str(n),
            "datasetname": "Clotho",
            "audio": {"bytes": clip(f"clotho {split} {n}", 44_100, form="WAV"), "path": f"{n}.wav"},
            "audio_len": 0.6,
            "text": captions[2],
            "raw_text": captions,
        }

    types = {
        **{"index": TEXT, "datasetname": TEXT, "audio": 44_100, "audio_len": pa.float32(), "text": TEXT},
        "raw_text": pa.list_(TEXT),
    }
    train = [f"data/train-{i:05}-of-00002.parquet" for i in range(2)]
    content = both(make, train, ["data/test-00000-of-00001.parquet"], types)
    readme = card("default", {"train": "data/train-*", "test": "data/test-*"})
    return Repository({"main": {**content, "README.md": readme}})


def nsynth() -> Repository:
    def make(split: str, n: int) -> dict[str, Any]:
        source = ("acoustic", "synthetic")[split == "test"]
        name = f"bass_{source}_{n // 4:03}-{40 + n % 40:03}-025"
        return {
            "audio": {"bytes": clip(f"nsynth {split} {n}", form="WAV"), "path": f"{name}.wav"},
            "instrument": "bass",
            "label": 0,
        }

    types = {"audio": 16_000, "instrument": TEXT, "label": ["bass", "brass", "flute"]}
    content = both(make, numbered("instrument/train", 2), numbered("instrument/test", 1), types)
    readme = card("instrument", {"train": "instrument/train/*", "test": "instrument/test/*"})
    return Repository({"main": {**content, "README.md": readme}})


def labelled() -> Repository:
    """A dataset of no corpus: one split, a column that labels its rows, clips that repeat or cannot be read."""

    def make(split: str, n: int) -> dict[str, Any]:
        sounds = {0: b"not audio", 1: b"", 2: clip("short", seconds=0.1), 3: clip("again"), 8: clip("again")}
        return {
            "sound": {"bytes": sounds.get(n % 12, clip(f"labelled {n}")), "path": None},
            "sentence": None if n % 12 == 4 else f"sentence {n}",
            "client": f"client {n // 2}",
            "seen": n % 2 == 1,
        }

    types = {"sound": 16_000, "sentence": TEXT, "client": TEXT, "seen": pa.bool_()}
    content = files(["data/train-00000-of-00001.parquet"], rows("train", 60, make), types)
    return Repository({"main": {**content, "README.md": card("default", {"train": "data/train-*"})}})


def loose_files() -> Repository:
    """A dataset of audio files with a list beside them, and the hub's conversion of it."""

    def make(split: str, n: int) -> dict[str, Any]:
        return {"audio": {"bytes": clip(f"loose {split} {n}"), "path": f"{n}.flac"}, "transcription": f"{split} {n}"}

    loose = {f"{split}/{n}.flac": clip(f"loose {split} {n}") for split in ("train", "test") for n in range(6)}
    for split in ("train", "test"):
        listed = "".join(f"{n}.flac,{split} {n}\n" for n in range(6))
        loose[f"{split}/metadata.csv"] = f"file_name,transcription\n{listed}".encode()
    types = {"audio": 16_000, "transcription": TEXT}
    content = both(make, numbered("default/train", 1), numbered("default/test", 1), types)
    return Repository({"main": loose, CONVERTED: content})


def all_repositories() -> dict[str, Repository]:
    """Every repository by its id."""
    return {
        "openslr/librispeech_asr": librispeech(),
        "speechcolab/gigaspeech": gigaspeech(),
        "LIUM/tedlium": tedlium(),
        "facebook/voxpopuli": voxpopuli(),
        "kensho/spgispeech": spgispeech(),
        "CLAPv2/Clotho": clotho(),
        "confit/nsynth-parquet": nsynth(),
        "somebody/labelled": labelled(),
        "somebody/loose": loose_files(),
        "somebody/script": Repository({"main": {"script.py": b"raise SystemExit"}}),
        "somebody/empty": Repository({"main": {"README.md": b"nothing"}}),
    }
