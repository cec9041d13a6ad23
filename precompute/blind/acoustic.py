"""Acoustic blind features: frame-wise measures from one spectrogram, summed up per clip.

Each measure is defined as the function of that name in librosa 0.11 defines it, and gives the same values; they are
written out here because librosa takes seconds to import and transforms a clip anew for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from precompute.blind.windows import HANN, cosine_window
from precompute.clips import SAMPLE_RATE

FRAME = 1024
HOP = 256
MEL_BANDS = 64
MFCCS = 20
F0_RANGE = (65.0, 500.0)
"""Pitch range in Hz: speaking voices, and most of an instrument's notes."""

VOICED_LEVEL = 0.1
"""Pitch is read where a frame is at least this share of the loudest frame's RMS; elsewhere it would be noise."""

TROUGH = 0.1
"""Normalised difference under which a dip counts as a period: the threshold of YIN's authors."""

AT_ONCE = 64
"""Frames that are transformed together: so many stay in a core's own cache."""

SERIES = (*(f"mfcc_{i:02d}" for i in range(MFCCS)), "centroid", "bandwidth", "rolloff", "rms", "zero_crossings", "f0")
SUMMARIES = ("mean", "sd", "p10", "p50", "p90")
ACOUSTIC: tuple[str, ...] = tuple(f"acoustic.{name}_{how}" for name in SERIES for how in SUMMARIES)
"""Names of the features, in the order of `acoustic_features`."""


def acoustic_features(samples: np.ndarray) -> dict[str, float]:
    """Sum up each frame-wise measure per clip: mean, standard deviation, 10th, 50th and 90th percentile.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono float audio at 16 kHz; any length, silence included. Samples that are not finite count as 0.

    Returns
    -------
    dict of str to float
        Finite values under the names in `ACOUSTIC`: MFCCs in dB, centroid, bandwidth, roll-off and F0 in Hz (F0 is 0
        where no frame is loud enough to carry a pitch), RMS in amplitude, zero crossings per sample.
    """
    samples = np.nan_to_num(np.asarray(samples, dtype=np.float32), posinf=0.0, neginf=0.0)
    samples = np.pad(samples, (0, max(0, FRAME - len(samples))))
    frames, pitch = _frame_measures(samples)
    columns = np.vstack([_summaries(frames), _summaries(pitch[np.newaxis])])
    return dict(zip(ACOUSTIC, (float(value) for value in columns.ravel()), strict=True))


def _summaries(series: np.ndarray) -> np.ndarray:
    """Take mean, sd and percentiles [shape=(m, 5)] of m series of frames."""
    spread = np.percentile(series, [10, 50, 90], axis=1)
    return np.column_stack([series.mean(axis=1), series.std(axis=1), *spread])


def _frame_measures(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure all but pitch [shape=(25, frames)], and the pitch of the frames loud enough to have one."""
    padded = np.pad(samples, FRAME // 2)
    frames = _framed(padded, HOP)
    loudness = np.sqrt(np.mean(_framed(np.square(padded), HOP), axis=1))
    power = np.empty((len(frames), FRAME // 2 + 1), dtype=np.float32)
    shapes = np.hstack(list(_shapes(frames, power)))
    series = [_mfccs(power), shapes, loudness, _zero_crossings(samples)]
    return np.vstack(series).astype(float), _pitch(padded, loudness)


def _framed(values: np.ndarray, hop: int) -> np.ndarray:
    """Cut into overlapping frames [shape=(frames, FRAME)], without a copy."""
    return np.lib.stride_tricks.sliding_window_view(values, FRAME)[::hop]


def _shapes(frames: np.ndarray, power: np.ndarray) -> Iterator[np.ndarray]:
    """Give centre, width and roll-off of spectra [shape=(3, n)], a few frames at a time, and fill in their power."""
    from scipy.fft import rfft

    for first in range(0, len(frames), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        spectrum = rfft(frames[part] * cosine_window(FRAME, HANN), axis=1)
        magnitude = np.abs(spectrum.astype(np.complex64))
        np.square(magnitude, out=power[part])
        yield np.vstack([*_spread(magnitude), _rolloff(magnitude)])


def _mfccs(power: np.ndarray) -> np.ndarray:
    """Give the mel-frequency cepstral coefficients [shape=(MFCCS, frames)] of levels within 80 dB of the loudest."""
    from scipy.fft import dct

    # One product for all frames: in parts its float32 sums would be rounded otherwise.
    level = 10.0 * np.log10(np.maximum(1e-10, _mel_filters() @ power.T))
    return dct(np.maximum(level, level.max() - 80.0), axis=0, type=2, norm="ortho")[:MFCCS]


def _spread(magnitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the centre and the width of each spectrum [shape=(frames,)] in Hz; 0 of silence."""
    total = magnitude.astype(float).sum(axis=1, keepdims=True)
    total[total < np.finfo(np.float32).tiny] = 1.0
    share = (magnitude / total).astype(np.float32)
    centroid = (share * _hertz()).sum(axis=1)
    deviation = np.abs(np.subtract.outer(centroid, _hertz()))
    return centroid, np.sqrt((share * np.square(deviation)).sum(axis=1))


def _rolloff(magnitude: np.ndarray) -> np.ndarray:
    """Find the frequency [shape=(frames,)] in Hz under which 85% of the magnitude lie."""
    total = np.cumsum(magnitude, axis=1)
    return _hertz()[np.count_nonzero(total < 0.85 * total[:, -1:], axis=1)]


def _zero_crossings(samples: np.ndarray) -> np.ndarray:
    """Count changes of sign per sample [shape=(frames,)]; at most 1e-10 counts as 0, and 0 as positive."""
    padded = np.pad(samples, FRAME // 2, mode="edge")
    changes = np.diff(padded < -1e-10)
    before = np.concatenate([[0], np.cumsum(changes)])
    first = np.arange(0, len(padded) - FRAME + 1, HOP)
    return (before[first + FRAME - 1] - before[first]) / FRAME


def _pitch(padded: np.ndarray, loudness: np.ndarray) -> np.ndarray:
    """Read F0 in Hz from the frames loud enough to carry one; a single 0 where there is none."""
    if loudness.max() < 1e-6:
        return np.zeros(1)
    # Every second frame: YIN costs as much as everything else together, and a mean does not need all of them.
    step = 2
    level = loudness[::step]
    found = _yin(_framed(padded, step * HOP)[level >= VOICED_LEVEL * loudness.max()])
    found = found[np.isfinite(found)]
    return found if len(found) else np.zeros(1)


def _yin(frames: np.ndarray) -> np.ndarray:
    """Estimate F0 in Hz of frames [shape=(n, FRAME)] by YIN (de Cheveigne and Kawahara 2002), as ``librosa.yin`` does.

    The period is the first dip under `TROUGH` of the normalised difference function, or else its deepest point, refined
    by a parabola through it and its neighbours.
    """
    low, high = int(SAMPLE_RATE / F0_RANGE[1]), math.ceil(SAMPLE_RATE / F0_RANGE[0])
    difference = _normalised_difference(frames, low, high)
    dips = np.zeros(difference.shape, dtype=bool)
    left, middle, right = difference[:, :-2], difference[:, 1:-1], difference[:, 2:]
    dips[:, 0] = difference[:, 0] < difference[:, 1]
    dips[:, 1:-1] = (middle < left) & (middle <= right)
    dips[:, -1] = difference[:, -1] < difference[:, -2]
    dips &= difference < TROUGH
    at = np.where(dips.any(axis=1), dips.argmax(axis=1), difference.argmin(axis=1))
    inside = np.clip(at, 1, difference.shape[1] - 2)
    before, here, after = (np.take_along_axis(difference, (inside + k)[:, None], axis=1)[:, 0] for k in (-1, 0, 1))
    curvature, slope = after + before - 2 * here, (after - before) / 2
    refined = (inside == at) & (np.abs(slope) < np.abs(curvature))
    shift = np.divide(-slope, curvature, out=np.zeros_like(slope), where=refined)
    return SAMPLE_RATE / (low + at + shift)


def _normalised_difference(frames: np.ndarray, low: int, high: int) -> np.ndarray:
    """Give YIN's cumulative mean normalised difference [shape=(n, high - low + 1)] at periods of `low` to `high`."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(2 * FRAME - 1, real=True)
    spectrum = rfft(frames, n=size, axis=1)
    alike = irfft(np.square(spectrum.real) + np.square(spectrum.imag), n=size, axis=1)
    energy = np.cumsum(np.square(frames[:, :high]), axis=1)
    energy[:, 0] = 0.0  # librosa leaves the first sample's square out at the first period; kept, so that values agree
    difference = 2 * (alike[:, :1] - alike[:, 1 : high + 1]) - energy
    mean = np.cumsum(difference, axis=1) / np.arange(1, high + 1)
    return difference[:, low - 1 :] / (mean[:, low - 1 :] + np.finfo(float).tiny)


@lru_cache(maxsize=1)
def _hertz() -> np.ndarray:
    """Give the frequencies of a spectrum [shape=(FRAME // 2 + 1,)], the same for every clip."""
    return np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    """Make the mel filter bank [shape=(MEL_BANDS, FRAME // 2 + 1)], as ``librosa.filters.mel`` does: Slaney's (1998).

    Triangles of equal area whose corners lie evenly on a scale that is linear up to 1 kHz and logarithmic above.
    """
    linear, step = 15.0, np.log(6.4) / 27.0  # 66.7 Hz a mel up to 1 kHz, a factor of 6.4 in 27 mels from there
    top = linear + np.log(SAMPLE_RATE / 2 / 1000.0) / step
    mels = np.linspace(0.0, top, MEL_BANDS + 2)
    corners = np.where(mels < linear, 200.0 / 3 * mels, 1000.0 * np.exp(step * (mels - linear)))
    width = np.diff(corners)
    ramps = np.subtract.outer(corners, _hertz())
    rising, falling = -ramps[:-2] / width[:-1, None], ramps[2:] / width[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    filters *= (2.0 / (corners[2:] - corners[:-2]))[:, None]
    return filters
