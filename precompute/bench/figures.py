"""What a measurement gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Parameters
    ----------
    what : str
    value : float or str
        Text where a value is no number, or was not measured.
    unit : str
    n : str
        What it was taken from: how many, how often.
    """

    what: str
    value: float | str
    unit: str
    n: str


@dataclass
class Part:
    """Figures about one thing.

    Parameters
    ----------
    title : str
    figures : list of Figure
    how : str
        What was done, in sentences.
    """

    title: str
    how: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: float | str, unit: str, n: str) -> None:
        """Note a figure."""
        self.figures.append(Figure(what, value, unit, n))


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Parameters
    ----------
    quick : bool
        About a minute for all parts that are measured by default.
    bundle : Path or None
        To open; None writes a synthetic one.
    full_size : bool
        Whether a model of full size is measured where there is a GPU.
    """

    quick: bool = False
    bundle: Path | None = None
    full_size: bool = False

    def pick(self, quick: int, whole: int) -> int:
        """Give the first where little is to be measured, else the second."""
        return quick if self.quick else whole
