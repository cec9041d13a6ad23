"""What a voice is, and what an engine has to do: turn a text into samples, and name all that determines them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from precompute.clips import InputError


class EngineFailed(InputError):
    """An engine as a whole cannot be used (missing, unreachable, dead), so no later text could be rendered either."""


class RenderingFailed(InputError):
    """One text could not be rendered, and it is not known whether the text or the engine is at fault."""


@dataclass(frozen=True)
class Reference:
    """A recording whose voice is borrowed.

    Parameters
    ----------
    name : str
        For people and tables.
    path : Path
        Audio file readable by libsndfile.
    content : str
        Hash of its samples, part of every cache key.
    text : str or None
        What is said in it, where that is known.
    language : str or None
        ISO 639-1 code, where references are kept by language.
    """

    name: str
    path: Path
    content: str
    text: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Voice:
    """A voice of one engine, or one way in which it renders captions.

    Parameters
    ----------
    engine : str
        Key of `precompute.conditions.voices.ENGINES`.
    name : str
        What the engine calls it, or the name of the reference.
    options : tuple of str
        Further arguments for the engine.
    where : str
        Where the engine lives: address of a server, folder or hub id of a model, or a Python of its own.
    reference : Reference or None
        Recording whose voice is borrowed, for engines that do so.
    seed : int
        Of what the engine draws at random; engines that draw nothing ignore it.
    """

    engine: str
    name: str = ""
    options: tuple[str, ...] = ()
    where: str = ""
    reference: Reference | None = None
    seed: int = 0

    def __str__(self) -> str:
        return " ".join(part for part in (self.engine, self.name, *self.options) if part)


class Engine(Protocol):
    """What speaks texts or renders captions. Opening one is cheap: a model is loaded by the first text."""

    def identity(self) -> dict[str, str]:
        """Name the engine's version and its model's revision, without loading the model.

        Returns
        -------
        dict of str to str
            At least ``engine``. With text, voice, reference and seed it determines the samples.

        Raises
        ------
        EngineFailed
            If the engine is missing or cannot be reached.
        """
        ...

    def render(self, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Speak a text, or render a caption.

        Parameters
        ----------
        text : str
            Not blank.
        voice : Voice
            Of this engine.

        Returns
        -------
        samples : np.ndarray [shape=(n,)], float32
            Mono, at the level the engine gives.
        rate : int
            In Hz.

        Raises
        ------
        InputError
            If the text is none that the engine can render.
        RenderingFailed
            If it could not be rendered for whatever reason.
        EngineFailed
            If no text can be.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds: a process, a connection, a model's memory."""
        ...


@dataclass(frozen=True)
class Kind:
    """What is known about an engine without opening it.

    Parameters
    ----------
    module : str
        Module whose ``open_engine(where, options, device)`` gives an `Engine`.
    reads : str
        ``text`` for speech, ``caption`` for sound and music.
    where : str
        What the user names after ``=``; empty where there is nothing to name.
    description : str
        For people.
    clones : bool
        Whether it borrows the voice of a reference recording.
    options : mapping of str to str
        Names of its options and their defaults.
    parallel : bool
        Whether several threads may render at once; a model in memory or on a GPU renders one text at a time.
    """

    module: str
    reads: str
    where: str
    description: str
    clones: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    parallel: bool = False


def derived_seed(*parts: object) -> int:
    """Draw a 32-bit seed from anything that can be printed; equal parts give equal seeds."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def read_options(engine: str, given: tuple[str, ...], defaults: Mapping[str, str]) -> dict[str, str]:
    """Read ``KEY=VALUE`` options.

    Parameters
    ----------
    engine : str
        For the message.
    given : tuple of str
    defaults : mapping of str to str
        Every option there is.

    Returns
    -------
    dict of str to str

    Raises
    ------
    InputError
        If an option is unknown or has no value.
    """
    options = dict(defaults)
    for item in given:
        key, sign, value = item.partition("=")
        if not sign or not value or key not in defaults:
            known = ", ".join(f"{name}=" for name in defaults) or "none"
            raise InputError(f"{engine}: {item!r} is no option of it; its options are {known}")
        options[key] = value
    return options


def number(engine: str, options: Mapping[str, str], key: str, low: float, high: float) -> float:
    """Read an option as a number within limits; `InputError` otherwise."""
    try:
        value = float(options[key])
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InputError(f"{engine}: {key}={options[key]} is no number from {low:g} to {high:g}")
    return value
