"""Which clips of a cohort are independent of each other, and so what folds, resamples and label draws must respect."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FEWEST_GROUPS = 6
"""Groups per class below which no verdict is given where labels were given to whole groups (method, point 2)."""

ENOUGH_GROUPS = 20
"""Groups from which resampling whole groups is reliable where every group has both classes."""

PURE_SHARE = 0.8
"""Share of the clips of groups of two and more that must lie in one-class groups for "labels were given to groups"."""


NAMED_SHARE = 0.5
"""Share of the clips whose group must be known before groups decide about the list."""

KEPT_SHARE = 0.8
"""Copies are always joined where this share of the units is left: a list of two wordings would leave two units."""


@dataclass(frozen=True)
class Design:
    """How the labels of a cohort came about, as far as its groups and copies tell.

    Parameters
    ----------
    units : np.ndarray [shape=(n,)], int
        Clips that share a unit are not independent: copies of one recording or wording, or clips of one group.
    nested : bool
        Whether labels were given to whole groups (speakers who are all member or all non-member).
    groups_member, groups_non_member : int or None
        Groups of each class where labels are nested in groups, else None.
    n_groups : int
        Groups named in the list; 0 where none is.
    copies : int
        Clips that share their audio or their wording with another clip.
    sentence : str
        For the reader.
    """

    units: np.ndarray
    nested: bool
    groups_member: int | None
    groups_non_member: int | None
    n_groups: int
    copies: int
    sentence: str

    @property
    def enough_groups(self) -> bool:
        """Whether there are groups enough for a verdict."""
        return not self.nested or min(self.groups_member or 0, self.groups_non_member or 0) >= FEWEST_GROUPS


def design(
    labels: np.ndarray,
    groups: Sequence[Hashable | None],
    copies: Sequence[Sequence[Hashable | None]] = (),
) -> Design:
    """Work out the units of a cohort.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    groups : sequence of hashable or None
        Speaker, source or recording of each clip, where it is known.
    copies : sequence of sequences
        Further columns of keys (content hash, folded transcript); clips that share a key are copies of each other.
        Copies always share a unit; their group need not be known.

    Returns
    -------
    Design
        Where each group has one class, units are groups. Where groups hold both classes, clips were labelled within
        groups: units are groups if there are at least `ENOUGH_GROUPS`, else clips, and what is said holds for these
        groups.
    """
    labels = np.asarray(labels)
    keys = [None if _missing(group) else group for group in groups]
    by_group = _members(keys)
    named = sum(key is not None for key in keys) / max(len(keys), 1)
    nested = _nested(labels, by_group) and named >= NAMED_SHARE
    joined = np.arange(len(labels))
    if by_group and (nested or len(by_group) >= ENOUGH_GROUPS or named < NAMED_SHARE):
        joined = _join(joined, by_group)
    copied: set[int] = set()
    for column in copies:
        sets = _members([None if _missing(key) else key for key in column])
        linked = _join(joined, sets)
        left = _units_per_class(linked, labels)
        if left >= ENOUGH_GROUPS or left >= KEPT_SHARE * _units_per_class(joined, labels):
            joined = linked
            copied.update(int(row) for rows in sets if len(rows) > 1 for row in rows)
    units = np.unique(joined, return_inverse=True)[1]
    sizes = (
        [sum(bool((labels[rows] == label).any()) for rows in by_group) for label in (1, 0)] if nested else [None] * 2
    )
    return Design(
        units, nested, sizes[0], sizes[1], len(by_group), len(copied), _said(len(by_group), nested, sizes, units, named)
    )


def table_design(clips: pd.DataFrame) -> Design:
    """Work out the units of one dataset from its rows of ``clips.parquet``.

    Parameters
    ----------
    clips : pd.DataFrame
        `label`, and where they are there `group`, `text` and `audio_hash`.

    Returns
    -------
    Design
        In the order of the rows.
    """
    columns = {
        name: clips[name].tolist() if name in clips else [None] * len(clips) for name in ("group", "text", "audio_hash")
    }
    wordings = [
        None if _missing(text) else " ".join(re.findall(r"\w+", str(text).casefold())) for text in columns["text"]
    ]
    return design(clips["label"].to_numpy(), columns["group"], [columns["audio_hash"], wordings])


def _missing(key: Hashable | None) -> bool:
    """Whether a key says nothing: None, NaN or an empty string."""
    return key is None or key == "" or key != key


def _members(keys: Sequence[Hashable | None]) -> list[np.ndarray]:
    """Rows of every key that is known."""
    rows: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        if key is not None:
            rows.setdefault(key, []).append(row)
    return [np.asarray(found) for found in rows.values()]


def _nested(labels: np.ndarray, by_group: Sequence[np.ndarray]) -> bool:
    """Whether nearly all clips of groups of two and more lie in groups of one class."""
    large = [rows for rows in by_group if len(rows) > 1]
    if not large:
        return False
    pure = sum(len(rows) for rows in large if len(np.unique(labels[rows])) == 1)
    return pure >= PURE_SHARE * sum(len(rows) for rows in large)


def _join(units: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
    """Merge the units of the rows of each set."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = [(rows[0], row) for rows in sets for row in rows[1:]]
    if not pairs:
        return units
    first, second = (units[list(column)] for column in zip(*pairs, strict=True))
    size = int(units.max()) + 1
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(size, size))
    return connected_components(graph, directed=False)[1][units]


def _units_per_class(units: np.ndarray, labels: np.ndarray) -> int:
    """Units that hold a clip of the class that has fewer of them."""
    return min(len(np.unique(units[labels == label])) for label in (1, 0))


def _said(n_groups: int, nested: bool, sizes: Sequence[int | None], units: np.ndarray, known: float) -> str:
    """Say what the units are."""
    if nested:
        return f"Labels go with whole groups ({sizes[0]} member, {sizes[1]} non-member), kept together in every fold."
    if n_groups >= ENOUGH_GROUPS:
        return f"Each of {n_groups} groups may hold both classes; groups stay together in every fold and resample."
    if n_groups and known < NAMED_SHARE:
        return f"Groups are known of {known:.0%} of the clips only; they are kept together, and clips are the units."
    if n_groups:
        if n_groups == 1:
            return "One group holds both classes, so what is said holds for it; clips are the units."
        return f"The {n_groups} groups hold both classes, so what is said holds for these groups; clips are the units."
    return f"No groups are given; {len(np.unique(units))} clips or sets of copies are taken as independent."
