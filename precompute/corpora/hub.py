"""Corpora on the Hugging Face hub, or in a folder of their own: what is known about one, and how to get its cohort.

A corpus is data (`HubCorpus`): where it lives, which splits are official train and official test, which columns hold
what. The paper's eight are in `precompute.corpora.paper`; any other is a name read by `precompute.corpora.hub_names`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from precompute.clips import TASKS, Clip, Cohort, InputError


@dataclass(frozen=True)
class Value:
    r"""Where a value of a clip comes from in a row.

    Parameters
    ----------
    column : str
        Column of the row, the first entry where it holds a list; ``NAME.path`` is the file name in an audio column.
    pattern : str or None
        Regular expression that must be found in the column's text.
    template : str
        What is kept of what was found, with ``\1`` for its first group; without a pattern all of the text is kept.
    """

    column: str
    pattern: str | None = None
    template: str = r"\1"


@dataclass(frozen=True)
class Columns:
    """How the rows of a corpus become clips.

    Parameters
    ----------
    audio : str
        Column with the encoded audio.
    text : tuple of Value
        Transcript or caption: the first of these that gives one. Empty where the corpus has none.
    group : Value or None
        Speaker, talk, recording or instrument.
    id : Value or None
        What names a clip within its split; without it the content of its audio does.
    label : str or None
        Column that says member or non-member, where the splits do not.
    """

    audio: str = "audio"
    text: tuple[Value, ...] = (Value("text"),)
    group: Value | None = None
    id: Value | None = None
    label: str | None = None

    def needed(self) -> tuple[tuple[str, ...], ...]:
        """Columns that must be there; of those in one tuple, one will do."""
        single = [self.audio, *(value.column for value in (self.group, self.id) if value is not None)]
        texts = tuple(dict.fromkeys(_plain(value.column) for value in self.text))
        needed = [*((_plain(name),) for name in single), *([texts] if texts else [])]
        return tuple(dict.fromkeys([*needed, *([(self.label,)] if self.label else [])]))

    def missing(self, available: Collection[str]) -> list[str]:
        """Needed columns that are not there, alternatives joined by "or"."""
        return [" or ".join(names) for names in self.needed() if not any(name in available for name in names)]

    def used(self, available: Collection[str]) -> list[str]:
        """Columns that are read."""
        return list(dict.fromkeys(name for names in self.needed() for name in names if name in available))


def _plain(column: str) -> str:
    """Column that a value is in: ``audio`` for ``audio.path``."""
    return column.removesuffix(".path")


@dataclass(frozen=True)
class HubCorpus:
    r"""A corpus with a part that models train on and a part that they should not, and where it lives.

    Parameters
    ----------
    name, title : str
        Short name of the cohort, and one for people.
    hub_id : str or None
        Dataset on the hub; None where only a folder will do.
    member_splits, non_member_splits : tuple of str
        Official train, official test. The same splits where a label column tells the classes apart.
    columns : Columns
    config : str or None
        Configuration (subset) on the hub.
    revision : str
        Branch, tag or commit; a draw keeps the commit it was made from.
    task : str
        Key of `precompute.clips.TASKS`.
    language : str or None
        ISO 639-1 code.
    per_class : int
        Clips of each class in the balanced cohort, fewer where a class has fewer.
    min_seconds, max_seconds : float
        Clips of another length are left out.
    skip_text : str or None
        Regular expression; rows whose whole text it matches hold no clip.
    text_edits : tuple of (str, str)
        Regular expressions and what replaces them, in order.
    lowercase : bool
        Whether the text is set in lower case.
    mean_seconds : float
        Mean length of a clip in the cohort, for estimates.
    seconds_source : str
        Where `mean_seconds` is from.
    licence, attribution, homepage : str
    gated : bool
        Whether the hub asks for an account and agreement first.
    verified : str
        What of all this was looked up, and where.
    note : str
        What a reader of results should know.
    local_layout : str
        How a folder with the original distribution must look; empty where it cannot be read.
    """

    name: str
    title: str
    hub_id: str | None
    member_splits: tuple[str, ...]
    non_member_splits: tuple[str, ...]
    columns: Columns
    config: str | None = None
    revision: str = "main"
    task: str = "speech"
    language: str | None = "en"
    per_class: int = 1000
    min_seconds: float = 0.5
    max_seconds: float = 30.0
    skip_text: str | None = None
    text_edits: tuple[tuple[str, str], ...] = ()
    lowercase: bool = False
    mean_seconds: float = 10.0
    seconds_source: str = "not known"
    licence: str = "not stated"
    attribution: str = "not stated"
    homepage: str = ""
    gated: bool = False
    verified: str = "not verified from here"
    note: str = ""
    local_layout: str = ""

    def __post_init__(self) -> None:
        """Refuse an unknown task and a cohort of nothing."""
        if self.task not in TASKS:
            raise InputError(f"{self.name}: task {self.task!r} is none of {', '.join(TASKS)}")
        if self.per_class < 1:
            raise InputError(f"{self.name}: per_class is {self.per_class}, and a cohort needs at least one clip")

    def cohort(self, clips: tuple[Clip, ...], labels: tuple[int, ...], how: str) -> Cohort:
        """Build the cohort of this corpus; `how` is the sentence that says how the clips were drawn."""
        return Cohort(
            self.name,
            clips,
            labels,
            title=self.title,
            description=" ".join(part for part in (how, self.note) if part),
            licence=self.licence,
            attribution=self.attribution,
        )


def handles(name: str) -> bool:
    """Tell whether a ``--dataset`` argument is for `find`: one of the eight, ``NAME=FOLDER`` of one, or ``hf:...``."""
    from precompute.corpora.paper import CORPORA

    return name.startswith("hf:") or name.partition("=")[0] in CORPORA


def find(name: str, seed: int = 0, per_class: int | None = None) -> list[Cohort]:
    """Get the cohort of a corpus: drawn from the hub once and kept, or listed from a folder.

    Parameters
    ----------
    name : str
        One of the paper's eight (``librispeech``); ``NAME=FOLDER`` for one of them in its original distribution, for
        which the environment may also hold ``AUDIT_NAME``; or ``hf:owner/name?...`` for any dataset on the hub.
    seed : int
        Decides which clips are drawn.
    per_class : int or None
        Clips of each class; None takes the corpus's own number.

    Returns
    -------
    list of one Cohort

    Raises
    ------
    InputError
        If there is no such corpus, or it cannot be had from here: the sentence says why and what to do.
    """
    corpus, folder = known(name)
    if per_class is not None:
        corpus = dataclasses.replace(corpus, per_class=per_class)
    if folder is not None:
        from precompute.corpora.folders import listed

        return [listed(corpus, folder, seed)]
    if corpus.hub_id is None:
        raise InputError(
            f"{corpus.title} is not on the hub in a form that can be read: get it from {corpus.homepage} and give "
            f"{corpus.name}=FOLDER ({corpus.local_layout})"
        )
    from precompute.corpora.hub_draw import drawn

    return [drawn(corpus, seed)]


def known(name: str) -> tuple[HubCorpus, Path | None]:
    """Resolve a name as in `find`.

    Returns
    -------
    tuple of (HubCorpus, Path or None)
        The corpus, and the folder of its original distribution where one is given.
    """
    from precompute.corpora.paper import CORPORA

    if name.startswith("hf:"):
        from precompute.corpora.hub_names import parsed

        return parsed(name), None
    short, given, folder = name.partition("=")
    if short not in CORPORA:
        raise InputError(f"no such corpus: {short} (there are {', '.join(CORPORA)}, and hf:OWNER/NAME)")
    if given:
        return CORPORA[short], Path(folder).expanduser()
    variable = os.environ.get(variable_of(CORPORA[short]))
    return CORPORA[short], Path(variable).expanduser() if variable else None


def variable_of(corpus: HubCorpus) -> str:
    """Name of the environment variable that may hold the folder of a corpus: ``AUDIT_LIBRISPEECH``."""
    return f"AUDIT_{corpus.name.upper()}"


def describe(corpus: HubCorpus) -> str:
    """Describe a corpus in a few lines: size, where it is, what it asks for, and what is here already.

    Parameters
    ----------
    corpus : HubCorpus

    Returns
    -------
    str
        Lines without an end of line at the end; nothing is asked of the network.
    """
    hours = 2 * corpus.per_class * corpus.mean_seconds / 3600
    members, others = " + ".join(corpus.member_splits), " + ".join(corpus.non_member_splits)
    lines = [
        f"{corpus.name}: {corpus.per_class} members from {members}, {corpus.per_class} non-members from {others}, "
        f"about {hours:.1f} h. {corpus.title} ({corpus.task})",
        f"    {whereabouts(corpus)}",
        f"    licence: {corpus.licence}",
    ]
    return "\n".join([*lines, *([f"    {corpus.note}"] if corpus.note else [])])


def whereabouts(corpus: HubCorpus) -> str:
    """Say where a corpus can be had, and whether it is here."""
    from precompute.corpora.hub_kept import drawn_seeds

    folder = os.environ.get(variable_of(corpus))
    if folder:
        return f"read from {folder}, as {variable_of(corpus)} says"
    if corpus.hub_id is None:
        where = f"not on the hub in a form that can be read; give {corpus.name}=FOLDER ({corpus.local_layout})"
    elif corpus.gated:
        where = f"on the hub as {corpus.hub_id}, gated: ask for access on its page, then `hf auth login`"
    else:
        where = f"on the hub as {corpus.hub_id}, open"
    seeds = drawn_seeds(corpus)
    here = f"drawn on this machine with seed {', '.join(map(str, seeds))}" if seeds else "not drawn on this machine yet"
    return f"{where}; {here}" if corpus.hub_id else where
