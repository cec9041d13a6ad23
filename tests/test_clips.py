"""Reading audio and naming it by content."""

import numpy as np
import pytest
import soundfile

from precompute.clips import Clip, Cohort, InputError, content_hash, fixed, read_audio, resample, sound_id


@pytest.fixture
def tone(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000), 8000)
    return path


def test_an_8_khz_clip_is_heard_at_16_khz_with_its_pitch_kept(tone):
    samples = read_audio(Clip("a", tone))
    assert samples.dtype == np.float32
    assert len(samples) == 16000
    assert np.abs(np.fft.rfft(samples)).argmax() == 440  # 1 s: one bin a hertz


def test_a_span_is_cut_out_in_seconds(tone):
    whole, part = read_audio(Clip("a", tone), 8000), read_audio(Clip("a", tone, start=0.25, end=0.5), 8000)
    np.testing.assert_array_equal(part, whole[2000:4000])


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1), 16000)
    np.testing.assert_allclose(read_audio(Clip("a", path)), 0.125, atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"RIFF no audio here"])
def test_a_file_that_is_no_audio_is_named_in_one_sentence(tmp_path, content):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.wav: cannot be read as audio"):
        read_audio(Clip("a", path))


def test_a_missing_file_is_named_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read as audio"):
        read_audio(Clip("a", tmp_path / "none.wav"))


def test_a_span_behind_the_end_holds_no_audio(tone):
    with pytest.raises(InputError, match="holds no audio"):
        read_audio(Clip("a", tone, start=5.0))


def test_the_content_hash_tells_length_of_silence_apart_and_nothing_else():
    assert content_hash(np.zeros(10)) == content_hash(np.zeros(10, dtype=np.float32))
    assert content_hash(np.zeros(10)) != content_hash(np.zeros(11))


def test_audio_made_fixed_keeps_its_samples_cannot_change_and_is_known_by_identity():
    samples = np.arange(6, dtype=np.float32)
    one, part, other = fixed(samples), fixed(samples[::2]), fixed(samples.copy())
    assert one is samples and part.tolist() == [0, 2, 4]
    with pytest.raises(ValueError, match="read-only"):
        one[0] = 1
    assert sound_id(one) == sound_id(one) != sound_id(other)
    assert sound_id(np.zeros(3)) == sound_id(np.zeros(3)) == content_hash(np.zeros(3))


def test_a_view_on_what_may_change_is_known_by_content():
    samples = np.zeros(4, dtype=np.float32)
    view = samples[:]
    view.flags.writeable = False
    before = sound_id(view)
    samples[0] = 1
    assert sound_id(view) != before


def test_a_cohort_refuses_repeated_ids_and_columns_of_unequal_length(tone):
    clip = Clip("a", tone)
    with pytest.raises(InputError, match="share one clip_id"):
        Cohort("x", (clip, clip), (0, 1))
    with pytest.raises(InputError, match="1 clips but 2 labels"):
        Cohort("x", (clip,), (0, 1))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("length", [1001, 7999])
def test_resampling_is_librosas_to_the_bit(rate, length):
    import librosa

    samples = np.random.default_rng(0).standard_normal(length).astype(np.float32)
    wanted = librosa.resample(samples, orig_sr=rate, target_sr=16000, res_type="soxr_hq")
    np.testing.assert_array_equal(resample(samples, rate, 16000), wanted)
