"""One row of a hub dataset to one clip, or the reason why it holds none."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from precompute.clips import InputError
from precompute.corpora.hub import HubCorpus, Value
from precompute.manifest import LABELS

UNKNOWN = frozenset({"", "none", "nan", "null", "n/a", "unknown"})
"""What corpora write where they do not know a speaker."""

TRUTHS = {"true": 1, "false": 0}
"""Label words that a list does not have but a hub column may."""

SUFFIXES = {"WAVEX": ".wav", "MPEG": ".mp3", "NIST": ".sph"}
"""libsndfile's name of a format to the file ending, where it is not the name itself."""

CLASSES = ("non-member", "member")
"""Names of the labels 0 and 1."""


@dataclass(frozen=True)
class Drawn:
    """A row that can be a clip.

    Parameters
    ----------
    rank : str
        Hash of seed and clip id; the smallest are kept.
    clip_id, split : str
    label : int
    text, group : str or None
    seconds : float
    digest : str
        Of the encoded audio.
    file_name : str
        Where its audio is kept, as seen from the draw's folder.
    """

    rank: str
    clip_id: str
    split: str
    label: int
    text: str | None
    group: str | None
    seconds: float
    digest: str
    file_name: str


def ranked(seed: int, *what: object) -> str:
    """Hash that puts things in an order that looks random and depends on the seed: 32 hexadecimal digits."""
    return hashlib.blake2b(":".join(map(str, (seed, *what))).encode(), digest_size=16).hexdigest()


def candidate(
    row: Mapping[str, Any], split: str, label: int | None, corpus: HubCorpus, seed: int
) -> tuple[Drawn, bytes] | str:
    """Make a clip of a row.

    Parameters
    ----------
    row : mapping
        Cells by column; the audio column is a mapping with ``bytes`` and ``path``, or bytes.
    split : str
        It came from.
    label : int or None
        Of everything in the split; None reads the label column.
    corpus : HubCorpus
    seed : int

    Returns
    -------
    tuple of (Drawn, bytes), or str
        The clip and its encoded audio, or why the row holds none.

    Raises
    ------
    InputError
        If its label is none.
    """
    columns = corpus.columns
    label = label_in(row[columns.label], corpus) if label is None and columns.label else label
    text = text_of(row, corpus)
    if text is None and columns.text:
        return "no text that is spoken or described"
    data = sound(row[columns.audio])
    if not data:
        return "no audio"
    seconds, suffix = measured(data)
    if not corpus.min_seconds <= seconds <= corpus.max_seconds:
        return "audio that cannot be decoded" if seconds == 0 else "too short or too long"
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    own = value_of(row, columns.id) if columns.id else None
    clip_id = f"{corpus.name}/{split}/{own or digest}"
    rank = ranked(seed, clip_id)
    name = f"audio/{CLASSES[int(bool(label))]}/{rank}{suffix}"
    return Drawn(rank, clip_id, split, int(bool(label)), text, group_of(row, corpus), seconds, digest, name), data


def value_of(row: Mapping[str, Any], value: Value) -> str | None:
    """Find a value in a row; None where the cell is empty or the pattern is not found."""
    cell = row.get(value.column)
    if value.column not in row and value.column.endswith(".path"):
        audio = row.get(value.column.removesuffix(".path"))
        cell = audio.get("path") if isinstance(audio, Mapping) else None
    if isinstance(cell, list | tuple):
        cell = cell[0] if cell else None
    text = "" if cell is None else str(cell).strip()
    if value.pattern is None:
        return text or None
    found = re.search(value.pattern, text)
    return (found.expand(value.template).strip() or None) if found else None


def text_of(row: Mapping[str, Any], corpus: HubCorpus) -> str | None:
    """Transcript or caption of a row, edited; None where there is none, or only a mark that nothing is spoken."""
    text = next((text for value in corpus.columns.text if (text := value_of(row, value))), "")
    if corpus.skip_text and re.fullmatch(corpus.skip_text, text):
        return None
    return edited_text(text, corpus) or None


def edited_text(text: str, corpus: HubCorpus) -> str:
    """Apply the corpus's edits in order, leave single spaces, and set in lower case where the corpus says so."""
    for pattern, replacement in corpus.text_edits:
        text = re.sub(pattern, replacement, text)
    text = " ".join(text.split())
    return text.lower() if corpus.lowercase else text


def group_of(row: Mapping[str, Any], corpus: HubCorpus) -> str | None:
    """Group of a row; None where it is not known."""
    group = value_of(row, corpus.columns.group) if corpus.columns.group else None
    return None if group is None or group.casefold() in UNKNOWN else group


def label_in(cell: Any, corpus: HubCorpus) -> int:
    """Read a label: member or non-member, 1 or 0, true or false."""
    label = {**LABELS, **TRUTHS}.get(str(cell).strip().lower())
    if label is None:
        raise InputError(
            f"{corpus.hub_id}: column {corpus.columns.label} holds {cell!r}, which is none of member, non-member, "
            "1, 0, true, false"
        )
    return label


def sound(cell: Any) -> bytes | None:
    """Take the encoded audio of a cell; None where there is none, or only the name of a file."""
    data = cell.get("bytes") if isinstance(cell, Mapping) else cell
    return data if isinstance(data, bytes) else None


def measured(data: bytes) -> tuple[float, str]:
    """Length of encoded audio in seconds, and the file ending of its format; 0 where it cannot be decoded."""
    import soundfile

    try:
        info = soundfile.info(io.BytesIO(data))
    except soundfile.LibsndfileError:
        return 0.0, ""
    return float(info.duration), SUFFIXES.get(info.format, f".{info.format.lower()}")
