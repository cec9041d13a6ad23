"""Phase 3 in words: what the disentanglement grid supports, and only where it could have shown the opposite.

Under silence or noise the generated text holds nothing of the clip but its length, so a collapse there is true by
construction; a text the target knows shows in the reference row only; and a target that cannot read a voice collapses
under it without any memory. So each claim below names the row that could have refuted it (method.md, "Phase 3").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from precompute.statistics.contrasts import Interaction
from precompute.statistics.intervals import Estimate

LENGTH, TEXT_KNOWN, BOUND = "clip length", "text known, voice not needed", "bound to the voice"
CANNOT_READ, NOTHING, OPEN = "cannot read this audio", "nothing to collapse", "open"
NOT_READ, MIRRORED = "not read", "lists look swapped"
CAPTION_KNOWN, SOUND_BOUND, CANNOT_HEAR = (
    "caption known, recording not needed",
    "bound to the recording",
    "cannot make out this audio",
)
"""What `TEXT_KNOWN`, `BOUND` and `CANNOT_READ` are called where the text is the caption of a sound or of music."""

COLLAPSED = 0.55
"""A row has collapsed where the upper end of its AUC's interval lies below this."""

EXPLANATIONS = {
    LENGTH: "Members are still told apart under silence of the clip's own length, and not under silence of one length "
    "for all: the length of a clip opens the memory, no sound is needed.",
    TEXT_KNOWN: "The known transcript is still more likely for members when another voice speaks it: the target knows "
    "the text, whoever says it.",
    BOUND: "The known transcript is more likely for members only under the original recording; in another voice, which "
    "the target can read, nothing is left, and silence of the clip's length does not open it either.",
    CANNOT_READ: "Word errors of non-members are above 0.8 in this audio, so the rows of what the target itself wrote "
    "carry no claim.",
    CAPTION_KNOWN: "The known caption is still more likely for members under another sound made from it: the target "
    "knows the caption, whatever recording of it is played.",
    SOUND_BOUND: "The known caption is more likely for members only under the original recording; under another sound "
    "made from it, which the target can make out, nothing is left, and silence of the clip's length does not open it.",
    CANNOT_HEAR: "What the target writes for a non-member is no nearer to that clip's own caption than to another "
    "clip's, so the rows of what it wrote itself carry no claim.",
    NOTHING: "Under the original audio there is no difference above chance and above the blind baselines, so there is "
    "nothing that could collapse.",
    NOT_READ: "The lists differ in what reaches the model (phase 1 is SHIFTED): length and wording alone move the "
    "cells of the grid, so nothing is read from it.",
    MIRRORED: "The claimed non-members are the ones whose known text the target is surer of, so nothing is said about "
    "memory of the claimed members.",
    OPEN: "There is a difference under the original audio, and the grid does not settle what it rests on.",
}


@dataclass(frozen=True)
class Cell:
    """One cell of the grid.

    Parameters
    ----------
    found : Estimate
        AUC, mean over realizations.
    drop : (float, float, float) or None
        AUC of the original less this one on the same clips, with its 95% interval; None for the original itself.
    """

    found: Estimate
    drop: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Words:
    """How the claims are worded for a kind of text.

    Parameters
    ----------
    text : str
        What the known text is.
    source, other : str
        What carries it in the original, and what does in resynthesis.
    known, bound, unread : str
        Claims of a text that is known, that is bound to the original, and of audio that cannot be taken in.
    verb, why_unread : str
        What a target cannot do there, and how that was seen.
    """

    text: str
    source: str
    other: str
    known: str
    bound: str
    unread: str
    verb: str
    why_unread: str


TRANSCRIPTS = Words(
    text="transcript",
    source="voice",
    other="another voice",
    known=TEXT_KNOWN,
    bound=BOUND,
    unread=CANNOT_READ,
    verb="read",
    why_unread="non-members' word error above 0.8",
)
CAPTIONS = Words(
    text="caption",
    source="recording",
    other="another sound made from the caption",
    known=CAPTION_KNOWN,
    bound=SOUND_BOUND,
    unread=CANNOT_HEAR,
    verb="make out",
    why_unread="what it writes for a non-member is no nearer to that clip's caption than to another's",
)


@dataclass(frozen=True)
class Claim:
    """What may be said, and the sentence that says it with its numbers."""

    claim: str
    sentence: str


def claims(
    grid: Mapping[tuple[str, str], Cell],
    bar: float,
    readable: Mapping[str, bool | None],
    moved: Interaction | None,
    length_gap: tuple[float, float, float] | None,
    shifted: bool = False,
    mirrored: bool = False,
    words: Words = TRANSCRIPTS,
) -> list[Claim]:
    """Read the grid of one dataset and target.

    Parameters
    ----------
    grid : mapping of (scored text, condition) to Cell
        Refit AUCs.
    bar : float
        Upper end of the strongest blind baseline's interval; what collapses must have stood above it.
    readable : mapping of str to bool or None
        By condition: whether what the target writes for non-members shows that it takes this audio in; None where
        no transcript or caption is known.
    moved : Interaction or None
        Loss of certainty in the known text from the original to its resynthesis, members less non-members.
    length_gap : (float, float, float) or None
        AUC of the generated row under silence of the clip's length less that under silence of one length, with its
        95% interval.
    shifted : bool
        Whether phase 1 found a shift; then the grid is not read.
    mirrored : bool
        Whether the target is surer of the claimed non-members' texts.
    words : Words
        `TRANSCRIPTS` or `CAPTIONS`.

    Returns
    -------
    list of Claim
        The strongest first; never empty.
    """
    if shifted:
        return [
            Claim(NOT_READ, "not read: the lists differ in length, sound or wording, which moves the grid by itself.")
        ]
    if mirrored:
        return [Claim(MIRRORED, f"lists look swapped: the target is surer of the claimed non-members' {words.text}s.")]
    found: list[Claim] = []
    floor = max(0.5, bar)
    written, known = grid.get(("generated", "original")), grid.get(("reference", "original"))
    standing = {name: cell for name, cell in (("generated", written), ("reference", known)) if _above(cell, floor)}
    unread = [name for name in ("original", "resynthesis") if readable.get(name) is False]
    if not standing:
        present = [(text, cell) for text, cell in (("generated", written), ("reference", known)) if cell is not None]
        values = ", ".join(f"{text} {_shown(cell)}" for text, cell in present)
        found.append(
            Claim(
                NOTHING,
                f"nothing to collapse: under the original audio, {values}, where the blind side reaches {floor:.2f}.",
            )
        )
    if "generated" in standing:
        found += _length(grid, length_gap)
    if "reference" in standing:
        # Another voice also takes another time: where length is the key, its collapse says nothing of the voice.
        found += _voice(grid, bool(unread) or bool(found), moved, words)
    if unread:
        heard = " and ".join(words.other if name == "resynthesis" else "the original" for name in unread)
        found.append(
            Claim(
                words.unread,
                f"this target cannot {words.verb} {heard} ({words.why_unread}): what it wrote itself carries no claim.",
            )
        )
    if standing and not any(claim.claim in (LENGTH, words.known, words.bound) for claim in found):
        values = ", ".join(f"{text} {_shown(cell)}" for text, cell in standing.items() if cell is not None)
        found.insert(0, Claim(OPEN, f"open: under the original audio, {values}; what it rests on is not settled."))
    return found


def _length(grid: Mapping[tuple[str, str], Cell], gap: tuple[float, float, float] | None) -> list[Claim]:
    """Length is the key where silence of the clip's length keeps what silence of one length loses."""
    silent = grid.get(("generated", "silence"))
    if silent is None or gap is None or not silent.found.low > 0.5 or not gap[1] > 0:
        return []
    whole = silent.drop is not None and silent.drop[1] <= 0
    much = "all of it" if whole else "part of it"
    return [
        Claim(
            LENGTH,
            f"clip length: silence of each clip's own length keeps {much} (generated text {_shown(silent)}), silence "
            f"of one length does not (a difference of {gap[0]:.2f} [{gap[1]:.2f}, {gap[2]:.2f}]).",
        )
    ]


def _voice(grid: Mapping[tuple[str, str], Cell], barred: bool, moved: Interaction | None, words: Words) -> list[Claim]:
    """Text known where another voice leaves the reference row standing; bound where it falls, and could have stood.

    `barred` says that a collapse could not have shown the opposite: the voice cannot be read, or length is the key.
    """
    other, original = grid.get(("reference", "resynthesis")), grid[("reference", "original")]
    if other is None:
        return []
    place = "in another voice" if words is TRANSCRIPTS else f"under {words.other}"
    rows = f"known {words.text}: {_shown(original)} under the original, {_shown(other)} {place}"
    if other.found.low > 0.5:
        left = ""
        if other.drop is not None and other.drop[1] > 0:
            left = f"; the {words.source} adds {other.drop[0]:.2f} [{other.drop[1]:.2f}, {other.drop[2]:.2f}]"
        return [Claim(words.known, f"{words.known} ({rows}{left}).")]
    collapsed = other.found.high < COLLAPSED and other.drop is not None and other.drop[1] > 0
    if collapsed and not barred and moved is not None and moved.low > 0:
        return [
            Claim(
                words.bound,
                f"{words.bound} ({rows}; members lose {moved.difference:.2f} [{moved.low:.2f}, {moved.high:.2f}] "
                "nats per token more than non-members).",
            )
        ]
    return []


def _above(cell: Cell | None, floor: float) -> bool:
    """Whether a cell stands clearly above chance and the blind side."""
    return cell is not None and cell.found.low > floor


def _shown(cell: Cell) -> str:
    """Print AUC and interval."""
    return f"{cell.found.auc:.2f} [{cell.found.low:.2f}, {cell.found.high:.2f}]"
