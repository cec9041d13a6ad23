"""Engines in environments of their own: our workers, in real processes, with packages of the real ones' signatures."""

import sys

import numpy as np
import pytest
from fake_voices import HUB, NEW, OLD, TANGOFLUX, TORCH, described, python_with, recording, write_packages

from precompute.clips import Clip, InputError
from precompute.conditions import Rendering, render_many
from precompute.conditions.casting import Casting, parse_casting
from precompute.conditions.voices import EngineFailed, Studio, Voice
from precompute.conditions.voices.processes import Worker

SILENT = np.zeros(10, dtype=np.float32)


FLUX = {"tangoflux/__init__": TANGOFLUX, "huggingface_hub": HUB}


@pytest.fixture(scope="module")
def studio():
    """One studio for all, so that each worker starts once."""
    with Studio() as opened:
        yield opened


@pytest.fixture(scope="module")
def new_cosyvoice(tmp_path_factory):
    return python_with(tmp_path_factory.mktemp("new"), NEW)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """The same without the weight of torch, for what does not depend on it."""
    return python_with(tmp_path_factory.mktemp("light"), {**NEW, "torch": TORCH})


@pytest.fixture(scope="module")
def tangoflux(tmp_path_factory):
    return python_with(tmp_path_factory.mktemp("tango"), FLUX)


@pytest.fixture(scope="module")
def voice(new_cosyvoice, tmp_path_factory):
    one = described(tmp_path_factory.mktemp("voices") / "low.wav", rate=8_000, text="Short.")
    return Voice("cosyvoice-process", "low", where=new_cosyvoice, reference=one, seed=1)


def test_the_same_seed_speaks_the_same_samples_and_another_seed_others(studio, voice):
    first, again = (studio.speak("One. Two.", voice) for _ in range(2))
    other = studio.speak("One. Two.", Voice(**{**vars(voice), "seed": 2}))
    np.testing.assert_array_equal(first, again)
    assert len(other) == len(first) and not np.array_equal(first, other)


def test_all_sentences_are_joined_and_the_reference_and_its_transcript_arrive(studio, voice):
    one, two = studio.speak("One.", voice), studio.speak("One. Two.", voice)
    assert len(two) - len(one) == pytest.approx(160 * (len(" Two") + len("Short.")), abs=2)
    untold = Voice(**{**vars(voice), "reference": described(voice.reference.path.with_name("untold.wav"))})
    assert len(one) - len(studio.speak("One.", untold)) == pytest.approx(160 * len("Short."), abs=2)


def test_a_text_the_worker_cannot_speak_is_that_clips_own_error(studio, voice):
    with pytest.raises(InputError, match=r"could not render 'unspeakable' \(RuntimeError: cannot say that\)") as caught:
        studio.speak("unspeakable", voice)
    assert not isinstance(caught.value, EngineFailed)
    assert len(studio.speak("One.", voice))


def test_a_worker_that_dies_ends_the_work_with_its_last_words_and_what_came_before_is_kept(light, voice):
    casting = Casting(Voice("cosyvoice-process", where=light), references=(voice.reference,))
    clips = [Clip(text, f"{text}.wav", text=text) for text in ("first", "fatal", "later")]
    with Studio() as own:
        results = render_many([Rendering("resynthesis", clip, SILENT, casting=casting) for clip in clips], studio=own)
        assert len(next(results))
        with pytest.raises(EngineFailed, match="rendering 'fatal' its worker ended with status 139: Segmentation"):
            next(results)


def test_the_older_signature_gets_samples_at_16_khz_and_no_argument_it_does_not_know(tmp_path):
    python = python_with(tmp_path, {**OLD, "torch": TORCH})
    told, untold = (described(tmp_path / f"{text}.wav", text=text) for text in ("Short.", None))
    with Studio() as own:
        with_text, without = (
            own.speak("Hello.", Voice("cosyvoice-process", where=python, reference=one)) for one in (told, untold)
        )
    assert len(with_text) == 2 * len(without) == 960


def test_a_model_that_cannot_be_loaded_is_named(light, voice):
    missing = Voice(**{**vars(voice), "where": light, "options": ("model=missing",)})
    with Studio() as own, pytest.raises(EngineFailed, match=r"cannot be loaded \(ValueError: missing not found!\)"):
        own.speak("One.", missing)


def test_an_environment_without_the_package_is_named_before_anything_is_loaded(tmp_path):
    recording(tmp_path / "voices/a.wav")
    empty = python_with(tmp_path, {"unrelated": ""})
    with Studio() as own, pytest.raises(EngineFailed, match="the package cosyvoice is not installed there"):
        own.identity(Voice("cosyvoice-process", where=empty))
    with Studio() as own, pytest.raises(EngineFailed, match="cannot run its worker"):
        own.identity(Voice("cosyvoice-process", where="/bin/false"))


def test_a_checkout_named_as_repo_is_found_with_its_submodule(tmp_path, voice):
    repo = {**NEW, "torch": TORCH}
    submodule = {"torchless_wav": repo.pop("torchless_wav")}
    write_packages(tmp_path / "repo", repo)
    write_packages(tmp_path / "repo/third_party/Matcha-TTS", submodule)
    elsewhere = Voice(**{**vars(voice), "where": sys.executable, "options": (f"repo={tmp_path / 'repo'}",)})
    with Studio() as own:
        assert len(own.speak("One.", elsewhere))


def test_a_python_that_is_none_is_refused_before_anything_is_spent(tmp_path, monkeypatch):
    recording(tmp_path / "a.wav")
    monkeypatch.delenv("COSYVOICE_PYTHON", raising=False)
    with pytest.raises(InputError, match="there is no Python at /nowhere/python"):
        parse_casting("cosyvoice-process=/nowhere/python", references=str(tmp_path))
    with pytest.raises(InputError, match=r"name its Python as cosyvoice-process=PYTHON, or in .* COSYVOICE_PYTHON"):
        parse_casting("cosyvoice-process", references=str(tmp_path))
    monkeypatch.setenv("TANGOFLUX_PYTHON", sys.executable)
    assert parse_casting(sounds="tangoflux,steps=20").sound == Voice("tangoflux", options=("steps=20",))


def test_captions_get_three_different_sounds_although_tangoflux_itself_always_draws_alike(studio, tangoflux):
    clip = Clip("sounds/dog", "dog.wav", text="A dog barks.", task="sound")
    voices = Casting(sound=Voice("tangoflux", where=tangoflux, options=("seconds=2",))).voices(clip, seed=7)
    made = [studio.speak(clip.text, one) for one in voices]
    assert [len(samples) for samples in made] == [32_000] * 3
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert abs(np.corrcoef(made[one], made[other])[0, 1]) < 0.1
    np.testing.assert_array_equal(studio.speak(clip.text, voices[0]), made[0])


def test_a_caption_longer_than_tangoflux_reads_is_refused_and_not_cut(studio, tangoflux):
    voice = Voice("tangoflux", where=tangoflux, options=("seconds=2",))
    with pytest.raises(InputError, match="the caption has 40 tokens, more than 32"):
        studio.speak("bark " * 40, voice)


def test_tangofluxs_recipe_names_code_model_commit_options_and_seed(studio, tangoflux, tmp_path):
    voice = Voice("tangoflux", where=tangoflux, options=("seconds=2",), seed=3)
    made_of = studio.recipe("A dog barks.", voice)
    assert made_of["voice"] == "tangoflux seconds=2" and made_of["model"] == "c0ffee" and made_of["seed"] == 3
    changed = python_with(tmp_path, {**FLUX, "tangoflux/__init__": TANGOFLUX + "\n    # changed\n"})
    elsewhere = studio.recipe("A dog barks.", Voice("tangoflux", where=changed, options=("seconds=2",), seed=3))
    assert made_of["engine"].startswith("tangoflux ") and elsewhere["engine"] != made_of["engine"]


def test_a_model_that_tangoflux_cannot_fetch_is_named(tangoflux):
    voice = Voice("tangoflux", where=tangoflux, options=("model=nobody/nothing",))
    with Studio() as own, pytest.raises(EngineFailed, match=r"cannot run its worker .*no such model"):
        own.identity(voice)


@pytest.mark.parametrize("option", ["guidance=1", "seconds=31", "steps=none", "speed=2", "steps"])
def test_options_that_tangoflux_would_break_on_are_refused(tangoflux, option):
    with pytest.raises(InputError, match=r"tangoflux: .*(is no number|is no option of it)"):
        parse_casting(sounds=f"tangoflux={tangoflux},{option}")


def test_a_worker_that_hangs_is_ended(tmp_path, monkeypatch):
    script = tmp_path / "hanging.py"
    script.write_text("import sys\nprint('{\"ready\": true}', flush=True)\n" + 2 * "sys.stdin.readline()\n")
    monkeypatch.setattr("precompute.conditions.voices.processes.TEXT_SECONDS", 0.2)
    worker = Worker("slow", [sys.executable, str(script)])
    with pytest.raises(EngineFailed, match=r"while rendering 'hello' its worker gave no answer for 0.2 s"):
        worker.render({"text": "hello"})
    worker.close()


def test_closing_a_studio_ends_its_workers(light, voice):
    with Studio() as own:
        own.speak("One.", Voice(**{**vars(voice), "where": light}))
        (engine,) = own._engines.values()
        process = engine._worker._process
        assert process.poll() is None
    assert process.returncode == 0
