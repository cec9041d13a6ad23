"""The sounds that scenes are made of: fourteen kinds, each a few lines of signal processing.

Every function takes a random generator, a length in seconds, what the sound is like (one of two words) and how
often it happens, and gives samples of that length at `SAMPLE_RATE`. What the generator decides (pitch within a
range, timing, the noise itself) is what no caption tells.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from precompute.clips import SAMPLE_RATE

Sound = Callable[[np.random.Generator, float, str, int], np.ndarray]


def n_samples(seconds: float) -> int:
    """Length in samples."""
    return round(seconds * SAMPLE_RATE)


def hiss(rng: np.random.Generator, seconds: float, low: float, high: float) -> np.ndarray:
    """White noise between two frequencies in Hz (Butterworth, second order)."""
    from scipy.signal import sosfilt

    return sosfilt(_band(low, high), rng.standard_normal(n_samples(seconds)))


@functools.lru_cache(maxsize=64)
def _band(low: float, high: float) -> np.ndarray:
    from scipy.signal import butter

    return butter(2, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos")


def fading(seconds: float, constant: float) -> np.ndarray:
    """Exponential decay; `constant` is the time in seconds until 1/e."""
    return np.exp(-np.arange(n_samples(seconds)) / SAMPLE_RATE / constant)


def swell(seconds: float) -> np.ndarray:
    """One rise and fall, from zero to zero."""
    return np.hanning(n_samples(seconds))


def tone(frequency: np.ndarray) -> np.ndarray:
    """Sine of a frequency in Hz that is given for every sample."""
    return np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE)


def steady(frequency: float, seconds: float) -> np.ndarray:
    """One frequency for every sample."""
    return np.full(n_samples(seconds), frequency)


def glide(first: float, last: float, seconds: float) -> np.ndarray:
    """Move a frequency evenly from `first` to `last`."""
    return np.linspace(first, last, n_samples(seconds))


def scatter(seconds: float, sounds: list[np.ndarray], times: np.ndarray) -> np.ndarray:
    """Mix sounds at the given times in seconds; what would go on past the end is cut."""
    mix = np.zeros(n_samples(seconds))
    for sound, time in zip(sounds, times, strict=True):
        room = mix[n_samples(time) :]
        room += np.pad(sound[: len(room)], (0, max(0, len(room) - len(sound))))
    return mix


def beats(rng: np.random.Generator, count: int, gap: float) -> np.ndarray:
    """Time `count` strokes about `gap` seconds apart, as a hand would place them."""
    return gap * (np.arange(count) + rng.uniform(0, 0.12, count))


def rain(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Let drops fall over a hiss; heavy rain has more of both."""
    bed, rate = (0.6, 90) if how == "heavy" else (0.03, 12)
    times = rng.uniform(0, seconds, int(rate * seconds))
    drops = [rng.uniform(0.3, 1) * hiss(rng, 0.02, 2000, 7500) * fading(0.02, 0.004) for _ in times]
    return bed * hiss(rng, seconds, 1200, 7000) + scatter(seconds, drops, times)


def wind(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Low noise whose level wanders; gusts come quicker and reach higher."""
    turns, high = (10, 1300.0) if how == "gusty" else (4, 600.0)
    low = 0.05 if how == "gusty" else 0.5
    level = np.interp(np.linspace(0, turns - 1, n_samples(seconds)), range(turns), rng.uniform(low, 1, turns))
    return level * hiss(rng, seconds, 120, high)


def engine(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Harmonics of a firing rate, which stays or climbs, and exhaust noise at that rate."""
    from scipy.signal import sosfilt

    rate = rng.uniform(22, 30)
    turning = glide(rate, rng.uniform(90, 120), seconds) if how == "accelerating" else steady(rate, seconds)
    turning = turning * (1 + 0.01 * np.cumsum(rng.standard_normal(len(turning))) / np.sqrt(len(turning)))
    harmonics = sum(tone(k * turning) / k**0.6 for k in range(1, 18))
    exhaust = 0.5 * rng.standard_normal(len(turning)) * (1 + tone(turning))
    return sosfilt(_band(20, 1400), harmonics + exhaust)


def waves(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Noise that rises and falls with the surf."""
    period, high = (1.5, 4500.0) if how == "rough" else (3.6, 1500.0)
    time = np.arange(n_samples(seconds)) / SAMPLE_RATE
    surf = np.clip(np.sin(2 * np.pi * (time / period * rng.uniform(0.9, 1.1) + rng.uniform())), 0, 1) ** 2
    return (0.12 + surf) * hiss(rng, seconds, 200, high)


def crickets(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Pulsed high tones: one singer with pauses, or many at once."""
    mix = np.zeros(n_samples(seconds))
    for _ in range(7 if how == "many" else 1):
        rate = rng.uniform(1.6, 2.4)
        time = np.arange(len(mix)) / SAMPLE_RATE + rng.uniform(0, 1)
        singing = (time * rate) % 1 < 0.55
        pulses = np.clip(np.sin(2 * np.pi * 28 * time), 0, 1)
        mix += rng.uniform(0.4, 1) * singing * pulses * tone(steady(rng.uniform(4000, 5200), seconds))
    return mix


def clock(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Tick and tock, alternately duller, at an even pace."""
    gap = rng.uniform(0.9, 1.05) if how == "slow" else rng.uniform(0.2, 0.26)
    times = np.arange(rng.uniform(0.05, 0.2), seconds - 0.05, gap)
    ticks = [hiss(rng, 0.03, 1800.0 + 900 * (k % 2), 6500) * fading(0.03, 0.003) for k in range(len(times))]
    return scatter(seconds, ticks, times)


def bell(rng: np.random.Generator, seconds: float, how: str, count: int) -> np.ndarray:
    """Ring the partials of a church bell (hum, prime, tierce, nominal and above), each fading on its own."""
    pitch = rng.uniform(1100, 1800) if how == "small" else rng.uniform(200, 380)
    slow = 1.0 if how == "small" else 0.5
    partials = ((0.5, 0.5, 0.9), (1, 1, 0.6), (1.2, 0.6, 0.5), (2, 0.5, 0.3), (2.76, 0.4, 0.2), (4.1, 0.2, 0.1))
    ring = sum(w * tone(steady(pitch * r, seconds)) * fading(seconds, t / slow) for r, w, t in partials)
    return scatter(seconds, [ring] * count, beats(rng, count, min(0.55, 0.8 * seconds / count)))


def knock(rng: np.random.Generator, seconds: float, how: str, count: int) -> np.ndarray:
    """Short dull modes of a wooden board, or long bright ones of a metal sheet, after a click."""
    wood, metal = {1: 0.03, 1.59: 0.022, 2.9: 0.016}, {1: 0.2, 1.42: 0.15, 2.31: 0.11, 3.7: 0.08}
    base = rng.uniform(150, 220) if how == "wood" else rng.uniform(700, 1100)
    modes = wood if how == "wood" else metal
    stroke = sum(tone(steady(base * ratio, 0.6)) * fading(0.6, time) for ratio, time in modes.items())
    stroke = stroke + hiss(rng, 0.6, 500, 6000) * fading(0.6, 0.004)
    return scatter(seconds, [stroke] * count, beats(rng, count, min(0.32, 0.8 * seconds / count)))


def steps(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Put a dull heel and a scrape for every step."""
    gap = 0.55 if how == "slow" else 0.2
    times = beats(rng, int(seconds / gap), gap)
    feet = [
        3 * hiss(rng, 0.1, 60, 450) * fading(0.1, 0.025) + 0.4 * hiss(rng, 0.1, 2000, 6000) * fading(0.1, 0.012)
        for _ in times
    ]
    return scatter(seconds, feet, times)


def beep(rng: np.random.Generator, seconds: float, how: str, count: int) -> np.ndarray:
    """Square-wave signals of an appliance."""
    pitch = rng.uniform(1500, 2200) if how == "high" else rng.uniform(350, 550)
    signal = np.sign(tone(steady(pitch, 0.16))) * np.hanning(n_samples(0.16)) ** 0.2
    return scatter(seconds, [signal] * count, 0.33 * np.arange(count) * min(1, 0.8 * seconds / (0.33 * count)))


def bird(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Separate sweeping calls, or a quick trill on one of them."""
    if how == "trilling":
        call = tone(glide(rng.uniform(3500, 5500), rng.uniform(2800, 4000), 0.055)) * swell(0.055)
        times = np.arange(0, seconds - 0.06, rng.uniform(0.065, 0.085))
        return scatter(seconds, [call] * len(times), times)
    times = beats(rng, int(seconds / 0.42), 0.42)
    ends = rng.uniform(2300, 6000, (len(times), 2))
    calls = [tone(glide(first, last, 0.14)) * swell(0.14) for first, last in ends]
    return scatter(seconds, calls, times)


def glass(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Crack, then let shards ring as they fall; a big pane has many."""
    shards, spread = (70, 0.5) if how == "big" else (9, 0.12)
    times = np.clip(np.abs(rng.normal(0, spread, shards)), 0, seconds - 0.05)
    rings = [
        rng.uniform(0.2, 1) * tone(steady(rng.uniform(2500, 7000), 0.35)) * fading(0.35, rng.uniform(0.02, 0.06))
        for _ in times
    ]
    crack = (4 if how == "big" else 1) * hiss(rng, seconds, 900, 7000) * fading(seconds, 0.02)
    return crack + scatter(seconds, rings, times)


def dog(rng: np.random.Generator, seconds: float, how: str, count: int) -> np.ndarray:
    """Bark: a falling voiced burst with a rough edge; a big dog is lower and longer."""
    pitch, length = (rng.uniform(500, 700), 0.12) if how == "small" else (rng.uniform(150, 210), 0.22)
    voice = glide(pitch, 0.65 * pitch, length)
    bark = sum(tone(k * voice) / k**0.7 for k in range(1, 7)) + 0.8 * hiss(rng, length, 300, 2500)
    bark = np.tanh(bark) * swell(length) ** 0.5
    return scatter(seconds, [bark] * count, beats(rng, count, min(0.4, 0.8 * seconds / count)))


def whistle(rng: np.random.Generator, seconds: float, how: str, _count: int) -> np.ndarray:
    """Slide a breathy tone up or down."""
    low, high = rng.uniform(700, 1000), rng.uniform(1700, 2400)
    length = min(seconds, rng.uniform(0.8, 1.2))
    path = glide(low, high, length) if how == "rising" else glide(high, low, length)
    sound = (tone(path) + 0.08 * hiss(rng, length, 600, 3000)) * np.minimum(1, 6 * swell(length))
    return scatter(seconds, [sound], np.zeros(1))


BACKGROUNDS: dict[str, tuple[Sound, tuple[str, str]]] = {
    "rain": (rain, ("light", "heavy")),
    "wind": (wind, ("gentle", "gusty")),
    "engine": (engine, ("idling", "accelerating")),
    "waves": (waves, ("calm", "rough")),
    "crickets": (crickets, ("one", "many")),
    "clock": (clock, ("slow", "fast")),
}
"""Kinds that go on through the whole scene, with the two words for what they are like."""

HAPPENINGS: dict[str, tuple[Sound, tuple[str, str]]] = {
    "bell": (bell, ("small", "large")),
    "knock": (knock, ("wood", "metal")),
    "steps": (steps, ("slow", "fast")),
    "beep": (beep, ("low", "high")),
    "bird": (bird, ("chirping", "trilling")),
    "glass": (glass, ("small", "big")),
    "dog": (dog, ("small", "big")),
    "whistle": (whistle, ("rising", "falling")),
}
"""Kinds that happen at some time."""

COUNTED = ("bell", "knock", "beep", "dog")
"""Kinds whose captions say how often."""
