"""Planted edits: real speech in which one class was changed in exactly one way, to show what the blind side can see.

Both classes are decoded, and written again the same way (PCM_16, native rate, rounded, no dither); the members pass
through one edit in between. Clips and labels are drawn at random, so that nothing else tells the classes apart.

Run ``python -m precompute.blind.planted`` for the table of all edits.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from precompute.attack import apply_folds, assign_folds, fit_folds
from precompute.blind.acoustic import ACOUSTIC, acoustic_features
from precompute.blind.fingerprint import FINGERPRINT, FULL_SCALE, fingerprint_features
from precompute.blind.metadata import METADATA, metadata_features
from precompute.blind.trees import trees_fold
from precompute.clips import Clip, read_audio
from precompute.corpora.core_sounds import TRAINED_LANGUAGES, distinct
from precompute.statistics.delong import delong, interval

CLIPS = 600
FAMILIES = ("metadata", "acoustic", "fingerprint", "boosted")

REFITTING = 1.4
"""Deviation of a trained score's AUC over DeLong's standard error, where labels mean nothing: 0.0325 against 0.0236 for
the fingerprint over 40 random labellings of 600 clips (mean AUC 0.500)."""


@dataclass(frozen=True)
class Edit:
    """One way in which the members differ.

    Parameters
    ----------
    words : str
        What was done, for the table.
    apply : callable
        ``apply(samples [shape=(n,)], rate, rng)`` gives the edited samples, amplitudes in [-1, 1].
    """

    words: str
    apply: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def gain(decibel: float) -> Callable[[np.ndarray, int, np.random.Generator], np.ndarray]:
    """Make an edit that changes the level."""
    return lambda samples, rate, rng: samples * 10 ** (decibel / 20)


def butterworth(order: int, hertz: float, kind: str) -> Callable[[np.ndarray, int, np.random.Generator], np.ndarray]:
    """Make an edit that filters with a Butterworth ``lowpass`` or ``highpass``."""

    def apply(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        from scipy.signal import butter, sosfilt

        return sosfilt(butter(order, hertz, kind, fs=rate, output="sos"), samples)

    return apply


def slope(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Filter with ``y[t] = x[t] - 0.07 x[t-1]``: -0.6 dB at the bottom, +0.6 dB at the top of the band."""
    return samples - 0.07 * np.concatenate([[0.0], samples[:-1]])


def slope_linear_phase(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Tilt without phase: +0.6 dB at the bottom, -0.6 dB at the top, straight in dB over Hz."""
    size = 2 * len(samples)
    decibel = np.linspace(0.6, -0.6, size // 2 + 1)
    return np.fft.irfft(np.fft.rfft(samples, size) * 10 ** (decibel / 20), size)[: len(samples)]


def noise(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Add white noise 35 dB under the clip's own level."""
    return samples + rng.standard_normal(len(samples)) * np.sqrt(np.mean(samples**2)) * 10 ** (-35 / 20)


def codec(container: str, subtype: str) -> Callable[[np.ndarray, int, np.random.Generator], np.ndarray]:
    """Make an edit that encodes and decodes with libsndfile's own settings, and keeps the length."""

    def apply(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, samples, rate, format=container, subtype=subtype)
        file.seek(0)
        decoded = soundfile.read(file, dtype="float64")[0][: len(samples)]
        return np.pad(decoded, (0, len(samples) - len(decoded)))

    return apply


def tail(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Append 150 ms of noise with spectrum and level of the quietest 25 ms of the recording's own last 200 ms.

    Noise convolved with a piece of sound has that piece's spectrum; 5 ms are faded across, so that there is no seam.
    """
    from scipy.signal import fftconvolve

    size, cross = round(0.025 * rate), round(0.005 * rate)
    end = samples[-round(0.2 * rate) :]
    pieces = [end[i : i + size] for i in range(0, max(1, len(end) - size + 1), size // 5)]
    quiet = min(pieces, key=lambda piece: float(np.mean(piece**2)))
    length = round(0.15 * rate) + cross
    added = fftconvolve(rng.standard_normal(length + len(quiet)), quiet)[len(quiet) :][:length] / np.sqrt(len(quiet))
    fade = np.linspace(0, 1, cross)
    seam = samples[-cross:] * (1 - fade) + added[:cross] * fade
    return np.concatenate([samples[:-cross], seam, added[cross:]])


def zeros_after(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Append 150 ms of digital silence."""
    return np.concatenate([samples, np.zeros(round(0.15 * rate))])


def fade_in(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Raise the level in a straight line over the first 50 ms."""
    ramp = np.ones(len(samples))
    length = min(round(0.05 * rate), len(samples))
    ramp[:length] = np.arange(length) / length
    return samples * ramp


def through(rate_between: int) -> Callable[[np.ndarray, int, np.random.Generator], np.ndarray]:
    """Make an edit that resamples to another rate and back."""

    def apply(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        import soxr

        back = soxr.resample(soxr.resample(samples, rate, rate_between), rate_between, rate)[: len(samples)]
        return np.pad(back, (0, len(samples) - len(back)))

    return apply


def faster(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Play 1% faster, pitch included."""
    import soxr

    return soxr.resample(samples, 1.01 * rate, rate)


def stretched(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Make 1% shorter at the same pitch, by a phase vocoder."""
    import librosa

    return librosa.effects.time_stretch(samples, rate=1.01, n_fft=512)


def dithered(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Add triangular dither of one 16-bit step to each side."""
    return samples + (rng.random(len(samples)) - rng.random(len(samples))) / FULL_SCALE


def peak_normalised(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Scale so that the peak is -0.5 dBFS."""
    return samples * 10 ** (-0.5 / 20) / max(np.abs(samples).max(), 1 / FULL_SCALE)


def twelve_bits(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Round to 12 bits."""
    return np.rint(samples * 2048) / 2048


def trimmed(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Cut the first millisecond."""
    return samples[round(0.001 * rate) :]


EDITS: dict[str, Edit] = {
    "nothing": Edit("nothing", lambda samples, rate, rng: samples),
    "gain": Edit("+1 dB gain", gain(1.0)),
    "lowpass": Edit("3 kHz low-pass (8th order)", butterworth(8, 3000, "lowpass")),
    "tilt": Edit("faint spectral tilt (1.2 dB over the band, one-tap filter)", slope),
    "noise": Edit("noise 35 dB under the clip's level", noise),
    "vorbis": Edit("Vorbis round trip", codec("OGG", "VORBIS")),
    "tail": Edit("150 ms more tail, noise like the recording's own end", tail),
    "fade_in": Edit("50 ms fade-in", fade_in),
    "tilt_linear_phase": Edit("faint spectral tilt (1.2 dB over the band, linear phase)", slope_linear_phase),
    "tail_zeros": Edit("150 ms more tail, digital silence", zeros_after),
    "mp3": Edit("MP3 round trip", codec("MP3", "MPEG_LAYER_III")),
    "opus": Edit("Opus round trip", codec("OGG", "OPUS")),
    "resampled": Edit("resampled to 16 kHz and back", through(16_000)),
    "offset": Edit("constant offset of 0.001", lambda samples, rate, rng: samples + 1e-3),
    "highpass": Edit("60 Hz high-pass (2nd order)", butterworth(2, 60, "highpass")),
    "twelve_bits": Edit("rounded to 12 bits", twelve_bits),
    "normalised": Edit("peak normalised to -0.5 dBFS", peak_normalised),
    "attenuated": Edit("-0.3 dB gain", gain(-0.3)),
    "dither": Edit("triangular dither of one step", dithered),
    "faster": Edit("played 1% faster", faster),
    "stretched": Edit("1% shorter, same pitch", stretched),
    "inverted": Edit("polarity inverted", lambda samples, rate, rng: -samples),
    "trimmed": Edit("first millisecond cut", trimmed),
}
"""By short name; the first seven after ``nothing`` are those that published blind baselines were measured on."""


def planted_clips(edit: Edit, clips: Iterable[Clip], folder: Path, seed: int = 0) -> list[Clip]:
    """Write edited copies of clips.

    Parameters
    ----------
    edit : Edit
    clips : iterable of Clip
        Mono files; read at their native rate.
    folder : Path
        Where the copies go, one 16-bit WAV each, rounded without dither.
    seed : int
        Of what the edit draws, with the position of the clip.

    Returns
    -------
    list of Clip
        With the same ids and texts.
    """
    import soundfile

    copies = []
    for position, clip in enumerate(clips):
        rate = soundfile.info(clip.path).samplerate
        samples = read_audio(clip, rate).astype(float)
        edited = edit.apply(samples, rate, np.random.default_rng([seed, position]))
        steps = np.clip(np.rint(edited * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        path = folder / f"{position}.wav"
        soundfile.write(path, steps, rate, subtype="PCM_16")
        copies.append(replace(clip, path=path, start=None, end=None))
    return copies


def draw(n_clips: int = CLIPS, seed: int = 0) -> tuple[list[Clip], np.ndarray]:
    """Draw distinct clips of the embedded speech and give labels to a random half.

    Parameters
    ----------
    n_clips : int
        Of the 1,892 clips in English, Spanish, French and Italian, at most all.
    seed : int

    Returns
    -------
    tuple of (list of Clip, np.ndarray [shape=(n_clips,)])
        Clips, and 1 for the half that is edited, else 0.
    """
    items = distinct(TRAINED_LANGUAGES)
    rng = np.random.default_rng(seed)
    clips = [items[i].clip for i in rng.choice(len(items), min(n_clips, len(items)), replace=False)]
    labels = np.zeros(len(clips), dtype=int)
    labels[rng.permutation(len(clips))[: len(clips) // 2]] = 1
    return clips, labels


def measure(clips: Iterable[Clip], families: Iterable[str] = ("metadata", "acoustic", "fingerprint")) -> pd.DataFrame:
    """Blind features of clips without their transcripts' words, one row per clip."""
    families = tuple(families)
    rows = []
    for clip in clips:
        row = fingerprint_features(clip) if "fingerprint" in families else {}
        if "metadata" in families or "acoustic" in families:
            samples = read_audio(clip)
            row |= metadata_features(clip, samples) if "metadata" in families else {}
            row |= acoustic_features(samples) if "acoustic" in families else {}
        rows.append(row)
    return pd.DataFrame(rows)


def family_scores(table: pd.DataFrame, labels: np.ndarray, folds: np.ndarray, family: str) -> np.ndarray:
    """Out-of-fold logits of one family: logistic regression for ``metadata`` and ``acoustic``, else boosted trees."""
    columns = {"metadata": METADATA, "acoustic": ACOUSTIC, "fingerprint": FINGERPRINT}
    values = table[list(columns.get(family, (*METADATA, *ACOUSTIC, *FINGERPRINT)))].to_numpy(float)
    if family in ("metadata", "acoustic"):
        return apply_folds(fit_folds(values, labels, folds), values, folds)
    logits = np.empty(len(labels))
    for fold in np.unique(folds):
        training, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        logits[held] = trees_fold(values.T, labels, training, held)
    return logits


def study(
    edits: Iterable[str] = tuple(EDITS),
    n_clips: int = CLIPS,
    seed: int = 0,
    families: tuple[str, ...] = FAMILIES,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> list[dict[str, Any]]:
    """Plant one edit at a time and see which blind family notices.

    Parameters
    ----------
    edits : iterable of str
        Keys of `EDITS`.
    n_clips, seed : int
        See `draw`; the same clips and labels serve every edit.
    families : tuple of str
        Of `FAMILIES`.
    report : callable
        Called with each row as it is found.

    Returns
    -------
    list of dict
        `edit, words, n_member, n_non_member` and per family ``{family}_auc, {family}_low, {family}_high``: the
        out-of-fold AUC (10 folds) with its 95% interval, DeLong's widened by `REFITTING`.
    """
    clips, labels = draw(n_clips, seed)
    folds = assign_folds([clip.clip_id for clip in clips], labels)
    wanted = [name for name in FAMILIES[:3] if name in families or "boosted" in families]
    members = [clip for clip, label in zip(clips, labels, strict=True) if label]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        untouched = measure(planted_clips(EDITS["nothing"], clips, folder, seed), wanted)
        for key in edits:
            table = untouched.copy()
            if key != "nothing":
                edited = measure(planted_clips(EDITS[key], members, folder, seed), wanted)
                table.loc[labels == 1] = edited.to_numpy()
            row: dict[str, Any] = {"edit": key, "words": EDITS[key].words}
            row |= {"n_member": int(labels.sum()), "n_non_member": int((labels == 0).sum())}
            for family in families:
                found = delong(labels, family_scores(table, labels, folds, family))
                low, high = interval(found.auc, found.se, found.n_member, found.n_non_member, REFITTING)
                row |= {f"{family}_auc": found.auc, f"{family}_low": low, f"{family}_high": high}
            report(row)
            rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Print the table of edits, and write it as JSON where asked."""
    about = "Plant one edit at a time in half of the clips and see which blind family notices."
    parser = argparse.ArgumentParser(prog="python -m precompute.blind.planted", description=about)
    parser.add_argument("--edits", nargs="+", choices=list(EDITS), default=list(EDITS), metavar="EDIT")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    given = parser.parse_args(arguments)
    print(f"{'members only':60s}" + "".join(f"{family:>20s}" for family in FAMILIES), flush=True)

    def line(row: dict[str, Any]) -> None:
        cells = (f"{row[f'{f}_auc']:.3f} ({row[f'{f}_low']:.2f}-{row[f'{f}_high']:.2f})" for f in FAMILIES)
        print(f"{row['words']:60s}" + "".join(f"{cell:>20s}" for cell in cells), flush=True)

    rows = study(given.edits, given.clips, given.seed, report=line)
    if given.json:
        given.json.write_text(json.dumps({"clips": given.clips, "seed": given.seed, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
