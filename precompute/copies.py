"""Near copies: clips of the two classes that are one recording, re-encoded, resampled, louder or trimmed.

Candidates come from the fingerprint of Haitsma and Kalker (2002, ISMIR, "A highly robust audio fingerprinting system"):
the signs of the energy differences between neighbouring bands and frames, 32 bits a frame. Two clips that share most of
a frame's bits, and nearly share those around it, are then compared as waveforms, which settles it.

Measured on the embedded speech (2,673 clips of 0.2 to 86 s). False alarms: of its 3.6 million pairs 16 are flagged, and
each of them is one take, whole or spliced; of the others none correlates above 0.78. Found again, of 300 clips: all
after a resampling, 3 dB of gain, Vorbis or 100 ms cut from the end, over 99% after MP3 or Opus as libsndfile writes
them, 99% after 100 ms cut from the beginning (those missed are under 0.4 s long), 97% under noise 20 dB below, but 59%
after Opus at 8 kbit/s. A copy played faster, or at another pitch, is not recognised. Rendered notes that differ in
loudness only are copies by this measure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from precompute.clips import Clip, read_audio, resample

RATE = 8_000
"""Hz at which clips are compared: enough for what tells recordings apart, and all that a telephone leaves."""

FRAME, HOP = 2048, 128
EDGES = np.round(np.geomspace(200.0, 2000.0, 34) * FRAME / RATE).astype(int)
"""First FFT bins of 33 bands from 200 to 2,000 Hz, whose 32 differences are the bits, and the first above them."""

QUIET = 1e-4
"""Frames with under this share of the loudest frame's energy look nothing up: their bits are noise."""

COMMON = 100
"""Bits that so many frames share, such as those of a hum, look nothing up."""

LOOKED_UP = (np.uint32(0x00FFFFFF), np.uint32(0xFFFFFF00))
"""Parts of a frame's bits by which it is found: the lower and the upper three quarters of the bands."""

AROUND = 24
"""Frames on either side that are compared before a clip is a candidate."""

LARGEST_ERROR = 0.22
"""Share of differing bits in those frames up to which it is; unrelated frames differ in about half."""

COMPARED = 3
"""Candidates per clip that are compared as waveforms, the best first, until one is a copy."""

LEAST_OVERLAP = 0.5
"""Share of the shorter clip that has to lie within the other for a copy."""

LEAST_CORRELATION = 0.85


@dataclass(frozen=True)
class Fingerprint:
    """Bits of every frame of a clip.

    Parameters
    ----------
    bits : np.ndarray [shape=(n_frames,)], uint32
    loud : np.ndarray [shape=(n_frames,)], bool
        Where they are more than noise.
    """

    bits: np.ndarray
    loud: np.ndarray


@dataclass(frozen=True)
class Copy:
    """Two clips that hold one recording.

    Parameters
    ----------
    first, second : int
        Positions in the lists compared.
    correlation : float
        Of the waveforms where they overlap, sign left out, in [0, 1].
    offset : float
        Seconds into the first clip at which the second begins; below 0 where it begins earlier.
    overlap : float
        Seconds that both hold.
    """

    first: int
    second: int
    correlation: float
    offset: float
    overlap: float


def fingerprint(samples: np.ndarray, rate: int) -> Fingerprint:
    """Take the fingerprint of a clip.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono float32.
    rate : int
        In Hz.

    Returns
    -------
    Fingerprint
        A frame every 16 ms, of 256 ms; a shorter clip is padded with zeros.
    """
    from scipy.fft import rfft

    heard = resample(samples, rate, RATE)
    heard = np.pad(heard, (0, max(0, FRAME + HOP - len(heard))))
    frames = np.lib.stride_tricks.sliding_window_view(heard, FRAME)[::HOP]
    spectra = rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)
    energy = np.add.reduceat(spectra.real**2 + spectra.imag**2, EDGES, axis=1)[:, :-1]
    # Digital silence has no logarithm; a floor far below any recording gives it bits of 0, which are looked up nowhere.
    between_bands = np.diff(np.log(energy + 1e-10), axis=1)
    rising = np.diff(between_bands, axis=0) > 0
    bits = np.packbits(rising, axis=1).view(np.uint32)[:, 0]
    total = energy[1:].sum(axis=1)
    return Fingerprint(bits, (total > QUIET * total.max()) & (bits != 0))


class Index:
    """Frames of many clips by parts of their bits.

    Parameters
    ----------
    clips : sequence of Fingerprint
        Called by their position from here on.
    """

    def __init__(self, clips: Sequence[Fingerprint]) -> None:
        lengths = [len(clip.bits) for clip in clips]
        self.ends = np.cumsum([0, *lengths])
        self.owner = np.repeat(np.arange(len(clips), dtype=np.int32), lengths)
        self.bits = np.concatenate([np.zeros(0, dtype=np.uint32), *(clip.bits for clip in clips)])
        loud = np.flatnonzero(np.concatenate([np.zeros(0, dtype=bool), *(clip.loud for clip in clips)]))
        self.parts = []
        for mask in LOOKED_UP:
            keys = self.bits[loud] & mask
            order = np.argsort(keys, kind="stable")
            self.parts.append((mask, keys[order], loud[order]))

    def alike(self, clip: Fingerprint) -> list[int]:
        """Find clips that share a part of a loud frame's bits with this one, and nearly share those around it.

        Parameters
        ----------
        clip : Fingerprint

        Returns
        -------
        list of int
            At most `COMPARED`, the most alike first.
        """
        loud = np.flatnonzero(clip.loud)
        found: dict[int, float] = {}
        for mask, keys, places in self.parts:
            wanted = clip.bits[loud] & mask
            low = np.searchsorted(keys, wanted, side="left")
            count = np.searchsorted(keys, wanted, side="right") - low
            count[count > COMMON] = 0
            here = np.repeat(loud, count)
            there = places[np.repeat(low - np.cumsum(count) + count, count) + np.arange(count.sum())]
            error = self._error_around(clip, here, there)
            for match in np.flatnonzero(error <= LARGEST_ERROR):
                owner = int(self.owner[there[match]])
                found[owner] = min(found.get(owner, 1.0), float(error[match]))
        return sorted(found, key=found.__getitem__)[:COMPARED]

    def _error_around(self, clip: Fingerprint, here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Share of bits that differ in the frames around each match that both clips have."""
        steps = np.arange(-AROUND, AROUND + 1)
        ours, theirs = here[:, None] + steps, there[:, None] + steps
        owner = self.owner[there]
        both = (ours >= 0) & (ours < len(clip.bits))
        both &= (theirs >= self.ends[owner][:, None]) & (theirs < self.ends[owner + 1][:, None])
        differ = np.bitwise_count(clip.bits[np.where(both, ours, 0)] ^ self.bits[np.where(both, theirs, 0)])
        return (differ * both).sum(axis=1) / (32.0 * both.sum(axis=1))


def compare(first: np.ndarray, second: np.ndarray) -> tuple[float, int, int]:
    """Correlate two waveforms at the lag at which they agree best.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n,)], [shape=(m,)]
        At one rate.

    Returns
    -------
    tuple of (float, int, int)
        Correlation without its sign over what overlaps (in [0, 1]), the lag of the second behind the first's beginning,
        and the samples that overlap. Overlaps under `LEAST_OVERLAP` of the shorter, or with hardly any of a clip's
        energy, do not count.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    first, second = (np.asarray(samples, dtype=np.float32) for samples in (first, second))
    n, m = len(first), len(second)
    size = next_fast_len(n + m - 1, real=True)
    products = irfft(rfft(first, size) * np.conj(rfft(second, size)), size)
    lags = np.arange(1 - m, n)
    energies = [np.concatenate([[0.0], np.cumsum(samples.astype(float) ** 2)]) for samples in (first, second)]
    begin, end = np.clip(lags, 0, n), np.clip(lags + m, 0, n)
    shared = [
        energies[0][end] - energies[0][begin],
        energies[1][end - lags] - energies[1][begin - lags],
    ]
    counted = end - begin >= LEAST_OVERLAP * min(n, m)
    for part, energy in zip(shared, energies, strict=True):
        counted &= part > 1e-3 * energy[-1]
    norm = np.sqrt(np.where(counted, shared[0] * shared[1], 1.0))
    correlation = np.where(counted, np.abs(products[lags]) / norm, 0.0)
    best = int(correlation.argmax())
    return min(float(correlation[best]), 1.0), int(lags[best]), int(end[best] - begin[best])


def near_copies(
    first: Sequence[Clip], second: Sequence[Clip], prints: tuple[Sequence[Fingerprint], Sequence[Fingerprint]]
) -> Iterator[Copy]:
    """Find clips of the second list that hold a recording of the first; only candidates are read again.

    Parameters
    ----------
    first, second : sequence of Clip
    prints : tuple of two sequences of Fingerprint
        Of the clips, in the same order.

    Yields
    ------
    Copy
        At most one for each of `second`, in its order.
    """
    index = Index(prints[0])
    read = lru_cache(maxsize=64)(lambda clip: read_audio(clip, RATE))

    def copy_of(position: int) -> Copy | None:
        for other in index.alike(prints[1][position]):
            correlation, lag, overlap = compare(read(first[other]), read(second[position]))
            if correlation >= LEAST_CORRELATION:
                return Copy(other, position, correlation, lag / RATE, overlap / RATE)
        return None

    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="copies") as pool:
        yield from (copy for copy in pool.map(copy_of, range(len(second))) if copy is not None)
