"""Corpora in the folders they were distributed in: listing the clips of one, and drawing a balanced cohort from them.

Audio stays where it is. Every layout gives rows with the columns that the same corpus has on the hub, so that texts and
groups are read in one way; here all rows are known, so every usable clip of a class is equally likely.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from precompute.clips import Clip, Cohort, InputError
from precompute.corpora.hub import HubCorpus
from precompute.corpora.hub_rows import CLASSES, group_of, ranked, text_of, value_of


@dataclass(frozen=True)
class Found:
    """A clip that a layout lists.

    Parameters
    ----------
    part : str
        Official part, for instance ``train-clean-100``.
    path : Path
    row : dict
        Cells by the column names of the hub.
    start, end : float or None
        Span in the file, in seconds.
    """

    part: str
    path: Path
    row: dict[str, Any] = field(hash=False)
    start: float | None = None
    end: float | None = None


def listed(corpus: HubCorpus, folder: Path, seed: int) -> Cohort:
    """Draw the cohort of a corpus from a folder with its original distribution.

    Parameters
    ----------
    corpus : HubCorpus
    folder : Path
        Laid out as the corpus's `local_layout` says, or one level above.
    seed : int

    Returns
    -------
    Cohort
        Equally many clips of each class, those with the smallest hash of seed and clip id.

    Raises
    ------
    InputError
        If there is no such folder, its layout is another one, or a class has no clip that can be read.
    """
    if corpus.name not in LAYOUTS:
        raise InputError(
            f"{corpus.title} is not read from a folder; write its clips into a list with file_name, label and text"
        )
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder to read {corpus.title} from")
    classes = [chosen(corpus, list(LAYOUTS[corpus.name](folder, label)), seed) for label in (0, 1)]
    for name, clips in zip(CLASSES, classes, strict=True):
        if not clips:
            raise InputError(
                f"{folder}: holds no {name}s of {corpus.title}; its layout should be {corpus.local_layout}"
            )
    per_class = min(map(len, classes))
    pairs = [(clip, label) for label, clips in enumerate(classes) for clip in clips[:per_class]]
    pairs.sort(key=lambda pair: pair[0].clip_id)
    how = f"{per_class} clips of each class, drawn with seed {seed} from the original distribution."
    return corpus.cohort(tuple(clip for clip, _ in pairs), tuple(label for _, label in pairs), how)


def chosen(corpus: HubCorpus, found: list[Found], seed: int) -> list[Clip]:
    """Take the first clips in seeded order that have a text and a length that fits, at most `per_class`."""
    named = {
        f"{corpus.name}/{one.part}/{value_of(one.row, corpus.columns.id) if corpus.columns.id else one.path.stem}": one
        for one in found
    }
    clips: list[Clip] = []
    for clip_id in sorted(named, key=lambda clip_id: ranked(seed, clip_id)):
        if len(clips) == corpus.per_class:
            break
        one = named[clip_id]
        text = text_of(one.row, corpus)
        if (text or not corpus.columns.text) and corpus.min_seconds <= seconds(one) <= corpus.max_seconds:
            group = group_of(one.row, corpus)
            clips.append(Clip(clip_id, one.path, text, group, one.start, one.end, corpus.language, corpus.task))
    return clips


def seconds(one: Found) -> float:
    """Length of a clip; 0 where its file is missing or cannot be decoded."""
    import soundfile

    if one.start is not None and one.end is not None and one.path.is_file():
        return one.end - one.start
    try:
        return float(soundfile.info(one.path).duration)
    except soundfile.LibsndfileError:
        return 0.0


def inside(folder: Path, name: str) -> Path:
    """Folder of that name below the given one, or the given one where it is that itself."""
    return folder / name if (folder / name).is_dir() else folder


def librispeech(folder: Path, label: int) -> Iterator[Found]:
    """LibriSpeech: ``train-clean-100/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt`` with lines ``ID TEXT``."""
    for part in sorted(inside(folder, "LibriSpeech").glob("train-*" if label else "test-*")):
        for listing in sorted(part.glob("*/*/*.trans.txt")):
            for line in listing.read_text(encoding="utf-8").splitlines():
                name, _, text = line.partition(" ")
                row = {"id": name, "text": text, "speaker_id": name.partition("-")[0]}
                yield Found(part.name, listing.parent / f"{name}.flac", row)


def tedlium(folder: Path, label: int) -> Iterator[Found]:
    """TED-LIUM 3: ``legacy/train/stm/TALK.stm`` with lines ``TALK CHANNEL SPEAKER START END <...> TEXT``."""
    part = inside(inside(folder, "TEDLIUM_release-3"), "legacy") / ("train" if label else "test")
    for listing in sorted(part.glob("stm/*.stm")):
        for line in listing.read_text(encoding="utf-8").splitlines():
            cells = line.split(maxsplit=6)
            if len(cells) < 7 or line.startswith(";;"):
                continue
            talk, _, speaker, start, end, tags, text = cells
            row = {"id": f"{talk}-{start}-{end}-{tags}", "text": text, "speaker_id": speaker}
            yield Found(part.name, part / "sph" / f"{talk}.sph", row, time_in(start, listing), time_in(end, listing))


def time_in(cell: str, listing: Path) -> float:
    """Read a time in seconds."""
    try:
        return float(cell)
    except ValueError as error:
        raise InputError(f"{listing}: {cell!r} is not a time in seconds") from error


def spgispeech(folder: Path, label: int) -> Iterator[Found]:
    """SPGISpeech: ``train.csv`` with ``wav_filename|wav_filesize|transcript``, audio in ``train/``.

    The first releases have no test part; then its validation part is the one that was held out.
    """
    root = inside(folder, "spgispeech")
    part = "train" if label else "test" if (root / "test.csv").is_file() else "val"
    for row in table(root / f"{part}.csv", "|"):
        yield Found(part, root / part / row["wav_filename"], row)


def clotho(folder: Path, label: int) -> Iterator[Found]:
    """Clotho: ``clotho_captions_development.csv`` with ``file_name, caption_1 ... caption_5``."""
    part = "development" if label else "evaluation"
    for row in table(folder / f"clotho_captions_{part}.csv", ","):
        captions = [row[name] for name in sorted(row) if name.startswith("caption_")]
        yield Found(part, folder / part / row["file_name"], {"index": row["file_name"], "raw_text": captions})


def cochlscene(folder: Path, label: int) -> Iterator[Found]:
    """CochlScene: ``Train/SubwayStation/SubwayStation_user0009_14897252_005.wav``."""
    part = inside(folder, "CochlScene") / ("Train" if label else "Test")
    for path in sorted(part.glob("*/*.wav")):
        scene = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.parent.name).lower()
        yield Found(part.name, path, {"scene": scene, "audio": {"path": path.name}})


def nsynth(folder: Path, label: int) -> Iterator[Found]:
    """NSynth: ``nsynth-train/examples.json``, notes by name, audio in ``nsynth-train/audio``."""
    part = folder / ("nsynth-train" if label else "nsynth-test")
    if not (part / "examples.json").is_file():
        return
    try:
        notes = json.loads((part / "examples.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{part / 'examples.json'} is not JSON ({error})") from error
    for name, note in notes.items():
        row = {"audio": {"path": f"{name}.wav"}, "instrument": note.get("instrument_family_str")}
        yield Found(part.name, part / "audio" / f"{name}.wav", row)


def table(path: Path, delimiter: str) -> Iterator[dict[str, str]]:
    """Rows of a table with a heading; none where there is no such file."""
    if not path.is_file():
        return
    # Transcripts between bars hold quotation marks of their own.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        rows = csv.DictReader(lines, delimiter=delimiter, quoting=quoting)
        for row in rows:
            if None in row or None in row.values():
                raise InputError(f"{path}: line {rows.line_num} does not have as many cells as the heading")
            yield row


LAYOUTS: dict[str, Callable[[Path, int], Iterator[Found]]] = {
    "librispeech": librispeech,
    "tedlium": tedlium,
    "spgispeech": spgispeech,
    "clotho": clotho,
    "cochlscene": cochlscene,
    "nsynth": nsynth,
}
"""How each corpus is laid out; each gives the clips of one class (1 members, 0 non-members)."""
