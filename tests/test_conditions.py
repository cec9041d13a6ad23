"""Conditions: what is swapped in is what it claims to be, the same every time, and nothing of the clip leaks."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precompute.clips import SAMPLE_RATE, Clip, InputError
from precompute.conditions import CONDITIONS, FIXED_RMS, Rendering, gaussian, recipe, render, render_many
from precompute.conditions.voices import Voice, reference_voices, speak, versions
from precompute.conditions.voices.programs import ProgramMissing, find_program

CLIP = Clip("list/a", Path("a.wav"), text="Please enter your password.", language="en")
TONE = (0.1 * np.sin(2 * np.pi * 220 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)


def rms(samples):
    return float(np.sqrt(np.mean(np.asarray(samples, dtype=float) ** 2)))


def median_pitch(samples):
    """Median over loud frames of the autocorrelation's highest peak between 60 and 400 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(float), 1024)[::512]
    loud = frames[np.mean(frames**2, axis=1) > 0.3 * np.mean(frames**2)]
    spectra = np.abs(np.fft.rfft(loud - loud.mean(axis=1, keepdims=True), 2048)) ** 2
    lags = np.arange(SAMPLE_RATE // 400, SAMPLE_RATE // 60)
    return float(np.median(SAMPLE_RATE / lags[np.argmax(np.fft.irfft(spectra)[:, lags], axis=1)]))


def test_the_conditions_are_those_of_the_method_and_resynthesis_alone_is_repeated():
    assert list(CONDITIONS) == ["original", "silence", "silence_fixed", "noise", "noise_fixed", "resynthesis"]
    assert {name: c.realizations for name, c in CONDITIONS.items() if c.realizations != 1} == {"resynthesis": 3}


def test_original_is_the_clip_unchanged():
    np.testing.assert_array_equal(render("original", CLIP, TONE), TONE)


def test_silence_is_zeros_of_the_clips_length_and_silence_fixed_of_one_length():
    np.testing.assert_array_equal(render("silence", CLIP, TONE), np.zeros(SAMPLE_RATE, np.float32))
    for samples in (TONE, TONE[:100]):
        np.testing.assert_array_equal(render("silence_fixed", CLIP, samples, fixed_seconds=2.0), np.zeros(32_000))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 5000), level=st.floats(1e-3, 0.5), seed=st.integers(0, 2**40))
def test_noise_keeps_length_and_level_of_any_clip(n, level, seed):
    samples = np.full(n, level, dtype=np.float32)
    noise = render("noise", CLIP, samples, seed=seed)
    assert noise.shape == (n,) and noise.dtype == np.float32
    assert rms(noise) == pytest.approx(rms(samples), rel=1e-4)


def test_noise_of_a_silent_clip_is_silent():
    assert not render("noise", CLIP, np.zeros(50)).any()


def test_noise_fixed_has_one_length_and_one_level_whatever_the_clip():
    for samples in (TONE, 3 * TONE[:7]):
        noise = render("noise_fixed", CLIP, samples, fixed_seconds=1.5)
        assert len(noise) == 24_000
        assert rms(noise) == pytest.approx(FIXED_RMS, rel=1e-4)


def test_noise_is_white_and_gaussian():
    noise = gaussian(200_000, 1.0, "x").astype(float)
    power = np.abs(np.fft.rfft(noise)) ** 2
    halves = power[1:50_001].mean() / power[50_001:].mean()
    assert halves == pytest.approx(1, abs=0.02)
    assert np.mean(noise**4) == pytest.approx(3, abs=0.06)


def test_noise_repeats_for_the_same_clip_and_seed_and_differs_for_any_other():
    again = render("noise", CLIP, TONE, seed=np.int64(5))
    np.testing.assert_array_equal(render("noise", CLIP, TONE, seed=5), again)
    others = [render("noise", CLIP, TONE, seed=6), render("noise", Clip("list/b", Path("b.wav")), TONE, seed=5)]
    for other in others:
        assert abs(np.corrcoef(again, other)[0, 1]) < 0.05


@pytest.mark.parametrize("language", ["en", "fr", "es", "it", "ru"])
def test_every_language_of_the_embedded_speech_has_three_different_voices_that_speak(language):
    voices = reference_voices(language)
    assert len(set(voices)) == 3
    spoken = [speak("Radio, telefon.", voice) for voice in voices]
    for samples in spoken:
        assert samples.dtype == np.float32 and samples.ndim == 1
        assert 0.3 < len(samples) / SAMPLE_RATE < 5 and rms(samples) > 0.01
    pitches = sorted(median_pitch(samples) for samples in spoken)
    assert pitches[2] / pitches[0] > 1.4


def test_resynthesis_gives_the_same_samples_every_time_and_another_voice_per_realization():
    first, again, other = (render("resynthesis", CLIP, TONE, k) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_resynthesis_speaks_the_text_it_is_given_before_the_clips_own():
    given_text = render("resynthesis", CLIP, TONE, text="Goodbye.")
    np.testing.assert_array_equal(given_text, speak("Goodbye.", Voice("flite", "slt")))


def test_an_unknown_language_is_spoken_by_espeak_in_its_default_language():
    for language in (None, "zz", "", "-x"):
        assert [str(voice) for voice in reference_voices(language)] == [
            "espeak-ng en+f2 -p 55",
            "espeak-ng en+m3 -p 30",
            "espeak-ng en+Andrea",
        ]


def test_other_languages_of_espeak_and_regional_codes_are_understood():
    assert reference_voices("de")[0].name == "de+f2"
    assert reference_voices("fr-CA") == reference_voices("FR") == reference_voices("fr_BE") == reference_voices("fr")


@pytest.mark.parametrize("text", ["-v quiet", "[[ 'x ]] <b>&", "line one\nline two", "«né à l'école» 北京"])
def test_text_is_spoken_as_text_whatever_it_looks_like(text):
    for voice in (Voice("espeak-ng", "fr"), Voice("flite", "awb")):
        assert len(speak(text, voice)) > 1000


def test_a_clip_without_text_cannot_be_resynthesised():
    for text in (None, " "):
        with pytest.raises(InputError, match="list/b: has no text"):
            render("resynthesis", Clip("list/b", Path("b.wav"), text=text), TONE)


def test_unknown_conditions_realizations_and_lengths_are_refused_in_words():
    with pytest.raises(InputError, match="no condition 'echo'; there are original, silence"):
        render("echo", CLIP, TONE)
    with pytest.raises(InputError, match="resynthesis has 3"):
        render("resynthesis", CLIP, TONE, 3)
    with pytest.raises(InputError, match="positive number of seconds"):
        render("silence_fixed", CLIP, TONE, fixed_seconds=float("nan"))


def test_a_missing_synthesizer_is_named_with_its_debian_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CORE_SOUNDS", str(tmp_path))
    for voice, package in ((Voice("flite", "slt"), "flite"), (Voice("espeak-ng", "fr"), "espeak-ng")):
        with pytest.raises(InputError, match=f"install the Debian package {package}$"):
            speak("hello", voice)
    with pytest.raises(ProgramMissing):
        list(render_many([Rendering("resynthesis", CLIP, TONE)]))


def test_a_program_unpacked_without_root_is_found_with_its_libraries_and_data(monkeypatch, tmp_path):
    for name in ("bin/espeak-ng", "lib/x/libsonic.so.0", "lib/x/deep/libp.so.1", "lib/x/espeak-ng-data/phondata"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CORE_SOUNDS", str(tmp_path))
    program, environment = find_program("espeak-ng", "espeak-ng")
    assert program == str(tmp_path / "bin/espeak-ng")
    assert environment["LD_LIBRARY_PATH"].split(":") == [str(tmp_path / "lib/x"), str(tmp_path / "lib/x/deep")]
    assert environment["ESPEAK_DATA_PATH"] == str(tmp_path / "lib/x")


def test_an_engine_that_fails_says_why():
    with pytest.raises(InputError, match="could not speak 'hello': Error: The specified espeak-ng voice"):
        speak("hello", Voice("espeak-ng", "nosuchvoice"))
    with pytest.raises(InputError, match="wrote no audio"):
        speak("", Voice("espeak-ng", "fr"))


def test_many_renderings_come_in_order_and_one_bad_clip_does_not_end_them():
    mute = Clip("list/mute", Path("m.wav"))
    jobs = [Rendering("resynthesis", clip, TONE, k) for clip in (CLIP, mute, CLIP) for k in range(3)]
    results = list(render_many(iter(jobs), workers=3))
    assert len(results) == 9
    for k in range(3):
        np.testing.assert_array_equal(results[k], render("resynthesis", CLIP, TONE, k))
        np.testing.assert_array_equal(results[k], results[6 + k])
        assert isinstance(results[3 + k], InputError)


def test_many_renderings_draw_their_jobs_only_a_little_ahead():
    drawn = []

    def jobs():
        for k in range(1000):
            drawn.append(k)
            yield Rendering("silence", CLIP, TONE[:10])

    results = render_many(jobs(), workers=2)
    next(results)
    assert len(drawn) <= 8
    results.close()


def test_a_recipe_names_all_that_determines_a_resynthesis_and_nothing_for_the_rest():
    assert recipe("noise", CLIP) == {}
    assert recipe("resynthesis", CLIP, 2) == {
        "text": CLIP.text,
        "voice": "flite awb",
        "engine": versions()["flite"],
    }
    assert recipe("resynthesis", CLIP, 2, text="Other.")["text"] == "Other."


def test_importing_the_conditions_loads_no_heavy_library():
    heavy = "{'torch', 'transformers', 'librosa', 'sklearn', 'scipy', 'pandas', 'soundfile'}"
    code = f"import sys, precompute.conditions; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
