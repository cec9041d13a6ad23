"""How scenes are put into words, and words back into scenes.

A seeded annotator picks one of several clauses for every sound and one of several sentences to join them. Neither
choice can be heard, so a model can only know the exact wording of a scene by having been trained on it, as with
captions that people write.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

from precompute.clips import InputError
from precompute.corpora.scene_sounds import BACKGROUNDS, COUNTED


@dataclass(frozen=True)
class Event:
    """One sound of a scene: its kind, what it is like, and how often it happens (1 where that is not counted)."""

    kind: str
    how: str
    count: int = 1


@dataclass(frozen=True)
class Scene:
    """What is heard: a background that goes on throughout, if any, and up to two events in their order."""

    background: Event | None = None
    events: tuple[Event, ...] = ()


TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times"}

CLAUSES: dict[tuple[str, str], tuple[str, ...]] = {
    ("rain", "light"): (
        "light rain is falling",
        "it drizzles softly",
        "a few raindrops patter down",
        "a thin shower passes",
    ),
    ("rain", "heavy"): (
        "heavy rain pours down",
        "it is raining hard",
        "a downpour drums on the ground",
        "rain comes down in sheets",
    ),
    ("wind", "gentle"): ("a gentle wind blows", "a mild breeze is felt", "the air moves gently", "a soft wind passes"),
    ("wind", "gusty"): (
        "wind blows in strong gusts",
        "a gusty wind howls",
        "strong gusts rise and fall",
        "wind surges",
    ),
    ("engine", "idling"): (
        "an engine is idling",
        "a motor runs at rest",
        "a parked truck keeps running",
        "an engine turns over evenly",
    ),
    ("engine", "accelerating"): (
        "an engine speeds up",
        "a motor revs higher and higher",
        "a car accelerates",
        "an engine climbs through its gears",
    ),
    ("waves", "calm"): ("calm waves wash ashore", "slow waves roll in", "the sea is calm", "small waves lap the beach"),
    ("waves", "rough"): ("rough waves crash", "breakers pound the shore", "the sea is rough", "big waves break"),
    ("crickets", "one"): (
        "one cricket chirps",
        "a single cricket sings",
        "a lone insect chirrs",
        "there is a cricket in the grass",
    ),
    ("crickets", "many"): (
        "many crickets chirp",
        "crickets sing all around",
        "a field of insects chirrs",
        "a chorus of crickets sings",
    ),
    ("clock", "slow"): ("a clock ticks slowly", "a big clock ticks", "a pendulum swings", "seconds tick by"),
    ("clock", "fast"): ("a clock ticks quickly", "a watch ticks", "a timer runs fast", "an alarm clock ticks away"),
    ("bell", "small"): (
        "a small bell rings {n}",
        "a high bell chimes {n}",
        "a hand bell is struck {n}",
        "a bright bell sounds {n}",
    ),
    ("bell", "large"): (
        "a large bell tolls {n}",
        "a low bell rings {n}",
        "a heavy bell is struck {n}",
        "a church bell sounds {n}",
    ),
    ("knock", "wood"): (
        "someone knocks {n} on a door",
        "there is a knock on wood {n}",
        "a fist hits a board {n}",
        "somebody raps {n} on a table",
    ),
    ("knock", "metal"): (
        "a metal sheet is struck {n}",
        "metal clangs {n}",
        "someone hits a steel plate {n}",
        "an iron pipe is hit {n}",
    ),
    ("steps", "slow"): (
        "someone walks slowly",
        "slow footsteps go by",
        "a person takes a few slow steps",
        "heavy feet walk on",
    ),
    ("steps", "fast"): (
        "someone runs past",
        "quick footsteps go by",
        "a person is running",
        "feet hurry across the floor",
    ),
    ("beep", "low"): (
        "a low buzzer sounds {n}",
        "a deep beep is heard {n}",
        "a machine buzzes {n}",
        "a horn honks {n}",
    ),
    ("beep", "high"): (
        "a high beep is heard {n}",
        "a device beeps {n}",
        "an alarm pips {n}",
        "an oven beeps {n}",
    ),
    ("bird", "chirping"): (
        "a bird calls now and then",
        "a bird whistles a few notes",
        "a blackbird sings",
        "a bird tweets",
    ),
    ("bird", "trilling"): ("a bird trills", "a canary warbles", "a songbird gives a long trill", "a wren rattles on"),
    ("glass", "small"): (
        "a small glass breaks",
        "a wine glass is dropped",
        "a little bottle cracks",
        "something small shatters",
    ),
    ("glass", "big"): (
        "a big pane of glass shatters",
        "a window is smashed",
        "a large mirror breaks",
        "a lot of glass crashes down",
    ),
    ("dog", "small"): ("a small dog barks {n}", "a little dog yaps {n}", "a puppy barks {n}", "a terrier yaps {n}"),
    ("dog", "big"): ("a big dog barks {n}", "a large dog woofs {n}", "a hound bays {n}", "a guard dog barks {n}"),
    ("whistle", "rising"): (
        "someone whistles a rising note",
        "a whistle slides upward",
        "a whistle goes up",
        "a man whistles upward",
    ),
    ("whistle", "falling"): (
        "someone whistles a falling note",
        "a whistle slides downward",
        "a whistle goes down",
        "a man whistles downward",
    ),
}
"""Kind and what it is like, to the ways of saying so; ``{n}`` is how often."""

SENTENCES: dict[str, tuple[str, ...]] = {
    "one": ("{a}.", "In this clip {a}.", "Somewhere {a}.", "All one can hear is that {a}."),
    "background": (
        "{bg} while {a}.",
        "{a} as {bg}.",
        "{a}, and in the background {bg}.",
        "In the background {bg}; {a}.",
    ),
    "two": ("{a}, then {b}.", "{a} before {b}.", "First {a} and then {b}.", "{b} after {a}."),
    "three": (
        "{bg} while {a} and then {b}.",
        "{a}, then {b}, and in the background {bg}.",
        "First {a} and then {b} as {bg}.",
        "In the background {bg}; {b} after {a}.",
    ),
}
"""By what a scene holds, the ways of joining its clauses: ``{bg}`` the background, ``{a}`` and ``{b}`` the events."""


def sentences(scene: Scene) -> tuple[str, ...]:
    """Choose the sentences that fit what a scene holds."""
    if scene.background is None:
        return SENTENCES["two" if len(scene.events) == 2 else "one"]
    return SENTENCES[("one", "background", "three")[len(scene.events)]]


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """Let the annotator write a caption.

    Parameters
    ----------
    scene : Scene
    rng : np.random.Generator
        The annotator's taste: picks clauses and sentence, and nothing else.

    Returns
    -------
    str
        One sentence.
    """

    def clause(event: Event) -> str:
        ways = CLAUSES[event.kind, event.how]
        return ways[rng.integers(len(ways))].format(n=TIMES[event.count])

    ways = sentences(scene)
    sentence = ways[rng.integers(len(ways))]
    heard = [clause(event) for event in scene.events]
    background = clause(scene.background) if scene.background else ""
    first, second = (heard or [background])[0], heard[-1] if heard else ""
    said = sentence.format(bg=background, a=first, b=second)
    return said[0].upper() + said[1:]


def understand(caption: str) -> Scene:
    """Find the scene that a caption tells of.

    Parameters
    ----------
    caption : str
        From `describe`, or anything that holds some of its clauses; what lies between them is passed over.

    Returns
    -------
    Scene
        With the first background and the first two events named.

    Raises
    ------
    InputError
        If no clause of `CLAUSES` is in it.
    """
    words = " ".join(caption.casefold().split())
    found = [(match, _event(match)) for match in _clause_pattern().finditer(words)]
    if not found:
        raise InputError(f"no known sound is named in the caption {caption[:80]!r}")
    backgrounds = [event for _, event in found if event.kind in BACKGROUNDS]
    happenings = [(match, event) for match, event in found if event.kind not in BACKGROUNDS][:2]
    events = tuple(event for _, event in happenings)
    if len(events) == 2 and " after " in words[happenings[0][0].end() : happenings[1][0].start()]:
        events = events[::-1]
    return Scene(backgrounds[0] if backgrounds else None, events)


@functools.cache
def _clause_pattern() -> re.Pattern[str]:
    """All clauses as one pattern, the longest first; a group's name tells the clause."""
    times = "|".join(TIMES.values())
    ways = [(way, f"k{i}_{k}") for i, clauses in enumerate(CLAUSES.values()) for k, way in enumerate(clauses)]
    ways.sort(key=lambda pair: -len(pair[0]))
    patterns = [f"(?P<{name}>{re.escape(way).replace(re.escape('{n}'), f'(?:{times})')})" for way, name in ways]
    return re.compile(r"\b(?:" + "|".join(patterns) + r")\b")


def _event(match: re.Match[str]) -> Event:
    """Read kind, manner and count off a clause that was found."""
    kind, how = list(CLAUSES)[int(str(match.lastgroup)[1:].split("_")[0])]
    said = match.group()
    count = next((n for n, times in TIMES.items() if re.search(rf"\b{times}\b", said)), 1)
    return Event(kind, how, count if kind in COUNTED else 1)
