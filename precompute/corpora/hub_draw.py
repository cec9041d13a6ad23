"""Drawing a balanced cohort from the hub: seeded, bounded in memory and download, resumable, kept on this machine.

How clips are drawn. A split is files of row groups, often in order of speaker or recording, and often too large to be
fetched whole. So the files of a class are taken in a seeded order, `FILES_AT_ONCE` at a time; their row groups are read
in a seeded order, until `OVERSAMPLE` times as many usable rows were seen as clips are wanted, or there are no more.
Kept are the rows with the smallest hash of seed and clip id. The same seed at the same commit gives the same clips.

What this trades away: where a split is larger than what is read, clips come from some of its row groups, so more of
them share a speaker or a recording than in a draw from all rows; the audit's groups account for that. Where a split is
read whole, as most test splits are, every usable row is equally likely.

Non-members are drawn first, then as many members as there are of them. Audio that was taken is not taken again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from precompute.clips import Cohort, InputError
from precompute.corpora.home import data_home
from precompute.corpora.hub import HubCorpus
from precompute.corpora.hub_kept import Progress, State, finish, plain, read, read_state, remove_strangers, write_state
from precompute.corpora.hub_rows import CLASSES, Drawn, candidate, ranked
from precompute.corpora.hub_stream import Part, Source, open_source

VERSION = 1
"""Part of every draw's folder name: raised when the same seed would give other clips."""

OVERSAMPLE = 4
"""Usable rows that are looked at for each clip that is kept."""

FILES_AT_ONCE = 16
"""Files whose row groups are mixed with each other before further files are opened."""

ROWS_AT_MOST = 50_000
"""Rows of a class that are looked at, whatever they hold."""

DECIDES_NOTHING = (
    "title",
    "mean_seconds",
    "seconds_source",
    "licence",
    "attribution",
    "homepage",
    "gated",
    "verified",
    "note",
    "local_layout",
)
"""Fields of a corpus that do not decide which clips are drawn."""


def drawn(corpus: HubCorpus, seed: int) -> Cohort:
    """Get the cohort of a corpus, drawing what is not on this machine yet.

    Parameters
    ----------
    corpus : HubCorpus
        With a `hub_id`.
    seed : int

    Returns
    -------
    Cohort
        Audio as the hub has it, byte for byte. Once it is complete, nothing is asked of the network again.

    Raises
    ------
    InputError
        If the dataset cannot be read, or gives no clip of a class.
    """
    import filelock

    folder = folder_of(corpus, seed)
    if not (folder / "drawn.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / "lock"):  # another process may be drawing the same: wait for it
            if not (folder / "drawn.json").is_file():
                draw(corpus, seed, folder)
    return read(corpus, folder)


def folder_of(corpus: HubCorpus, seed: int) -> Path:
    """Folder of a draw; its name holds a hash of whatever decides which clips are in it."""
    decides = {name: value for name, value in dataclasses.asdict(corpus).items() if name not in DECIDES_NOTHING}
    key = json.dumps([VERSION, OVERSAMPLE, FILES_AT_ONCE, ROWS_AT_MOST, seed, decides], sort_keys=True)
    return data_home() / "hub" / f"{plain(corpus.name)}-{hashlib.blake2b(key.encode(), digest_size=6).hexdigest()}"


def draw(corpus: HubCorpus, seed: int, folder: Path) -> None:
    """Draw a cohort into a folder, going on where a stopped draw was."""
    saved = read_state(folder)
    source = open_source(corpus, saved.place if saved else None)
    state = saved or State(source.place)
    remove_strangers(folder, state)
    hand = Draw(source, seed, folder, state)
    if corpus.columns.label:
        refuse_empty(corpus, hand.fill("both", corpus.member_splits, None, corpus.per_class), CLASSES)
    else:
        others = hand.fill(CLASSES[0], corpus.non_member_splits, 0, corpus.per_class)
        refuse_empty(corpus, others, CLASSES[:1])
        refuse_empty(corpus, hand.fill(CLASSES[1], corpus.member_splits, 1, len(others.kept)), CLASSES[1:])
    finish(corpus, seed, folder, state, balanced(state))


@dataclass(frozen=True)
class Draw:
    """A draw under way.

    Parameters
    ----------
    source : Source
    seed : int
    folder : Path
    state : State
        Changed and saved with every part that is read.
    """

    source: Source
    seed: int
    folder: Path
    state: State

    def fill(self, name: str, splits: Sequence[str], label: int | None, wanted: int) -> Progress:
        """Read parts of splits until enough was seen.

        Parameters
        ----------
        name : str
            Of the class, or ``both``.
        splits : sequence of str
        label : int or None
            Of every row; None where a column says it, and then both classes are drawn.
        wanted : int
            Clips of each class.

        Returns
        -------
        Progress
        """
        from tqdm import tqdm

        progress = self.state.classes.setdefault(name, Progress())
        done, classes = set(progress.done), CLASSES if label is None else (CLASSES[label],)
        total = OVERSAMPLE * wanted * len(classes)
        with tqdm(total=total, initial=progress.rows(), desc=f"{self.source.corpus.name}: {name}", disable=None) as bar:
            for part in parts_in_order(self.source, splits, self.seed):
                enough = all(progress.usable.get(one, 0) >= OVERSAMPLE * wanted for one in classes)
                if enough or progress.rows() >= ROWS_AT_MOST:
                    break
                if part not in done:
                    before = progress.rows()
                    self.keep(self.look(part, label, progress), wanted, progress, part)
                    bar.update(progress.rows() - before)
        return progress

    def look(self, part: Part, label: int | None, progress: Progress) -> dict[Drawn, bytes]:
        """Fetch a part; count its rows and give back those that can be clips, with their encoded audio."""
        sounds = {}
        for row in islice(self.source.rows(part), ROWS_AT_MOST - progress.rows()):
            found = candidate(row, part.split, label, self.source.corpus, self.seed)
            if isinstance(found, str):
                progress.dropped[found] = progress.dropped.get(found, 0) + 1
            else:
                sounds[found[0]] = found[1]
                name = CLASSES[found[0].label]
                progress.usable[name] = progress.usable.get(name, 0) + 1
        return sounds

    def keep(self, sounds: dict[Drawn, bytes], wanted: int, progress: Progress, part: Part) -> None:
        """Write the clips of a part that are among the smallest ranks, save the state, remove what they displace."""
        before = progress.kept
        others = [one for other in self.state.classes.values() if other is not progress for one in other.kept]
        progress.kept = smallest([*before, *sounds], wanted, {one.digest for one in others})
        for one in progress.kept:
            if one in sounds:
                path = self.folder / one.file_name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(sounds[one])
        progress.done.append(part)
        write_state(self.folder, self.state)
        for one in set(before) - set(progress.kept):
            (self.folder / one.file_name).unlink()


def parts_in_order(source: Source, splits: Sequence[str], seed: int) -> Iterator[Part]:
    """Parts of splits in a seeded order; files are opened only as far as their parts are asked for."""
    files = [(split, file) for split in splits for file in range(source.n_files(split))]
    files.sort(key=lambda one: ranked(seed, *one))
    for start in range(0, len(files), FILES_AT_ONCE):
        some = files[start : start + FILES_AT_ONCE]
        parts = [Part(split, file, group) for split, file in some for group in range(source.n_groups(split, file))]
        yield from sorted(parts, key=lambda part: ranked(seed, *part))


def smallest(rows: Iterable[Drawn], wanted: int, taken: Set[str] = frozenset()) -> list[Drawn]:
    """Rows of smallest rank, at most `wanted` of each class; of equal audio or equal ids the first only.

    Parameters
    ----------
    rows : iterable of Drawn
    wanted : int
    taken : set of str
        Digests of audio that the other class has.

    Returns
    -------
    list of Drawn
        Smallest rank first.
    """
    kept: list[Drawn] = []
    counts = [0] * len(CLASSES)
    seen = set(taken)
    for one in sorted(rows, key=lambda one: (one.rank, one.digest)):
        if counts[one.label] < wanted and not seen & {one.digest, one.clip_id}:
            kept.append(one)
            counts[one.label] += 1
            seen |= {one.digest, one.clip_id}
    return kept


def balanced(state: State) -> list[Drawn]:
    """Keep equally many clips of each class."""
    kept = [one for progress in state.classes.values() for one in progress.kept]
    return smallest(kept, min(sum(one.label == label for one in kept) for label in range(len(CLASSES))))


def refuse_empty(corpus: HubCorpus, progress: Progress, names: Sequence[str]) -> None:
    """Raise an `InputError` that says what the rows had, where a class has no clip."""
    found = {CLASSES[one.label] for one in progress.kept}
    if missing := [f"{name}s" for name in names if name not in found]:
        why = ", ".join(f"{reason} in {n} rows" for reason, n in progress.dropped.items())
        raise InputError(f"{corpus.hub_id} gives no {' and no '.join(missing)}" + (f": {why}" if why else ""))
