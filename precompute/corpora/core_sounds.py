"""The embedded speech: Debian's Asterisk core sounds, and the cohorts with known truth drawn from it.

One professional speaker per language reads telephone prompts at 8 kHz. The clips in English, Spanish,
French and Italian are halved at random into A and B; the embedded targets are trained on one half.
Russian is never trained on. Every draw below comes from `SPLIT_SEED` and was made once.
"""

from __future__ import annotations

import functools
import gzip
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.clips import Clip, Cohort, InputError

SPLIT_SEED = 260328378
"""The paper's arXiv number; fixed before any result was seen."""

VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
TRAINED_LANGUAGES = ("en", "es", "fr", "it")
MAX_SECONDS = 10.0
"""Longer clips are left out (under 5% of them): the embedded targets' training is sized for this."""

LICENCE = "CC-BY-SA-3.0 (en, es, fr, it), CC-BY-3.0 (ru)"
ATTRIBUTION = (
    "Asterisk core sounds: Allison Smith (en, es), June Wallack (fr), Carlo Flora (it), "
    "Maxim Topal, ivrvoice.ru (ru); packaged by Debian as asterisk-core-sounds"
)

_LINE = re.compile(r"\s*([\w/\-]+)\s*:\s*(.+)$")
_REMARK = re.compile(r"[\[(<][^\])>]*[\])>]")


@dataclass(frozen=True)
class Recording:
    """A prompt of the embedded speech: its clip, its length in seconds and its package name."""

    clip: Clip
    seconds: float
    name: str


def sounds_root() -> Path:
    """Folder that holds ``share/asterisk/sounds``: the system's, or one unpacked without root.

    Returns
    -------
    Path
        ``$CORE_SOUNDS`` if set, else ``.sounds/usr`` of the checkout if present, else ``/usr``.
    """
    if "CORE_SOUNDS" in os.environ:
        return Path(os.environ["CORE_SOUNDS"])
    unpacked = Path(__file__).resolve().parents[2] / ".sounds/usr"
    return unpacked if unpacked.is_dir() else Path("/usr")


def normalise(text: str) -> str:
    """Fold case and punctuation away, so that equal wordings compare equal."""
    return " ".join(re.sub(r"[^\w]+", " ", text.casefold()).split())


@functools.cache
def recordings(language: str) -> tuple[Recording, ...]:
    """Every prompt of a language that has a transcript, in the order of the transcript file.

    Parameters
    ----------
    language : str
        One of `VOICES`.

    Returns
    -------
    tuple of Recording
        Stage directions ("[ascending tones]") are no transcript and are left out.

    Raises
    ------
    InputError
        If the Debian packages are not installed.
    """
    import soundfile

    share = sounds_root() / "share"
    listing = share / f"doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
    if not listing.is_file():
        raise InputError(
            f"the embedded speech is not installed (no {listing}): run `make setup`, "
            f"or install the Debian packages asterisk-core-sounds-{language} and -{language}-wav"
        )
    found: dict[str, Recording] = {}
    for line in gzip.decompress(listing.read_bytes()).decode("utf-8-sig", errors="replace").splitlines():
        match = None if line.startswith(";") else _LINE.match(line)
        if match is None:
            continue
        name, text = match[1], " ".join(_REMARK.sub(" ", match[2]).split())
        path = share / "asterisk/sounds" / VOICES[language] / f"{name}.wav"
        if not normalise(text) or not path.is_file() or name in found:  # a name listed twice: its first text holds
            continue
        clip = Clip(f"core-sounds/{language}/{name}", path, text, group=language, language=language)
        found[name] = Recording(clip, soundfile.info(path).duration, name)
    return tuple(found.values())


def distinct(languages: tuple[str, ...]) -> list[Recording]:
    """Clips short enough for the targets, one per wording and language: the first of each is kept."""
    kept: list[Recording] = []
    for language in languages:
        seen: dict[str, Recording] = {}
        for recording in recordings(language):
            seen.setdefault(normalise(recording.clip.text or ""), recording)
        kept.extend(recording for recording in seen.values() if recording.seconds <= MAX_SECONDS)
    return kept


def stratified_halves(items: list[Recording], seed: int) -> tuple[list[Recording], list[Recording]]:
    """Split at random into two halves within coarse strata, language x length tertile.

    A wording that two languages share ("OK", the letters) goes to one half in all of them, so that no
    transcript stands on both sides; the cohorts then take it once.

    Parameters
    ----------
    items : list of Recording
    seed : int

    Returns
    -------
    tuple of two lists of Recording
    """
    rng = np.random.default_rng(seed)
    halves: tuple[list[Recording], list[Recording]] = ([], [])
    side_of: dict[str, int] = {}
    for language in dict.fromkeys(item.clip.language for item in items):
        same = sorted((i for i in items if i.clip.language == language), key=lambda i: (i.seconds, i.name))
        for stratum in np.array_split(np.arange(len(same)), 3):
            for turn, position in enumerate(rng.permutation(stratum)):
                side = side_of.setdefault(normalise(same[position].clip.text or ""), turn % 2)
                halves[side].append(same[position])
    return halves


def training_halves(seed: int = SPLIT_SEED) -> tuple[list[Recording], list[Recording]]:
    """Halves A and B of the trained languages; an embedded target was trained on one of them."""
    return stratified_halves(distinct(TRAINED_LANGUAGES), seed)


def one_per_wording(items: list[Recording]) -> list[Recording]:
    """Drop clips whose wording came before: a word that two languages share would tell one fold about another."""
    seen: dict[str, Recording] = {}
    for item in items:
        seen.setdefault(normalise(item.clip.text or ""), item)
    return list(seen.values())


def planted_propensity(items: list[Recording]) -> np.ndarray:
    """Chance that a clip is drawn for the "member" list of a shifted cohort, given its length and its topic.

    Long prompts and prompts of voicemail and conferences are drawn more often: the shift is planted, smooth and
    known, so that what an adjustment should recover can be worked out.

    Parameters
    ----------
    items : list of Recording

    Returns
    -------
    np.ndarray [shape=(n,)]
        Probabilities in (0, 1).
    """
    length = np.log([item.seconds for item in items])
    length = (length - length.mean()) / length.std()
    topic = np.array([item.name.startswith(("vm-", "conf", "spy-", "queue-")) for item in items]) - 0.5
    return 1 / (1 + np.exp(-(1.5 * length + 1.5 * topic)))


def _cohort(name: str, title: str, truth: str, members: list[Recording], others: list[Recording]) -> Cohort:
    items = sorted([(m, 1) for m in members] + [(o, 0) for o in others], key=lambda pair: pair[0].clip.clip_id)
    return Cohort(
        name=name,
        clips=tuple(item.clip for item, _ in items),
        labels=tuple(label for _, label in items),
        title=title,
        description=f"Asterisk core sounds, at most {MAX_SECONDS:.0f} s, one clip per wording. {truth}",
        licence=LICENCE,
        attribution=ATTRIBUTION,
        truth=truth,
    )


def core_clean() -> Cohort:
    """Half A against half B: a random split, so only training tells the classes apart."""
    half_a, half_b = (one_per_wording(half) for half in training_halves())
    return _cohort(
        "core-clean",
        "Random halves A and B (en, es, fr, it)",
        "A random split. Claimed members are half A, which tiny-audio-flamingo and tiny-music-flamingo were trained "
        "on; tiny-audio-flamingo-b was trained on the other half.",
        half_a,
        half_b,
    )


def core_both() -> Cohort:
    """Half A against half B again, but drawn so that the classes also differ in length and topic."""
    half_a, half_b = (one_per_wording(half) for half in training_halves())
    chance = planted_propensity([*half_a, *half_b])
    draw = np.random.default_rng([SPLIT_SEED, 1]).random(len(chance))
    taken_a = [item for item, e, u in zip(half_a, chance, draw, strict=False) if u < e]
    rest = slice(len(half_a), None)
    taken_b = [item for item, e, u in zip(half_b, chance[rest], draw[rest], strict=True) if u >= e]
    return _cohort(
        "core-both",
        "Trained and untrained, shifted in length and topic (en, es, fr, it)",
        "A shift and a leak. Claimed members are from half A (trained on by tiny-audio-flamingo and "
        "tiny-music-flamingo) and longer, more often about voicemail; non-members are from half B.",
        taken_a,
        taken_b,
    )


def core_shift() -> Cohort:
    """Russian, which no embedded target was trained on, split by length and topic."""
    items = distinct(("ru",))
    chance = planted_propensity(items)
    draw = np.random.default_rng([SPLIT_SEED, 2]).random(len(chance))
    return _cohort(
        "core-shift",
        "Never trained on, split by length and topic (ru)",
        "A shift and no leak. No target was trained on any of it; the claimed members are longer and more often "
        "about voicemail.",
        [item for item, e, u in zip(items, chance, draw, strict=True) if u < e],
        [item for item, e, u in zip(items, chance, draw, strict=True) if u >= e],
    )


def core_unseen() -> Cohort:
    """Russian random halves: nothing to find."""
    members, others = stratified_halves(distinct(("ru",)), SPLIT_SEED)
    return _cohort(
        "core-unseen",
        "Never trained on, random halves (ru)",
        "Nothing to find. A random split of clips that no target was trained on.",
        members,
        others,
    )


COHORTS = {"core-clean": core_clean, "core-shift": core_shift, "core-both": core_both, "core-unseen": core_unseen}
"""The embedded cohorts by name."""


@functools.cache
def half_of() -> dict[str, str]:
    """Which training half each clip of the trained languages is in, ``A`` or ``B``, by clip_id."""
    return {item.clip.clip_id: half for half, items in zip("AB", training_halves(), strict=True) for item in items}
