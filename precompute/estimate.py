"""The price of an audit before it is made: clips, model inputs, scored texts, tokens, time and disk.

Counts are exact where the clips are on this machine, and the declared sizes where they are still on the hub. Times come
from a rate that was measured here or given, never from a table; without one they are not stated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from precompute.clips import SAMPLE_RATE, Clip, InputError
from precompute.conditions import CONDITIONS
from precompute.downloads import Place, whereabouts
from precompute.rates import Rate, kept_share, measured_blind, measured_rate, spread
from precompute.request import Request
from precompute.scores import Plan
from precompute.shares import FLAC, Share, shares_of
from precompute.store import Store

VOICE_FLAC = 0.6
"""The same for resyntheses, which have no room and no noise in them: 0.53 to 0.60 for the embedded voices."""

TEXT_BYTES, TOKEN_BYTES = 360, 36
"""Cache: bytes of a scored text and of each of its tokens, compressed; a line fitted to 2,252 texts."""

CACHE_OVERHEAD = 1.08
"""Bytes of the cache's file per byte in it."""

FEATURE_BYTES = 6_100
"""Cache: bytes of a clip's blind features, those of its resyntheses included."""

ROW_BYTES, TOKEN_ROW_BYTES, CLIP_BYTES = 165, 10, 2_720
"""Tables: bytes of a scored text, of each of its tokens, and of a clip in a dataset, compressed."""

MILLION = 1_000_000
KEPT_SAMPLE = 500
"""Clips that are looked up in the cache at most."""


@dataclass(frozen=True)
class Cell:
    """One condition of one dataset, for one target that scores texts it is given.

    Parameters
    ----------
    dataset, condition : str
    realizations : int
    inputs : int
        Distinct audio inputs, all realizations together.
    texts : int
        Scored texts: generated, carried and reference.
    generated : int
        Of those, texts that the target writes.
    """

    dataset: str
    condition: str
    realizations: int
    inputs: int
    texts: int
    generated: int


@dataclass(frozen=True)
class Disk:
    """Bytes on disk: the bundle's audio and tables, the cache, and the clips of corpora that are still on the hub."""

    audio: float
    tables: float
    cache: float
    corpora: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.audio + self.tables + self.cache + self.corpora


@dataclass(frozen=True)
class TargetPrice:
    """What one target costs.

    Parameters
    ----------
    target : str
    place : Place
    texts : int
        Scored texts over all datasets.
    inputs : int
        Distinct audio inputs.
    most_tokens : int
        Tokens it can write at most; equal inputs once.
    tokens : float or None
        Tokens it writes if it goes on as measured.
    rate : Rate or None
    why : str
        Why there is no rate; empty where there is one.
    seconds : float or None
        Of work; None without a rate.
    kept : float or None
        Share of the texts under the clips' own audio that the cache holds; None where that was not looked up.
    """

    target: str
    place: Place
    texts: int
    inputs: int
    most_tokens: int
    tokens: float | None
    rate: Rate | None
    why: str
    seconds: float | None
    kept: float | None


@dataclass(frozen=True)
class Estimate:
    """The price of an audit.

    Parameters
    ----------
    shares : tuple of Share
    cells : tuple of Cell
    targets : tuple of TargetPrice
    disk : Disk
    blind_seconds : float or None
        Of phase 1's features, one process; None where no clip is here.
    notes : tuple of str
        What is not counted.
    """

    shares: tuple[Share, ...]
    cells: tuple[Cell, ...]
    targets: tuple[TargetPrice, ...]
    disk: Disk
    blind_seconds: float | None
    notes: tuple[str, ...]

    @property
    def clips(self) -> int:
        """Clips of all datasets, each once."""
        return sum(share.clips for share in self.shares)

    @property
    def texts(self) -> int:
        """Scored texts of all targets."""
        return sum(target.texts for target in self.targets)

    @property
    def seconds(self) -> float | None:
        """Time of all that has a rate; None where a target has none."""
        parts = [target.seconds for target in self.targets]
        return None if None in parts else sum(part or 0.0 for part in parts) + (self.blind_seconds or 0.0)

    def million(self) -> dict[str, float | None]:
        """Cost of a million clips of this kind: all of it is linear in them.

        Returns
        -------
        dict
            ``texts``, ``seconds`` (None without a rate) and ``bytes``.
        """
        times = MILLION / self.clips
        seconds = self.seconds
        return {
            "texts": self.texts * times,
            "seconds": None if seconds is None else seconds * times,
            "bytes": self.disk.total * times,
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for ``--json``."""
        totals = {"clips": self.clips, "texts": self.texts, "seconds": self.seconds, "million_clips": self.million()}
        return {**dataclasses.asdict(self), **totals}


def price(request: Request, rate: float | None = None, hub_address: str | None = None) -> Estimate:
    """Price an audit; nothing is downloaded, and of the clips only headers and a few are read.

    Parameters
    ----------
    request : Request
    rate : float or None
        Scored texts per second of every target; None measures targets that are here on clips that are here.
    hub_address : str or None
        None takes the usual one.

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        If a dataset or a target cannot be what it is named, or the rate is not above 0.
    """
    if rate is not None and not 0 < rate < float("inf"):
        raise InputError(f"--rate {rate:g} is not a number of texts per second above 0")
    shares, seconds = shares_of(request)
    clips = list(seconds)
    cells = tuple(cell for share in shares for cell in cells_of(share, request.plan))
    chosen = [clips[position] for position in spread(list(seconds.values()))]
    targets = tuple(price_target(name, request, cells, clips, chosen, rate, hub_address) for name in request.names)
    notes = ["the statistics of an audit come on top: minutes, whatever the target."]
    if request.asr_target:
        notes.append(f"what {request.asr_target} reads of the resyntheses is not counted.")
    return Estimate(
        shares=shares,
        cells=cells,
        targets=targets,
        disk=disk_of(shares, targets, request.plan),
        blind_seconds=measured_blind(chosen) * sum(share.clips for share in shares) if chosen else None,
        notes=tuple(notes),
    )


def cells_of(share: Share, plan: Plan) -> list[Cell]:
    """Count inputs and texts of every condition of one dataset.

    Parameters
    ----------
    share : Share
    plan : Plan

    Returns
    -------
    list of Cell
        The original first.
    """
    distinct = {"silence": share.lengths, "silence_fixed": share.fixed, "resynthesis": share.spoken}
    cells = []
    for name in dict.fromkeys(name for name, _ in plan.inputs()):
        times = CONDITIONS[name].realizations
        written = share.clips * times
        given = (share.with_text + (share.clips if name != "original" else 0)) * times
        inputs = distinct.get(name, share.clips) * times
        cells.append(Cell(share.dataset, name, times, inputs, written + given, written))
    return cells


def price_target(
    name: str,
    request: Request,
    cells: Sequence[Cell],
    clips: Sequence[Clip],
    chosen: Sequence[Clip],
    given: float | None,
    hub_address: str | None,
) -> TargetPrice:
    """Price one target.

    Parameters
    ----------
    name : str
    request : Request
    cells : sequence of Cell
    clips : sequence of Clip
        On this machine.
    chosen : sequence of Clip
        Those to measure on.
    given : float or None
        Rate in texts per second; None measures.
    hub_address : str or None
    """
    place = whereabouts(name, hub_address)
    plan = request.plan
    # An endpoint scores what it writes and no text it is given.
    texts = sum(cell.generated if name.startswith("api:") else cell.texts for cell in cells)
    inputs = sum(cell.inputs for cell in cells)
    rate, why, kept = None, "", None
    if given is not None:
        rate = Rate(given, "as given")
    elif not place.here or not chosen:
        why = f"unknown rate ({'no clip is here' if place.here else place.words}): give --rate TEXTS_PER_S"
    else:
        target = request.load(name)
        try:
            rate = measured_rate(target, chosen, plan, request.device)
        except InputError as error:  # a voice that is not running, say
            why = f"unknown rate (it could not be measured: {error}): give --rate TEXTS_PER_S"
        kept = kept_in(request, target, clips)
    per_text = None if rate is None else rate.tokens_per_text
    return TargetPrice(
        target=name,
        place=place,
        texts=texts,
        inputs=inputs,
        most_tokens=inputs * plan.max_new_tokens,
        tokens=None if per_text is None else inputs * per_text,
        rate=rate,
        why=why,
        seconds=None if rate is None else texts / rate.texts_per_second,
        kept=kept,
    )


def kept_in(request: Request, target: Any, clips: Sequence[Clip]) -> float | None:
    """Share of the texts under the clips' own audio that the request's cache holds; None where another has it open."""
    if not (request.cache / "cache.db").is_file():
        return 0.0
    some = clips[:: -(-len(clips) // KEPT_SAMPLE)]
    try:
        with Store(request.cache) as store:
            return kept_share(target, some, request.plan, store)
    except InputError:
        return None


def disk_of(shares: Sequence[Share], targets: Sequence[TargetPrice], plan: Plan) -> Disk:
    """Work out the bytes that an audit leaves on disk.

    Parameters
    ----------
    shares : sequence of Share
    targets : sequence of TargetPrice
        Where no number of tokens was measured, the most there can be is taken.
    plan : Plan

    Returns
    -------
    Disk
        A resynthesis is taken to be as long as its clip, and a corpus on the hub to be 16 kHz FLAC.
    """
    clips = sum(share.clips for share in shares)
    listed = sum(share.members + share.non_members for share in shares)
    voices = CONDITIONS["resynthesis"].realizations if "resynthesis" in plan.conditions and targets else 0
    rendered = VOICE_FLAC * 2.0 * SAMPLE_RATE * voices * sum(share.seconds for share in shares)
    per_text = [plan.max_new_tokens if t.tokens is None else t.tokens / max(t.inputs, 1) for t in targets]
    # A clip that several datasets share is scored once; its scores, but not its tokens, are listed for each of them.
    row = ROW_BYTES * listed / max(clips, 1)
    tables = sum(t.texts * (row + TOKEN_ROW_BYTES * n) for t, n in zip(targets, per_text, strict=True))
    scored = sum(t.texts * (TEXT_BYTES + TOKEN_BYTES * n) for t, n in zip(targets, per_text, strict=True))
    return Disk(
        audio=FLAC * sum(share.sample_bytes for share in shares) + rendered,
        tables=tables + CLIP_BYTES * listed,
        cache=CACHE_OVERHEAD * (scored + rendered + FEATURE_BYTES * clips),
        corpora=FLAC * sum(share.sample_bytes for share in shares if share.download_bytes),
    )
