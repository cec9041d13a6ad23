"""Recording fingerprint: traces of how a file was made, cut, converted and stored, read at its native rate.

None of this is content. Two halves of one recording session share it; a gain, a filter, a codec or another cut on one
side alone does not leave it as it was. What is measured, and why it gives an edit away:

* **edges**: silence and level at both ends, and how the level rises there (trims, fades, padding);
* **levels**: peak, clipping, offset, noise floor;
* **sample values**: a gain followed by rounding leaves values that never occur, or occur twice as often, in the
  histogram of sample values;
* **spectrum**: bandwidth, and the *rounding floor*. Where a recording has no energy (above its anti-aliasing filter,
  below its high-pass) only the noise of rounding to whole sample values is left, 1/12 of a squared step when done once.
  Any later change of the samples rounds again and adds as much, whatever the change was.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from precompute.blind.recording import FULL_SCALE, Recording, as_stored, decode
from precompute.blind.windows import BLACKMAN_HARRIS, HANN, cosine_window
from precompute.clips import Clip

FLOOR_DB = -120.0
"""Level in dB of full scale that stands for nothing at all."""

ENDS = {"start": "the start", "end": "the end"}
STEPS = (2, 8, 32, 128)
"""Sizes in 16-bit steps that the first and last sound are looked for at: -84, -72, -60 and -48 dBFS."""

SHARES = (0.01, 0.1)
"""The same relative to the clip's peak."""

WINDOWS_MS = ((0, 1.25), (1.25, 2.5), (2.5, 5), (5, 10), (10, 20), (20, 50), (50, 100), (100, 200))
"""Windows of the level at both ends, in milliseconds from the end in question."""

RAMP = 6
"""So many of the windows, the first 50 ms, show whether the level rises like a ramp."""

HISTOGRAM = 255
"""Sample values up to this many steps enter the histogram: those that even a short clip takes many times."""

FRAME_S = 0.01
LONG_S, SHORT_S = 0.256, 0.032
"""Seconds of the two analysis windows: fine in frequency for the rounding floor, fine in time for holes."""

CELLS = 4_000_000
"""Samples, overlaps counted, that one spectrogram takes at most; the frames of a longer clip stand further apart."""

AT_ONCE = 2**16
"""Samples, overlaps counted, that are transformed together: so many stay in a core's own cache."""

SMOOTH = 5
"""Bins of the fine spectrum that are averaged before its emptiest place is looked for."""

TOP_BANDS = ((0.75, 0.85), (0.85, 0.92), (0.92, 0.96), (0.96, 0.98), (0.98, 0.99))
"""Bands towards the highest frequency, as shares of half the sample rate."""

LOW_BANDS = ((0, 20), (20, 50), (50, 80), (80, 120))
"""Bands in Hz under the voice."""

TOP_FLOORS = (0.985, 0.988, 0.990, 0.992, 0.994)
BOTTOM_FLOORS_HZ = (4.0, 8.0, 12.0, 16.0, 20.0)
"""Where a rounding floor is looked for: from this share of half the sample rate up, and from 0 to so many Hz."""

AUDIBLE = 8.0
"""RMS in steps from which a frame enters the fine spectrum: smaller samples a faint change rounds back as they were."""

STEADY_SHARE = 0.8
"""Share of frames, the emptiest, of which a floor is the mean: a click fills the whole spectrum of its frame."""

QUARTERS = 4


def _texts() -> dict[str, tuple[str, str]]:
    """Words and unit of every feature, in the order of `FINGERPRINT`."""
    found: dict[str, tuple[str, str]] = {
        "stored_bits": ("bits per sample of the file's format (0: float or lossy)", "bits"),
        "sample_rate": ("sample rate of the file", "Hz"),
        "channels": ("channels of the file", "channels"),
        "header_bytes": ("bytes of the file that are not samples (header and extra chunks)", "bytes"),
        "off_grid": ("share of samples that are not whole 16-bit values", "share"),
        "unused_bits": ("lowest bits that are never used", "bits"),
        "side_level": ("level of the difference between the first two channels", "dBFS"),
        "whole_10ms": ("whether the length is a whole number of 10 ms", "yes/no"),
        "whole_576": ("whether the length is a whole number of MP3 granules (576 samples)", "yes/no"),
        "whole_1024": ("whether the length is a whole number of 1,024 samples", "yes/no"),
    }
    for end, name in ENDS.items():
        found[f"{end}_zeros"] = (f"digital silence (samples of exactly 0) at {name}", "s")
        for step in STEPS:
            found[f"{end}_reach_{step}"] = (f"time at {name} before a sample reaches {_dbfs(step):.0f} dBFS", "s")
        for share in SHARES:
            found[f"{end}_reach_{100 * share:.0f}pct"] = (
                f"time at {name} before a sample reaches {100 * share:.0f}% of the peak",
                "s",
            )
        for first, last in WINDOWS_MS:
            words = f"level {first:g} to {last:g} ms from {name}"
            found[f"{end}_level_{first:g}_{last:g}"] = (words, "dBFS")
        found[f"{end}_ramp"] = (f"how fast the level rises over 50 ms from {name} (1: a linear fade)", "dB/dB")
        found[f"{end}_ramp_misfit"] = (f"how unlike a straight ramp the level rises from {name}", "dB")
        found[f"{end}_unsteady"] = (f"variation of the level over 150 ms from {name}", "dB")
        found[f"{end}_colour"] = (f"likeness of neighbouring samples in the 100 ms at {name} (0: white noise)", "")
    found |= {
        "peak": ("largest sample", "dBFS"),
        "at_peak": ("share of samples at the very peak (clipping)", "share"),
        "level": ("level of the whole clip", "dBFS"),
        "crest": ("peak over mean level", "dB"),
        "offset": ("constant offset of the samples (DC)", "16-bit steps"),
        "asymmetry": ("positive against negative peak (polarity)", ""),
        "skewness": ("skewness of the samples (polarity)", ""),
        "quietest": ("level of the quietest frame", "dBFS"),
        "quiet": ("level of the quietest tenth of frames", "dBFS"),
        "middle": ("level of the middle frame", "dBFS"),
        "loud": ("level of the loudest twentieth of frames", "dBFS"),
        "gaps": ("share of small sample values that never occur though their neighbours do", "share"),
        "doubled": ("share of small sample values that occur far more often than their neighbours", "share"),
        "roughness": ("unevenness of the histogram of sample values (0: as chance has it)", "log"),
        "comb": ("strongest regular pattern in the histogram of sample values", "log"),
        "distinct": ("distinct sample values, as a share of samples", "share"),
        "zeros": ("share of samples of exactly 0", "share"),
        "ones": ("share of samples of exactly one step", "share"),
        "zero_excess": ("samples of 0 against samples of one step", "log ratio"),
        "odd": ("share of odd sample values (lowest bit set)", "share"),
        "held": ("share of samples equal to the one before", "share"),
        "longest_hold": ("longest stretch of equal samples", "s"),
    }
    for low, high in TOP_BANDS:
        words = f"level between {100 * low:.0f}% and {100 * high:.0f}% of the highest frequency, against mid band"
        found[f"top_{1000 * low:.0f}"] = (words, "dB")
    for low, high in LOW_BANDS:
        found[f"bottom_{low}"] = (f"level between {low} and {high} Hz, against 200 to 1,000 Hz", "dB")
    places = {f"top_{1000 * share:.0f}": f"in the top {100 * (1 - share):.1f}% of the spectrum" for share in TOP_FLOORS}
    places |= {f"bottom_{hertz:g}": f"below {hertz:g} Hz" for hertz in BOTTOM_FLOORS_HZ}
    for place, words in places.items():
        found[f"floor_{place}"] = (f"noise {words}, against that of rounding once", "dB")
        found[f"floor_{place}_typical"] = (f"noise {words} (geometric mean), against that of rounding once", "dB")
    found |= {
        "floor": ("noise in the emptiest part of the spectrum, against that of rounding once", "dB"),
        "floor_at": ("where the spectrum is emptiest, as a share of the highest frequency", "share"),
        "bandwidth": ("highest frequency within 60 dB of the strongest, as a share of the highest possible", "share"),
        "edge_drop": ("steepest fall of the spectrum (a low-pass)", "dB"),
        "edge_at": ("where the spectrum falls steepest, as a share of the highest frequency", "share"),
        "tilt": ("tilt of the spectrum from low to high", "dB"),
        "pause_tilt": ("tilt of the spectrum of the quietest frames", "dB"),
        "pause_low": ("low half of the spectrum of the quietest frames, against rounding once", "dB"),
        "pause_high": ("high half of the spectrum of the quietest frames, against rounding once", "dB"),
        "holes": ("share of the spectrogram emptier than rounding can leave it (lossy codec)", "share"),
        "flicker": ("variation in time of the highest quarter of the spectrum", "dB"),
    }
    for quarter in range(QUARTERS):
        words = f"emptiest twentieth of the spectrogram in quarter {quarter + 1} of {QUARTERS}, against rounding once"
        found[f"low_points_{quarter + 1}"] = (words, "dB")
    return {f"fingerprint.{name}": text for name, text in found.items()}


def _dbfs(steps: float) -> float:
    """Level of a number of 16-bit steps in dB of full scale."""
    return float(20 * np.log10(steps / FULL_SCALE))


_TEXTS = _texts()
FINGERPRINT: tuple[str, ...] = tuple(_TEXTS)
"""Names of the features, in the order of `fingerprint_features`."""

EXPLANATIONS: dict[str, str] = {name: text for name, (text, _) in _TEXTS.items()}
"""What each feature is, as a fragment of a sentence."""

UNITS: dict[str, str] = {name: unit for name, (_, unit) in _TEXTS.items()}
"""Unit of each feature; empty for a pure number."""


def fingerprint_features(clip: Clip) -> dict[str, float]:
    """Measure how a clip's file was made, cut, converted and stored.

    Parameters
    ----------
    clip : Clip

    Returns
    -------
    dict of str to float
        Finite values under the names in `FINGERPRINT`, see `EXPLANATIONS` and `UNITS`; from the first channel.

    Raises
    ------
    InputError
        If the file cannot be read or holds no sample.
    """
    return recording_features(as_stored(decode(clip)))


def recording_features(recording: Recording) -> dict[str, float]:
    """Measure samples already read; see `fingerprint_features`."""
    steps, rate = recording.steps, recording.rate
    values = np.concatenate(
        [
            _storage(recording),
            _edge(steps, rate),
            _edge(steps[::-1], rate),
            _levels(steps, rate),
            _sample_values(np.rint(steps).astype(np.int64), rate),
            _fine_spectrum(steps, rate),
            _coarse_spectrum(steps, rate),
        ]
    )
    return dict(zip(FINGERPRINT, values.tolist(), strict=True))


def _level(squares: np.ndarray | float) -> np.ndarray:
    """Level in dB of full scale of mean squares in steps, no lower than `FLOOR_DB`."""
    return 10 * np.log10(np.maximum(np.asarray(squares, dtype=float) / FULL_SCALE**2, 10 ** (FLOOR_DB / 10)))


def _storage(recording: Recording) -> np.ndarray:
    """Format, grid of sample values, and lengths that lossy codecs and cutting tools leave."""
    n, rate = len(recording.steps), recording.rate
    stored = np.rint(recording.stored).astype(np.int64)
    used = int(np.bitwise_or.reduce(stored))
    unused = (used & -used).bit_length() - 1 if used else 0
    off_grid = np.mean(np.abs(recording.steps - np.rint(recording.steps)) > 1e-4)
    whole = [n % max(1, round(rate / 100)) == 0, n % 576 == 0, n % 1024 == 0]
    header = [recording.bits, rate, recording.channels, recording.header_bytes, off_grid, unused]
    return np.array([*header, _level(recording.side**2), *whole], dtype=float)


def _edge(steps: np.ndarray, rate: int) -> np.ndarray:
    """Silence, level and rise at the start of `steps` (reversed in time for the end)."""
    n = len(steps)
    size = np.abs(steps)
    peak = size.max()
    limits = [0.5, *STEPS, *(max(share * peak, 0.5) for share in SHARES)]
    reached = [_first(size >= limit) / rate for limit in limits]
    squares = np.concatenate([[0.0], np.cumsum(steps[: round(0.2 * rate) + 1] ** 2)])
    bounds = [(round(first * rate / 1e3), max(round(last * rate / 1e3), 1)) for first, last in WINDOWS_MS]
    # A clip shorter than a window is as loud there as in the last window it reaches.
    mean_squares: list[float] = []
    for first, last in bounds:
        last = min(last, n)
        mean_squares.append(
            (squares[last] - squares[first]) / (last - first) if last > first else (mean_squares or [0.0])[-1]
        )
    # One step squared is added so that silence has a level from which a rise can be counted.
    rise = 10 * np.log10(np.array(mean_squares[:RAMP]) + 1 / 12)
    ramp, misfit = _line(_ramp_scale(), rise)
    frames = _frame_squares(steps[: round(0.15 * rate)], rate)
    near = steps[: max(2, round(0.1 * rate))]
    near = near - near.mean()
    colour = float(near[1:] @ near[:-1]) / max(float(near @ near), 1e-9)
    return np.array([*reached, *_level(np.array(mean_squares)), ramp, misfit, np.std(_level(frames)), colour])


def _first(hits: np.ndarray) -> int:
    """Position of the first hit, or the length where there is none."""
    return int(hits.argmax()) if hits.any() else len(hits)


@lru_cache(maxsize=1)
def _ramp_scale() -> np.ndarray:
    """Level in dB that a linear fade-in has in each of the `RAMP` windows."""
    return np.array([10 * np.log10((a * a + a * b + b * b) / 3) for a, b in WINDOWS_MS[:RAMP]])


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the least-squares line and the RMS distance from it."""
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    return slope, float(np.sqrt(np.mean((y - slope * x) ** 2)))


def _frame_squares(steps: np.ndarray, rate: int) -> np.ndarray:
    """Mean squares of whole frames of `FRAME_S`, or of all there is."""
    size = max(1, round(FRAME_S * rate))
    if len(steps) < size:
        return np.array([np.mean(steps**2)])
    count = len(steps) // size
    return np.mean(steps[: count * size].reshape(count, size) ** 2, axis=1)


def _levels(steps: np.ndarray, rate: int) -> np.ndarray:
    """Peak, clipping, offset, polarity and the spread of frame levels."""
    peak = float(np.abs(steps).max())
    square = float(np.mean(steps**2))
    offset = float(steps.mean())
    centred = steps - offset
    spread = max(float(centred.std()), 0.5)
    at_peak = np.mean(np.abs(steps) >= peak - 0.5) if peak else 0.0
    asymmetry = (steps.max() + steps.min()) / max(peak, 1.0)
    scaled = centred / spread
    skewness = np.mean(scaled * scaled * scaled)  # numpy's general power is twenty times as slow
    frames = _level(np.quantile(_frame_squares(steps, rate), [0.0, 0.1, 0.5, 0.95]))
    peak_level, level = _level(peak**2), _level(square)
    return np.array([peak_level, at_peak, level, peak_level - level, offset, asymmetry, skewness, *frames])


def _sample_values(steps: np.ndarray, rate: int) -> np.ndarray:
    """Gaps, doublings and patterns in the histogram of whole sample values, and runs of equal samples."""
    n = len(steps)
    small = steps[np.abs(steps) <= HISTOGRAM]
    counts = np.bincount(small + HISTOGRAM, minlength=2 * HISTOGRAM + 1).astype(float)
    # Expected from the neighbours on both sides, of which a gain leaves at most every second one untouched.
    near = np.convolve(counts, np.ones(9) / 9, mode="same")
    told = near >= 4
    gaps = np.mean(counts[told] == 0) if told.any() else 0.0
    doubled = np.mean(counts[told] > near[told] + 4 * np.sqrt(near[told])) if told.any() else 0.0
    away = np.abs(np.arange(-HISTOGRAM, HISTOGRAM + 1)) >= 4  # the heap of values around 0 has a slope of its own
    excess = np.where(away, (counts - near) / np.sqrt(near + 1), 0.0)
    roughness = np.log(np.mean(excess[away] ** 2) + 0.1)
    comb = np.log(np.max(np.abs(np.fft.rfft(excess)[20:]) ** 2) / len(excess) + 0.1)
    zero, one = counts[HISTOGRAM], counts[HISTOGRAM - 1] + counts[HISTOGRAM + 1]
    same = np.diff(steps) == 0
    ends = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
    return np.array(
        [
            gaps,
            doubled,
            roughness,
            comb,
            _distinct(steps) / n,
            zero / n,
            one / n,
            np.log((zero + 1) / (one / 2 + 1)),
            np.mean(steps & 1),
            np.mean(same) if n > 1 else 0.0,
            np.diff(ends).max() / rate,
        ]
    )


def _distinct(steps: np.ndarray) -> int:
    """How many different values there are; counting is faster than sorting where they lie as close as 16 bits do."""
    low, high = int(steps.min()), int(steps.max())
    if high - low < 2 * FULL_SCALE:
        return int(np.count_nonzero(np.bincount(steps - low)))
    return len(np.unique(steps))


def _power(steps: np.ndarray, rate: int, seconds: float, overlap: int, kind: tuple[float, ...]) -> np.ndarray:
    """Power spectra [shape=(frames, bins)] against that of rounding once, 1/12 of a squared step (white: 1 per bin)."""
    size = 2 ** round(np.log2(max(seconds * rate, 16)))
    size = max(16, min(size, len(steps)))
    steps = np.pad(steps, (0, max(0, size - len(steps))))
    window = cosine_window(size, kind)
    hop = max(1, size // overlap, len(steps) // max(1, CELLS // size))
    frames = np.lib.stride_tricks.sliding_window_view(steps, size)[::hop]
    power = np.empty((len(frames), size // 2 + 1))
    rows = max(1, AT_ONCE // size)
    for first in range(0, len(frames), rows):
        spectrum = np.fft.rfft(frames[first : first + rows] * window, axis=1)
        part = power[first : first + rows]
        np.square(spectrum.real, out=part)
        part += spectrum.imag**2
        part *= 12 / np.sum(window**2)
    return power


def _decibel(power: np.ndarray | float) -> np.ndarray:
    """Power in dB; a thousandth of the rounding noise is as little as can be told."""
    return 10 * np.log10(np.maximum(power, 1e-3))


def _fine_spectrum(steps: np.ndarray, rate: int) -> np.ndarray:
    """Bands, rounding floors, bandwidth and tilt of the audible frames, or of the louder half if none is."""
    # Hann: the narrowest main lobe, next to the voice's steep edges, whose side lobes have died away far from it.
    power = _power(steps, rate, LONG_S, 8, HANN)
    bins = power.shape[1]
    share = np.arange(bins) / max(1, bins - 1)
    hertz = share * rate / 2
    loudness = power.mean(axis=1) / 12
    power = power[loudness >= min(AUDIBLE**2, float(np.median(loudness)))]
    mean = power.mean(axis=0)

    def band(low: float, high: float, axis: np.ndarray) -> float:
        chosen = (axis >= low) & (axis < high)
        if not chosen.any():
            chosen = np.arange(bins) == np.abs(axis - low).argmin()
        return float(_decibel(mean[chosen].mean()))

    def floor(chosen: np.ndarray) -> list[float]:
        if not chosen.any():
            chosen = np.arange(bins) == bins - 1
        frames = np.sort(power[:, chosen].mean(axis=1))
        steady = frames[: max(1, int(STEADY_SHARE * len(frames)))].mean()
        return [float(_decibel(steady)), float(_decibel(power[:, chosen]).mean())]

    middle, voice = band(0.5, 0.75, share), band(200, 1000, hertz)
    tops = [band(low, high, share) - middle for low, high in TOP_BANDS]
    lows = [band(low, high, hertz) - voice for low, high in LOW_BANDS]
    places = [*(share >= low for low in TOP_FLOORS), *(hertz <= high for high in BOTTOM_FLOORS_HZ)]
    floors = [value for place in places for value in floor(place)]
    emptiest, emptiest_at = _emptiest(power)
    grid = np.linspace(0, 1, 101)
    curve = _decibel(np.interp(grid, share, mean))
    fall = curve[:-2] - curve[2:]
    within = np.flatnonzero(curve >= curve.max() - 60)
    body = (grid >= 0.1) & (grid <= 0.9)
    slope = _line(grid[body], curve[body])[0]
    return np.array(
        [*tops, *lows, *floors, emptiest, emptiest_at, grid[within[-1]], fall.max(), grid[fall.argmax() + 1], slope]
    )


def _emptiest(power: np.ndarray) -> tuple[float, float]:
    """Level and place, in [0, 1], of the emptiest `SMOOTH` neighbouring bins of the median spectrum."""
    # Medians are slow and most bins cannot be among the emptiest. A stretch found from some frames bounds the level;
    # a bin with at most half of its frames under that bound has its median above.
    rough = _smooth(np.median(power[::8], axis=0)).argmin()
    bound = 10 ** (_smooth(np.median(power[:, rough : rough + SMOOTH], axis=0))[0] / 10)
    low = np.count_nonzero(power < bound, axis=0) > (len(power) - 1) // 2
    low[rough : rough + SMOOTH] = True
    candidates = np.flatnonzero(np.convolve(low, np.ones(SMOOTH), mode="valid"))
    bins = np.unique(np.add.outer(candidates, np.arange(SMOOTH)))
    medians = np.full(power.shape[1], np.inf)
    medians[bins] = np.median(power[:, bins], axis=0)
    smooth = _smooth(medians)
    return float(smooth.min()), smooth.argmin() / max(1, len(smooth) - 1)


def _smooth(power: np.ndarray) -> np.ndarray:
    """Mean level in dB of every `SMOOTH` neighbouring bins."""
    return np.convolve(_decibel(power), np.ones(SMOOTH) / SMOOTH, mode="valid")


def _coarse_spectrum(steps: np.ndarray, rate: int) -> np.ndarray:
    """Spectrum of the pauses, holes of the spectrogram and unrest of its highest part."""
    # Blackman-Harris: side lobes 92 dB down everywhere, so that holes are not filled by the voice around them.
    power = _power(steps, rate, SHORT_S, 2, BLACKMAN_HARRIS)
    loudness = power.sum(axis=1)
    pause = _decibel(power[loudness <= np.quantile(loudness, 0.1)].mean(axis=0))
    grid = np.linspace(0, 1, len(pause))
    half = len(pause) // 2
    loud = power[loudness >= np.median(loudness)]
    quarters = np.array_split(loud, QUARTERS, axis=1)
    lowest = [float(_decibel(np.quantile(quarter, 0.05))) for quarter in quarters]
    holes = np.mean(loud < 0.05)
    flicker = np.std(_decibel(quarters[-1].mean(axis=1)))
    tilt = _line(grid, pause)[0]
    return np.array([tilt, pause[:half].mean(), pause[half:].mean(), holes, flicker, *lowest])
