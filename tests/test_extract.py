"""Many clips are measured on all cores, once, in order; every value is what measuring one clip alone gives."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from precompute import blind
from precompute.blind import ACOUSTIC, extract
from precompute.blind.acoustic import F0_RANGE, FRAME, HOP, MEL_BANDS, MFCCS, acoustic_features
from precompute.blind.extract import BATCH, feature_table, measure, measure_clips
from precompute.blind.recording import decode
from precompute.blind.windows import BLACKMAN_HARRIS, HANN, cosine_window
from precompute.clips import SAMPLE_RATE, Clip, InputError, content_hash, read_audio
from precompute.store import Store


def voice(seconds: float, rate: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    """Something like speech: a gliding tone with overtones, in syllables, over faint noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 60 * np.sin(1.3 * time + seed)) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 6)) * np.maximum(0, np.sin(7 * time))
    return (0.1 * tone[:, None] + 0.002 * rng.standard_normal((len(time), channels))).squeeze()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for index in range(2 * BATCH + 5):
        path = folder / f"{index}.wav"
        soundfile.write(path, voice(0.3 + 0.01 * index, 8000, index), 8000, subtype="PCM_16")
        found.append(Clip(f"clip-{index}", path, text=f"word {index}"))
    return found


def count_measured(monkeypatch) -> list[str]:
    """Names of the clips measured in this process from now on."""
    measured = []

    def noted(clip: Clip) -> extract.Measured:
        measured.append(clip.clip_id)
        return measure(clip)

    monkeypatch.setattr(extract, "measure", noted)
    return measured


FORMATS = [
    ("a.wav", 16_000, 1, "PCM_16"),
    ("a.wav", 8_000, 2, "PCM_24"),
    ("a.wav", 44_100, 2, "PCM_32"),
    ("a.wav", 22_050, 1, "FLOAT"),
    ("a.wav", 11_025, 1, "DOUBLE"),
    ("a.wav", 8_000, 1, "ULAW"),
    ("a.flac", 48_000, 2, "PCM_24"),
    ("a.ogg", 44_100, 2, "VORBIS"),
    ("a.mp3", 44_100, 2, None),
]


@pytest.mark.parametrize(("name", "rate", "channels", "subtype"), FORMATS)
def test_one_decoding_serves_the_model_and_the_fingerprint(tmp_path, name, rate, channels, subtype):
    path = tmp_path / name
    soundfile.write(path, voice(0.7, rate, channels=channels), rate, subtype=subtype)
    for clip in (Clip("whole", path), Clip("span", path, start=0.1, end=0.55)):
        heard = decode(clip).heard()
        assert heard.dtype == np.float32
        assert np.array_equal(heard, read_audio(clip))  # bit for bit: the hash of it names rows of the store
        assert measure(clip).features == blind.features(clip, read_audio(clip))


def test_samples_that_are_not_finite_are_heard_as_ever(tmp_path):
    samples = voice(0.3, 16_000)
    samples[[100, 2000]] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    clip = Clip("a", tmp_path / "a.wav")
    assert content_hash(decode(clip).heard()) == content_hash(read_audio(clip))


def separate_calls(samples: np.ndarray) -> dict[str, np.ndarray]:
    """Every frame-wise measure by a librosa call of its own, from the samples."""
    how = {"n_fft": FRAME, "hop_length": HOP}
    cepstra = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, n_mfcc=MFCCS, n_mels=MEL_BANDS, **how)
    return {
        **{f"mfcc_{index:02d}": row for index, row in enumerate(cepstra)},
        "centroid": librosa.feature.spectral_centroid(y=samples, sr=SAMPLE_RATE, **how),
        "bandwidth": librosa.feature.spectral_bandwidth(y=samples, sr=SAMPLE_RATE, **how),
        "rolloff": librosa.feature.spectral_rolloff(y=samples, sr=SAMPLE_RATE, **how),
        "rms": librosa.feature.rms(y=samples, frame_length=FRAME, hop_length=HOP),
        "zero_crossings": librosa.feature.zero_crossing_rate(samples, frame_length=FRAME, hop_length=HOP),
    }


SOUNDS = {
    "speech": voice(3.0, SAMPLE_RATE),
    "short": voice(0.07, SAMPLE_RATE),
    "silence": np.zeros(9_000),
    "offset": np.full(9_000, 0.25),
    "steps": np.repeat(np.random.default_rng(0).standard_normal(60) / 4, 300),
    "faint": 1e-8 * voice(1.0, SAMPLE_RATE),
}


@pytest.mark.parametrize("sound", SOUNDS)
def test_every_measure_equals_librosas_own_call(sound):
    samples = SOUNDS[sound].astype(np.float32)
    found = acoustic_features(samples)
    for name, series in separate_calls(samples).items():
        # float32 sums over the whole clip: the last digits depend on the order in which they are taken.
        wanted = {"mean": series.mean(), "sd": series.std(), "p50": np.median(series), "p90": np.percentile(series, 90)}
        for how, value in wanted.items():
            assert found[f"acoustic.{name}_{how}"] == pytest.approx(value, rel=1e-5, abs=2e-4), (name, how)


def test_pitch_is_librosas_yin_in_the_loud_frames():
    samples = voice(3.0, SAMPLE_RATE).astype(np.float32)
    how = {"sr": SAMPLE_RATE, "frame_length": FRAME, "hop_length": 2 * HOP}
    pitch = librosa.yin(samples, fmin=F0_RANGE[0], fmax=F0_RANGE[1], **how)
    level = librosa.feature.rms(y=samples, frame_length=FRAME, hop_length=2 * HOP)[0]
    voiced = pitch[level >= 0.1 * level.max()]
    assert len(voiced) < len(pitch)
    found = acoustic_features(samples)
    assert found["acoustic.f0_mean"] == pytest.approx(voiced.mean(), rel=1e-9)
    assert found["acoustic.f0_sd"] == pytest.approx(voiced.std(), rel=1e-9)


def test_windows_are_those_of_scipy():
    from scipy.signal import get_window

    for size in (16, 37, 1024):
        assert np.array_equal(cosine_window(size, HANN), get_window("hann", size))
        assert np.array_equal(cosine_window(size, BLACKMAN_HARRIS), get_window("blackmanharris", size))


def test_workers_give_what_one_process_gives_in_the_order_asked_for(clips, tmp_path):
    with Store(tmp_path / "one") as one, Store(tmp_path / "two") as two:
        alone, hashes = feature_table(clips, one, workers=1)
        side_by_side, same = feature_table(clips, two, workers=2)
    assert list(alone.index) == [clip.clip_id for clip in clips]
    assert list(alone) == list(blind.features(clips[0], read_audio(clips[0])))
    pd.testing.assert_frame_equal(alone, side_by_side, check_exact=True)
    assert hashes == same == {clip.clip_id: content_hash(read_audio(clip)) for clip in clips}
    assert not multiprocessing.active_children()


def test_what_the_store_holds_is_not_measured_again(clips, tmp_path, monkeypatch):
    measured = count_measured(monkeypatch)
    with Store(tmp_path) as store:
        first = feature_table(clips[: BATCH + 3], store, workers=1)[0]
        assert measured == list(first.index)
        measured.clear()
        second = feature_table(clips, store, workers=1)[0]
        assert set(measured) == {clip.clip_id for clip in clips[BATCH + 3 :]}
        pd.testing.assert_frame_equal(second.loc[first.index], first, check_exact=True)
        measured.clear()
        feature_table(clips, store, workers=1)
        assert not measured


def test_another_text_or_other_audio_is_another_row(clips, tmp_path, monkeypatch):
    measured = count_measured(monkeypatch)
    path = tmp_path / "a.wav"
    path.write_bytes(clips[0].path.read_bytes())
    with Store(tmp_path / "store") as store:
        for clip in (Clip("a", path, text="one"), Clip("a", path, text="two"), Clip("b", path, text="two")):
            list(measure_clips([clip], store))
        assert measured == ["a", "a"]  # the last is a copy of the second
        path.write_bytes(clips[1].path.read_bytes())
        list(measure_clips([Clip("a", path, text="two")], store))
        assert measured == ["a", "a", "a"]


class Watched:
    """Clips that note how far they were drawn."""

    def __init__(self, clips: list[Clip]) -> None:
        self.clips, self.drawn = clips, 0

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        for clip in self.clips:
            self.drawn += 1
            yield clip


def test_only_a_few_batches_are_drawn_ahead(clips, tmp_path):
    watched = Watched([Clip(f"{n}", clips[0].path) for n in range(20 * BATCH)])
    with Store(tmp_path) as store:
        stream = measure_clips(watched, store, workers=1)  # type: ignore[arg-type]
        next(stream)
        assert watched.drawn <= 2 * BATCH
        stream.close()
        assert len(store) == 1  # what was measured is kept: all clips of the batch have one audio and no text


def test_a_file_that_cannot_be_read_ends_the_work_with_a_sentence_and_keeps_the_rest(clips, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    with Store(tmp_path / "store") as store:
        with pytest.raises(InputError, match=r"broken\.wav: cannot be read"):
            feature_table([*clips[:BATCH], Clip("broken", broken)], store, workers=2)
        assert len(store) == BATCH
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_a_sentence(clips, tmp_path):
    many = [Clip(f"{n}", clips[0].path, text=f"{n}") for n in range(60 * BATCH)]
    with Store(tmp_path) as store:
        stream = measure_clips(many, store, workers=2)
        next(stream)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(InputError, match="stopped from outside"):
            list(stream)
        assert len(store) >= BATCH


INTERRUPTED = """
import sys
from pathlib import Path
from precompute.blind.extract import measure_clips
from precompute.clips import Clip
from precompute.store import Store
clips = [Clip(str(n), Path(sys.argv[1]), text=str(n)) for n in range(4000)]
with Store(sys.argv[2]) as store:
    try:
        for number, _ in enumerate(measure_clips(clips, store, workers=2)):
            if number == 40:
                print("measuring", flush=True)
    except KeyboardInterrupt:
        print("stopped")
        sys.exit(130)
"""


def test_ctrl_c_ends_quietly_and_keeps_what_was_measured(clips, tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, str(clips[0].path), str(tmp_path)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "measuring\n"
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process of the command
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "stopped\n", "")
    with Store(tmp_path) as store:
        assert 40 < len(store) < 4000


def test_acoustic_names_are_those_of_the_table(clips, tmp_path):
    with Store(tmp_path) as store:
        table = feature_table(clips[:3], store)[0]
    expected = {name: np.float32(value) for name, value in acoustic_features(read_audio(clips[1])).items()}
    assert table.loc["clip-1", list(ACOUSTIC)].to_dict() == expected
