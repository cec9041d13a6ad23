"""Acoustic blind features: frame-wise measures from one spectrogram, summed up per clip."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from precompute.clips import SAMPLE_RATE

FRAME = 1024
HOP = 256
MEL_BANDS = 64
MFCCS = 20
F0_RANGE = (65.0, 500.0)
"""Pitch range in Hz: speaking voices, and most of an instrument's notes."""

VOICED_LEVEL = 0.1
"""Pitch is read where a frame is at least this share of the loudest frame's RMS; elsewhere it would be noise."""

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
    import librosa

    magnitude = np.abs(librosa.stft(samples, n_fft=FRAME, hop_length=HOP))
    loudness = librosa.feature.rms(y=samples, frame_length=FRAME, hop_length=HOP)
    mel = librosa.power_to_db(_mel_filters() @ magnitude**2)
    centroid = librosa.feature.spectral_centroid(S=magnitude, sr=SAMPLE_RATE, n_fft=FRAME)
    frames = np.vstack(
        [
            librosa.feature.mfcc(S=mel, n_mfcc=MFCCS),
            centroid,
            librosa.feature.spectral_bandwidth(S=magnitude, sr=SAMPLE_RATE, n_fft=FRAME, centroid=centroid),
            librosa.feature.spectral_rolloff(S=magnitude, sr=SAMPLE_RATE, n_fft=FRAME),
            loudness,
            librosa.feature.zero_crossing_rate(samples, frame_length=FRAME, hop_length=HOP),
        ]
    )
    return frames.astype(float), _pitch(samples, loudness[0])


def _pitch(samples: np.ndarray, loudness: np.ndarray) -> np.ndarray:
    """Read F0 in Hz from the frames loud enough to carry one; a single 0 where there is none."""
    import librosa

    if loudness.max() < 1e-6:
        return np.zeros(1)
    # Every second frame: YIN costs as much as everything else together, and a mean does not need all of them.
    step = 2
    found = librosa.yin(
        samples, fmin=F0_RANGE[0], fmax=F0_RANGE[1], sr=SAMPLE_RATE, frame_length=FRAME, hop_length=step * HOP
    )
    level = loudness[::step][: len(found)]
    voiced = found[: len(level)][level >= VOICED_LEVEL * loudness.max()]
    voiced = voiced[np.isfinite(voiced)]
    return voiced if len(voiced) else np.zeros(1)


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    """Make the mel filter bank [shape=(MEL_BANDS, FRAME // 2 + 1)], the same for every clip."""
    import librosa

    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=FRAME, n_mels=MEL_BANDS)
