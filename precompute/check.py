"""Looking a list of clips over before a GPU is spent: everything wrong with it, and what follows from what it lacks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.clips import Clip, InputError, content_hash, read_audio
from precompute.copies import Fingerprint, fingerprint, near_copies
from precompute.manifest import MIN_PER_CLASS, Problems, Row, by_dataset, missing_files, one_class, understood_rows
from precompute.prospects import notes_of
from precompute.units import design

AT_ONCE = 256
"""Clips handed to the readers together."""

LEAST_SHARED = 0.01
"""Seconds of one file that have to be in both classes for an overlap: a border that two spans share is none."""


@dataclass(frozen=True)
class Findings:
    """What a check found.

    Parameters
    ----------
    problems : tuple of str
        One sentence each, beginning with the step of `precompute.manifest.STEPS` that found it and naming the row;
        empty where the list can be audited.
    notes : tuple of str
        What follows from what the list lacks, and what it can show; nothing has to be done about these.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Heard:
    """A clip that was decoded and holds sound.

    Parameters
    ----------
    content : str
        Hash of its samples at the file's own rate: a WAV and its FLAC copy agree to the bit.
    seconds : float
    fingerprint : Fingerprint
    """

    content: str
    seconds: float
    fingerprint: Fingerprint


def check(path: Path | str, columns: Mapping[str, str] | None = None) -> Findings:
    """Find everything wrong with a list of clips, audio included, and say what it can show.

    Parameters
    ----------
    path, columns
        As in `precompute.manifest.load_manifest`.

    Returns
    -------
    Findings
    """
    problems = Problems()
    rows = understood_rows(Path(path), problems, columns)
    heard = decoded(missing_files(rows, problems), problems)
    notes: list[str] = []
    for dataset, same in by_dataset(rows).items():
        small_classes(dataset, same, problems)
        single_groups(dataset, same, problems)
        usable = [row for row in same if row.number in heard]
        found = same_audio(usable, heard, problems)
        found |= overlapping_spans([row for row in usable if row.number not in found], usable, heard, problems)
        copied([row for row in usable if row.label or row.number not in found], heard, problems)
        if {row.label for row in usable} == {0, 1}:
            notes += notes_of(
                dataset,
                [row.clip for row in usable],
                [row.label for row in usable],
                [heard[row.number].seconds for row in usable],
                [heard[row.number].content for row in usable],
            )
    ordered = sorted(problems.found, key=lambda problem: int(problem[1 : problem.index("/")]))
    return Findings(tuple(ordered), tuple(notes))


def printed(findings: Findings) -> str:
    """Print findings: numbered problems, then notes."""
    lines = [f"{number}. {problem}" for number, problem in enumerate(findings.problems, 1)]
    return "\n".join([*(lines or ["no problem found"]), *(f"note: {note}" for note in findings.notes)])


def decoded(rows: Sequence[Row], problems: Problems) -> dict[int, Heard]:
    """Decode every clip once (step 4).

    Parameters
    ----------
    rows : sequence of Row
    problems : Problems

    Returns
    -------
    dict of int to Heard
        By row number, of rows that hold sound.
    """
    from tqdm import tqdm

    clips = list(dict.fromkeys(_span(row.clip) for row in rows))
    bar = tqdm(_listened(clips), total=len(clips), desc="reading audio", unit="clip", disable=None)
    found = dict(zip(clips, bar, strict=True))
    heard = {}
    for row in rows:
        one = found[_span(row.clip)]
        if isinstance(one, Heard):
            heard[row.number] = one
        else:
            problems.add(4, f"{row}: {one}")
    return heard


def _span(clip: Clip) -> Clip:
    """Reduce a clip to what decides its audio: datasets of one list may share clips."""
    return Clip("", clip.path, start=clip.start, end=clip.end)


def _listened(clips: Sequence[Clip]) -> Iterator[Heard | str]:
    """Decode clips in threads, in order; decoding, resampling and transforms leave Python's lock."""
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="check") as pool:
        for first in range(0, len(clips), AT_ONCE):
            yield from pool.map(listen, clips[first : first + AT_ONCE])


def listen(clip: Clip) -> Heard | str:
    """Decode one clip; the reason as a sentence where it holds no sound."""
    import soundfile

    try:
        # At its own rate: nothing is resampled before it is hashed.
        rate = soundfile.info(clip.path).samplerate
        samples = read_audio(clip, rate)
    except (InputError, soundfile.LibsndfileError) as error:
        return str(error)
    if not samples.any():
        return "is digital silence from beginning to end"
    return Heard(content_hash(samples), len(samples) / rate, fingerprint(samples, rate))


def small_classes(dataset: str, rows: Sequence[Row], problems: Problems) -> None:
    """Note a dataset with one class, or with too few clips in one (step 5)."""
    counts = {1: sum(row.label for row in rows), 0: sum(1 - row.label for row in rows)}
    if not all(counts.values()):
        first = rows[0]
        problems.add(5, f"{dataset} (from row {first.number}): {one_class({row.label for row in rows})}")
    for label, name in ((1, "members"), (0, "non-members")):
        if 0 < counts[label] < MIN_PER_CLASS:
            listed = ", ".join(str(row.number) for row in rows if row.label == label)
            problems.add(5, f"{dataset}: only {counts[label]} {name} (rows {listed}), at least {MIN_PER_CLASS} needed")


def single_groups(dataset: str, rows: Sequence[Row], problems: Problems) -> None:
    """Note a dataset in which a class is one group, so that it cannot be told from a voice (step 5)."""
    labels = [row.label for row in rows]
    if len(set(labels)) < 2:
        return
    made = design(np.asarray(labels), [row.clip.group for row in rows])
    if made.nested and min(made.groups_member or 0, made.groups_non_member or 0) < 2:
        problems.add(
            5,
            f"{dataset}: all clips of a class have one group (speaker or source), so that a class cannot be told from "
            "a voice; at least 2 groups of each class are needed, and 6 for a verdict",
        )


def same_audio(rows: Sequence[Row], heard: Mapping[int, Heard], problems: Problems) -> set[int]:
    """Note non-members whose decoded audio is also listed as a member (step 6); give back their numbers."""
    members: dict[str, Row] = {}
    for row in rows:
        if row.label == 1:
            members.setdefault(heard[row.number].content, row)
    found = set()
    for row in rows:
        twin = members.get(heard[row.number].content)
        if row.label == 0 and twin is not None:
            problems.add(6, f"{row}: listed as non-member, holds the same audio as {twin}, listed as member")
            found.add(row.number)
    return found


def overlapping_spans(
    suspects: Sequence[Row], rows: Sequence[Row], heard: Mapping[int, Heard], problems: Problems
) -> set[int]:
    """Note non-members that share a stretch of their file with a member (step 6); give back their numbers.

    Parameters
    ----------
    suspects : sequence of Row
        Non-members among these are looked at.
    rows : sequence of Row
        Of one dataset.
    heard : mapping of int to Heard
    problems : Problems
    """

    def span(row: Row) -> tuple[float, float]:
        start = row.clip.start or 0.0
        return start, start + heard[row.number].seconds

    by_file: dict[Path, list[Row]] = {}
    for row in rows:
        by_file.setdefault(row.clip.path.resolve(), []).append(row)
    closest: dict[int, tuple[float, Row, Row]] = {}
    for same in by_file.values():
        reaching: list[Row] = []
        for row in sorted(same, key=span):
            reaching = [other for other in reaching if span(other)[1] - span(row)[0] > LEAST_SHARED]
            for other in reaching:
                if other.label != row.label:
                    member, non_member = sorted((row, other), key=lambda one: -one.label)
                    shared = min(span(row)[1], span(other)[1]) - span(row)[0]
                    if shared > closest.get(non_member.number, (LEAST_SHARED,))[0]:
                        closest[non_member.number] = (shared, non_member, member)
            reaching.append(row)
    wanted = {row.number for row in suspects}
    found = {number: pair for number, pair in closest.items() if number in wanted}
    for shared, row, member in found.values():
        problems.add(
            6, f"{row}: listed as non-member, shares {shared:.2f} s of its file with {member}, listed as member"
        )
    return set(found)


def copied(rows: Sequence[Row], heard: Mapping[int, Heard], problems: Problems) -> None:
    """Note non-members that are a member's recording re-encoded, resampled, trimmed or louder (step 6)."""
    members, others = ([row for row in rows if row.label == label] for label in (1, 0))
    clips = [[row.clip for row in part] for part in (members, others)]
    prints = [[heard[row.number].fingerprint for row in part] for part in (members, others)]
    for copy in near_copies(clips[0], clips[1], (prints[0], prints[1])):
        problems.add(
            6,
            f"{others[copy.second]}: listed as non-member, is a copy of {members[copy.first]}, listed as member: "
            f"{copy.overlap:.2f} s of the two waveforms correlate at {copy.correlation:.2f}",
        )
