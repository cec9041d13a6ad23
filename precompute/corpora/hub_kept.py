"""What a draw from the hub leaves on this machine: its state while it runs, and the finished cohort.

A draw's folder holds ``audio/member``, ``audio/non-member``, ``metadata.parquet`` (a list of clips like any other: the
folder can be audited or copied as it is) and ``drawn.json``, which is written last and stands for the whole. While it
runs, ``state.json`` says which parts were read and which clips are kept so far.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from precompute.clips import Clip, Cohort
from precompute.corpora.home import data_home
from precompute.corpora.hub import HubCorpus
from precompute.corpora.hub_rows import CLASSES, Drawn
from precompute.corpora.hub_stream import Part, Place


@dataclass
class Progress:
    """How far the draw of a class (or of both, where a column labels them) has come.

    Parameters
    ----------
    done : list of Part
        Parts that were read.
    usable : dict of str to int
        Usable rows seen, by class.
    dropped : dict of str to int
        Rows that hold no clip, by reason.
    kept : list of Drawn
        Smallest rank first.
    """

    done: list[Part] = field(default_factory=list)
    usable: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    kept: list[Drawn] = field(default_factory=list)

    def rows(self) -> int:
        """Rows looked at."""
        return sum(self.usable.values()) + sum(self.dropped.values())


@dataclass
class State:
    """All that a stopped draw needs to go on; saved after every part.

    Parameters
    ----------
    place : Place
        What is read; a resumed draw reads the same commit.
    classes : dict of str to Progress
    """

    place: Place
    classes: dict[str, Progress] = field(default_factory=dict)


def write_state(folder: Path, state: State) -> None:
    """Save how far a draw has come."""
    write_text(folder / "state.json", json.dumps(dataclasses.asdict(state)))


def read_state(folder: Path) -> State | None:
    """Read how far a stopped draw came; None where none was begun."""
    path = folder / "state.json"
    if not path.is_file():
        return None
    saved = json.loads(path.read_text())
    classes = {
        name: Progress(
            done=[Part(*part) for part in one["done"]],
            usable=one["usable"],
            dropped=one["dropped"],
            kept=[Drawn(**row) for row in one["kept"]],
        )
        for name, one in saved["classes"].items()
    }
    return State(Place(*saved["place"]), classes)


def remove_strangers(folder: Path, state: State) -> None:
    """Remove audio that the state does not know: what a killed draw wrote after it last saved."""
    known = {folder / one.file_name for progress in state.classes.values() for one in progress.kept}
    for path in (folder / "audio").glob("*/*"):
        if path not in known:
            path.unlink()


def finish(corpus: HubCorpus, seed: int, folder: Path, state: State, rows: list[Drawn]) -> None:
    """Write the list of a balanced cohort and what is known of its draw, and remove what is not in it.

    Parameters
    ----------
    corpus : HubCorpus
    seed : int
    folder : Path
    state : State
    rows : list of Drawn
        Equally many of each class.
    """
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist([listed(one, corpus) for one in sorted(rows, key=lambda one: one.clip_id)])
    pyarrow.parquet.write_table(table, folder / "metadata.tmp")
    (folder / "metadata.tmp").replace(folder / "metadata.parquet")
    about = {
        "hub_id": corpus.hub_id,
        "config": corpus.config,
        "commit": state.place.commit,
        "converted_by_the_hub": state.place.converted,
        "seed": seed,
        "per_class": len(rows) // 2,
        "per_class_wanted": corpus.per_class,
        "usable_rows_seen": {name: progress.usable for name, progress in state.classes.items()},
        "rows_without_a_clip": {name: progress.dropped for name, progress in state.classes.items()},
    }
    write_text(folder / "drawn.json", json.dumps(about, indent=1))
    (folder / "state.json").unlink(missing_ok=True)
    names = {one.file_name for one in rows}
    for path in (folder / "audio").glob("*/*"):
        if path.relative_to(folder).as_posix() not in names:
            path.unlink()


def listed(one: Drawn, corpus: HubCorpus) -> dict[str, Any]:
    """Row of ``metadata.parquet``, with the columns of a manifest."""
    return {
        "file_name": one.file_name,
        "label": CLASSES[one.label],
        "clip_id": one.clip_id,
        "text": one.text,
        "group": one.group,
        "language": corpus.language,
        "task": corpus.task,
        "duration_s": one.seconds,
        "split": one.split,
    }


def read(corpus: HubCorpus, folder: Path) -> Cohort:
    """Read a finished draw."""
    import pyarrow.parquet

    about = json.loads((folder / "drawn.json").read_text())
    rows = pyarrow.parquet.read_table(folder / "metadata.parquet").to_pylist()
    clips = tuple(
        Clip(
            row["clip_id"],
            folder / row["file_name"],
            text=row["text"],
            group=row["group"],
            language=row["language"],
            task=row["task"],
        )
        for row in rows
    )
    return corpus.cohort(clips, tuple(CLASSES.index(row["label"]) for row in rows), how_drawn(corpus, about))


def how_drawn(corpus: HubCorpus, about: dict[str, Any]) -> str:
    """Say in one sentence where the clips of a draw are from."""
    members, others = " + ".join(corpus.member_splits), " + ".join(corpus.non_member_splits)
    where = (
        f"from {members}, labelled by its column {corpus.columns.label}"
        if corpus.columns.label
        else f"members from {members}, non-members from {others}"
    )
    return (
        f"{about['per_class']} clips of each class, drawn with seed {about['seed']}, {where}, of {corpus.hub_id} at "
        f"commit {about['commit'][:8]}{' (as converted by the hub)' if about['converted_by_the_hub'] else ''}."
    )


def drawn_seeds(corpus: HubCorpus) -> list[int]:
    """Seeds with which a corpus was drawn on this machine, in the size it asks for."""
    found = (json.loads(path.read_text()) for path in data_home().glob(f"hub/{plain(corpus.name)}-*/drawn.json"))
    return sorted({one["seed"] for one in found if one["per_class_wanted"] == corpus.per_class})


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, so that a killed process leaves the old one or the new one."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.write_text(text)
    partial.replace(path)


def plain(name: str) -> str:
    """Name as it may stand in a file name."""
    return re.sub(r"[^\w.-]+", "-", name)
