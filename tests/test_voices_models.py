"""Models in this process, on their real classes with tiny random weights: seeds, voices, what goes wrong."""

import importlib.metadata
import shutil

import numpy as np
import pytest
import torch
from fake_voices import described
from safetensors.torch import load_file, save_file
from tiny_voices import pocket_tts, stable_audio, vibevoice

from precompute.clips import Clip, InputError
from precompute.conditions import Rendering, render_many
from precompute.conditions.casting import Casting, parse_casting
from precompute.conditions.voices import EngineFailed, Studio, Voice
from precompute.rendered import rendered
from precompute.store import Store

BUILDERS = {"pocket-tts": pocket_tts, "vibevoice": vibevoice, "stable-audio": stable_audio}
SPEAKERS = ("pocket-tts", "vibevoice")
SHORT = {"stable-audio": ("seconds=1", "steps=3")}
TEXT = "A dog barks."


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folder of every model."""
    return {name: build(tmp_path_factory.mktemp(name)) for name, build in BUILDERS.items()}


@pytest.fixture(scope="module")
def studio():
    """One studio for all, so that each model is loaded once."""
    torch.set_num_threads(1)
    with Studio("cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    return tuple(described(folder / f"{hertz}.wav", hertz=hertz, rate=8_000) for hertz in (110.0, 220.0))


@pytest.fixture
def voice_of(folders, references):
    """A voice of an engine by name."""

    def make(name, seed=0, reference=0):
        borrowed = references[reference] if name in SPEAKERS else None
        return Voice(name, "x", SHORT.get(name, ()), str(folders[name]), borrowed, seed)

    return make


@pytest.mark.parametrize("name", BUILDERS)
def test_the_same_seed_gives_the_same_samples_and_another_seed_others(name, studio, voice_of):
    first, again, other = (studio.speak(TEXT, voice_of(name, seed)) for seed in (1, 1, 2))
    assert first.ndim == 1 and first.dtype == np.float32 and first.std() > 0
    np.testing.assert_array_equal(first, again)
    shortest = min(len(first), len(other))
    assert not np.array_equal(first[:shortest], other[:shortest])


@pytest.mark.parametrize("name", BUILDERS)
def test_seeding_leaves_torchs_own_random_state_as_it_was(name, studio, voice_of):
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    studio.speak(TEXT, voice_of(name, 1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", SPEAKERS)
def test_the_reference_changes_what_is_spoken(name, studio, voice_of):
    low, high = (studio.speak(TEXT, voice_of(name, 1, reference)) for reference in (0, 1))
    shortest = min(len(low), len(high))
    assert not np.array_equal(low[:shortest], high[:shortest])


@pytest.mark.parametrize("name", SPEAKERS)
def test_a_text_that_spells_out_a_steering_token_is_refused(name, studio, voice_of):
    token = {"pocket-tts": "<voice>", "vibevoice": "<|vision_pad|>"}[name]
    with pytest.raises(InputError, match="which steers the model") as caught:
        studio.speak(f"Say {token} now.", voice_of(name))
    assert not isinstance(caught.value, EngineFailed)


def test_a_long_text_is_spoken_in_chunks_by_pocket_tts(studio, voice_of):
    sentence = "One more of these sentences here. "
    lengths = [len(studio.speak(sentence * count, voice_of("pocket-tts"))) for count in (1, 3)]
    assert lengths[1] > 2 * lengths[0]


def test_a_model_that_never_ends_is_stopped_in_proportion_to_the_text(studio, voice_of):
    lengths = [len(studio.speak("a" * count, voice_of("vibevoice"))) / 16_000 for count in (5, 30)]
    assert lengths == pytest.approx([4, 9], abs=0.2)


def test_every_caption_gets_the_seconds_asked_for(studio, voice_of):
    assert [len(studio.speak(text, voice_of("stable-audio"))) for text in (TEXT, "Rain.")] == [16_000, 16_000]


def test_a_caption_longer_than_the_model_reads_is_refused_and_not_cut(studio, voice_of):
    with pytest.raises(InputError, match="tokens, more than 40") as caught:
        studio.speak("A dog barks and " * 5, voice_of("stable-audio"))
    assert not isinstance(caught.value, EngineFailed)


def test_three_realizations_of_a_caption_are_kept_and_read_back(folders, tmp_path):
    clip = Clip("sounds/dog", "dog.wav", text=TEXT, task="sound")
    casting = Casting(sound=Voice("stable-audio", options=SHORT["stable-audio"], where=str(folders["stable-audio"])))
    jobs = [Rendering("resynthesis", clip, np.zeros(3), k, casting=casting) for k in range(3)]
    with Store(tmp_path / "cache") as store, Studio("cpu") as own:
        made = rendered(jobs, store, own)
        again = rendered(jobs, store, own)
        assert len(store) == 3
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(made[0], made[1]) and not np.array_equal(made[1], made[2])


@pytest.mark.parametrize("name", BUILDERS)
def test_identity_names_library_weights_and_dtype_and_notices_a_changed_file(name, folders, tmp_path):
    copy = shutil.copytree(folders[name], tmp_path / "copy")
    with Studio("cpu") as own:
        before = own.identity(Voice(name, where=str(folders[name])))
        same = own.identity(Voice(name, where=str(copy)))
    (copy / "note.json").write_text("{}")
    with Studio("cpu") as own:
        after = own.identity(Voice(name, where=str(copy)))
    library = "diffusers" if name == "stable-audio" else "transformers"
    assert before["engine"] == f"{library} {importlib.metadata.version(library)}" and before["dtype"] == "float32"
    assert same == before
    assert after["model"] != before["model"]


def test_identity_of_pocket_tts_names_its_audio_tokenizer_too(tmp_path):
    folder = pocket_tts(tmp_path)
    with Studio("cpu") as own:
        before = own.identity(Voice("pocket-tts", where=str(folder)))
    (tmp_path / "codec/more.json").write_text("{}")
    with Studio("cpu") as own:
        after = own.identity(Voice("pocket-tts", where=str(folder)))
    assert after["codec"] != before["codec"] and after["model"] == before["model"]


@pytest.mark.parametrize("name", BUILDERS)
def test_a_folder_that_is_no_model_and_a_name_that_is_none_are_refused(name, tmp_path, references):
    with Studio("cpu") as own, pytest.raises(EngineFailed, match="holds no weights in the safetensors format"):
        own.speak(TEXT, Voice(name, where=str(tmp_path), reference=references[0]))
    with pytest.raises(InputError, match="'no-such-folder' is neither a folder nor a hub id"), Studio("cpu") as own:
        own.speak(TEXT, Voice(name, where="no-such-folder"))


@pytest.mark.parametrize("name", BUILDERS)
def test_a_damaged_model_is_named_in_one_sentence(name, folders, tmp_path, references):
    what, weights = "config.json", "model.safetensors"
    if name == "stable-audio":
        what, weights = "model_index.json", "vae/diffusion_pytorch_model.safetensors"
    for problem in (f"has no {what}", "cannot be loaded"):
        copy = shutil.copytree(folders[name], tmp_path / problem)
        if problem == "cannot be loaded":
            (copy / weights).write_bytes(b"torn")
        else:
            (copy / what).unlink()
        with Studio("cpu") as own, pytest.raises(EngineFailed, match=f"{name}: .*{problem}") as caught:
            own.speak(TEXT, Voice(name, where=str(copy), reference=references[0]))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SPEAKERS)
def test_weights_that_are_missing_are_not_made_up(name, folders, tmp_path, references):
    copy = shutil.copytree(folders[name], tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    lost = max(key for key in weights if "layers.0" in key)
    save_file(
        {key: value for key, value in weights.items() if key != lost}, copy / "model.safetensors", {"format": "pt"}
    )
    with Studio("cpu") as own, pytest.raises(EngineFailed, match=f"lack 1 tensors, such as {lost}"):
        own.speak(TEXT, Voice(name, where=str(copy), reference=references[0]))


@pytest.mark.parametrize(("name", "missing"), [("stable-audio", "torchsde"), ("vibevoice", "diffusers")])
def test_a_missing_optional_package_is_named_with_how_to_install_it(name, missing, folders, monkeypatch):
    found = importlib.metadata.version

    def version(package):
        if package == missing:
            raise importlib.metadata.PackageNotFoundError(package)
        return found(package)

    monkeypatch.setattr("importlib.metadata.version", version)
    with Studio("cpu") as own, pytest.raises(EngineFailed, match=f"{name} needs the package {missing}.*pip install"):
        own.identity(Voice(name, where=str(folders[name])))


def test_a_model_that_breaks_on_everything_ends_the_work_and_one_that_breaks_once_does_not(
    studio, voice_of, monkeypatch
):
    voice = voice_of("stable-audio")
    engine = studio._engine(voice)
    spoken = type(engine).rendered

    def breaking(self, loaded, text, one):
        if text == "Thunder.":
            raise torch.OutOfMemoryError("out of memory")
        return spoken(self, loaded, text, one)

    monkeypatch.setattr(type(engine), "rendered", breaking)
    with pytest.raises(InputError, match="could not render 'Thunder") as caught:
        studio.speak("Thunder.", voice)
    assert not isinstance(caught.value, EngineFailed)
    with Studio("cpu") as own:
        monkeypatch.setattr(type(engine), "rendered", lambda *_: torch.ones(2, 3) @ torch.ones(2, 3))
        with pytest.raises(EngineFailed, match="renders nothing, not even a short test"):
            own.speak(TEXT, voice)


def test_a_studio_lets_go_of_its_models(folders, references):
    with Studio("cpu") as own:
        own.speak(TEXT, Voice("pocket-tts", where=str(folders["pocket-tts"]), reference=references[0]))
        (engine,) = own._engines.values()
        assert engine._loaded is not None
    assert engine._loaded is None


def test_a_model_named_on_the_command_line_speaks_in_the_voices_of_a_folder(folders, references):
    folder = references[0].path.parent
    casting = parse_casting(f"pocket-tts={folders['pocket-tts']}", references=str(folder), seed=4)
    clip = Clip("a/b", "b.wav", text="Hello.", language="en")
    with Studio("cpu") as own:
        made = list(
            render_many([Rendering("resynthesis", clip, np.zeros(3), k, casting=casting) for k in range(3)], studio=own)
        )
    assert [voice.name for voice in casting.voices(clip)] == ["110.0", "220.0", "110.0"]
    assert len({samples.tobytes() for samples in made}) == 3
