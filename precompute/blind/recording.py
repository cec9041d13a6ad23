"""A clip as its file stores it: decoded once, for what a target hears and for the traces of how it was made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precompute.clips import SAMPLE_RATE, Clip, InputError, resample

FULL_SCALE = 32_768
"""Steps of 16 bits per unit of amplitude; levels are counted in such steps, whatever the file's format."""

STORED_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ALAC_16": 16, "ALAC_24": 24}
"""Bits per sample of the formats that store whole numbers; others (float, lossy, companded) count as 0."""


@dataclass(frozen=True)
class Decoded:
    """Samples of a clip at the native rate, all channels.

    Parameters
    ----------
    samples : np.ndarray [shape=(n, channels)]
        Amplitudes as the decoder gives them, not finite ones included; n is at least 1.
    rate : int
        Hz.
    bits : int
        Of `STORED_BITS`.
    header_bytes : int
        Bytes of the file that are not samples; 0 where `bits` is.
    """

    samples: np.ndarray
    rate: int
    bits: int
    header_bytes: int

    def heard(self) -> np.ndarray:
        """Give what `precompute.clips.read_audio` gives, bit for bit: mono float32 at `SAMPLE_RATE`, shape (n,)."""
        # float64 holds every sample of a file exactly, so rounding it gives what decoding to float32 gives.
        with np.errstate(over="ignore"):
            mono = self.samples.astype(np.float32).mean(axis=1)
        return resample(mono, self.rate, SAMPLE_RATE)


@dataclass(frozen=True)
class Recording:
    """Samples of a clip as its file stores them.

    Parameters
    ----------
    steps : np.ndarray [shape=(n,)]
        First channel in 16-bit steps (full scale is 32,768), not rounded; n is at least 1.
    side : float
        RMS of the difference between the first two channels in steps; 0 for mono.
    rate : int
        Native sample rate in Hz.
    stored : np.ndarray [shape=(n,)]
        First channel in the steps of the file's own format.
    bits, channels, header_bytes : int
    """

    steps: np.ndarray
    side: float
    rate: int
    stored: np.ndarray
    bits: int
    channels: int
    header_bytes: int


def decode(clip: Clip) -> Decoded:
    """Read a clip's file, or its span of it.

    Parameters
    ----------
    clip : Clip

    Returns
    -------
    Decoded

    Raises
    ------
    InputError
        If the file is missing, cannot be decoded, or the span holds no sample.
    """
    import soundfile

    try:
        with soundfile.SoundFile(clip.path) as file:
            rate, bits, channels = file.samplerate, STORED_BITS.get(file.subtype, 0), file.channels
            first = round((clip.start or 0.0) * rate)
            last = file.frames if clip.end is None else min(file.frames, round(clip.end * rate))
            file.seek(min(first, file.frames))
            samples = file.read(max(0, last - first), dtype="float64", always_2d=True)
            data = file.frames * channels * bits // 8
        size = clip.path.stat().st_size
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{clip.path}: cannot be read as audio ({error})") from error
    if not len(samples):
        raise InputError(f"{clip.path}: holds no audio between {clip.start} and {clip.end} s")
    return Decoded(samples, rate, bits, max(0, size - data) if bits else 0)


def as_stored(decoded: Decoded) -> Recording:
    """Count the first channel in the steps of its format; what is not finite counts as 0."""
    samples = np.clip(np.nan_to_num(decoded.samples, posinf=0.0, neginf=0.0), -1e3, 1e3)
    channels = samples.shape[1]
    side = float(np.sqrt(np.mean((samples[:, 0] - samples[:, 1]) ** 2))) if channels > 1 else 0.0
    return Recording(
        steps=samples[:, 0] * FULL_SCALE,
        side=side * FULL_SCALE,
        rate=decoded.rate,
        stored=samples[:, 0] * 2.0 ** ((decoded.bits or 16) - 1),
        bits=decoded.bits,
        channels=channels,
        header_bytes=decoded.header_bytes,
    )
