"""Who resynthesises what: the command line's words, reference recordings, seeds, and models fetched from a hub."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_voices import recording
from hypothesis import given
from hypothesis import strategies as st

from precompute.clips import Clip, Cohort, InputError
from precompute.conditions import Rendering, recipe, render, render_many
from precompute.conditions.casting import EMBEDDED, Casting, parse_casting
from precompute.conditions.voices import ENGINES, Studio, Voice, reference_voices
from precompute.conditions.voices.base import derived_seed
from precompute.conditions.voices.references import VOICES, borrowed, pick_references, read_references, reference
from tests.hub_replica import HubReplica, Repository

SERVER = "cosyvoice=http://127.0.0.1:9"
SILENT = np.zeros(10, dtype=np.float32)
DOG = Clip("sounds/dog", Path("dog.wav"), text="A dog barks.", task="sound")
SPEECH = Clip("speech/a", Path("a.wav"), text="Hello.", language="en")


def test_nothing_named_is_the_embedded_casting_which_is_what_it_always_was():
    assert parse_casting() == EMBEDDED == Casting()
    assert EMBEDDED.voices(SPEECH, seed=3) == reference_voices("en")
    assert recipe("resynthesis", SPEECH, 1).keys() == {"text", "voice", "engine"}


def test_every_engine_says_what_it_reads_and_where_it_is_named():
    assert {kind.reads for kind in ENGINES.values()} == {"text", "caption"}
    assert [name for name, kind in ENGINES.items() if not kind.where] == ["espeak-ng", "flite", "rendered"]
    assert all(kind.description for kind in ENGINES.values())


def test_embedded_voices_can_be_asked_for_by_name():
    espeak, flite = (parse_casting(name) for name in ("espeak-ng", "flite"))
    assert str(espeak.voices(SPEECH)[0]) == "espeak-ng en+f2 -p 55"
    assert espeak.voices(dataclasses.replace(SPEECH, language="fr")) == reference_voices("fr")
    assert flite.voices(dataclasses.replace(SPEECH, language="fr")) == reference_voices("en")


@pytest.mark.parametrize("task", ["sound", "music"])
def test_captions_are_rendered_by_the_embedded_corpora_in_three_realizations(task):
    from precompute.corpora import notes, scenes

    caption = scenes.captioned_scenes()[0].caption if task == "sound" else notes.captioned_notes()[0].caption
    clip = dataclasses.replace(DOG, text=caption, task=task)
    with Studio() as studio:
        made = list(render_many([Rendering("resynthesis", clip, SILENT, k) for k in range(3)], studio=studio))
        again = render("resynthesis", clip, SILENT, 1, studio=studio)
        keys = [studio.recipe(caption, voice) for voice in EMBEDDED.voices(clip)]
    np.testing.assert_array_equal(made[1], again)
    assert not np.array_equal(made[0], made[1]) and not np.array_equal(made[1], made[2])
    assert [key["voice"] for key in keys] == [f"rendered {task}"] * 3
    assert len({key["seed"] for key in keys}) == 3


def test_a_caption_the_embedded_corpora_do_not_know_is_that_clips_own_error():
    jobs = [Rendering("resynthesis", dataclasses.replace(DOG, text="Xylophagous."), SILENT)]
    (error,) = render_many(jobs)
    assert isinstance(error, InputError) and "no known sound" in str(error)


def test_the_seeds_of_the_realizations_follow_the_audits_seed():
    casting = Casting(sound=Voice("rendered"))
    seeds = {seed: [voice.seed for voice in casting.voices(DOG, seed)] for seed in (0, 1)}
    assert len({*seeds[0], *seeds[1]}) == 6
    assert seeds[0] == [voice.seed for voice in casting.voices(dataclasses.replace(DOG, clip_id="other"), 0)]


def test_equal_texts_get_equal_samples_and_different_texts_different_noise():
    drawn = []

    class Engine:
        def render(self, text, voice):
            drawn.append(voice.seed)
            return np.ones(16), 16_000

        def close(self):
            pass

    with Studio() as studio:
        voice = Voice("tangoflux", where="x", seed=5)
        studio._engines["tangoflux", "x", ()] = Engine()
        for text in ("One.", "Two.", "One."):
            studio.speak(text, voice)
    assert drawn[0] == drawn[2] != drawn[1]


@given(st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4))
def test_derived_seeds_fit_every_generator_and_repeat(parts):
    assert 0 <= derived_seed(*parts) < 2**32
    assert derived_seed(*parts) == derived_seed(*parts)


def test_a_folder_of_references_is_read_with_its_transcripts_and_languages(tmp_path):
    recording(tmp_path / "b.wav", text=" Hello\n there. ")
    recording(tmp_path / "a.FLAC".lower(), hertz=90.0)
    recording(tmp_path / "fr/c.wav", hertz=200.0, rate=8_000)
    (tmp_path / "notes.md").write_text("not a voice")
    found = read_references(tmp_path)
    assert [(one.name, one.text, one.language) for one in found] == [
        ("a", None, None),
        ("b", "Hello there.", None),
        ("c", None, "fr"),
    ]
    assert len({one.content for one in found}) == 3


def test_each_realization_borrows_another_voice_in_the_clips_language_and_draws_with_another_seed(tmp_path):
    for name in ("a", "b", "c", "d", "fr/e", "fr/f"):
        recording(tmp_path / f"{name}.wav", hertz=80.0 + 10 * ord(name[-1]))
    casting = parse_casting(SERVER, references=str(tmp_path))
    english, french, unknown = (casting.voices(dataclasses.replace(SPEECH, language=x)) for x in ("en", "fr-CA", None))
    assert [voice.name for voice in english] == [voice.name for voice in unknown] == ["a", "b", "c"]
    assert [voice.name for voice in french] == ["e", "f", "e"]
    assert len({voice.seed for voice in french}) == VOICES


def test_the_recipe_follows_the_references_sound_and_not_its_place(tmp_path):
    keys = []
    for folder, hertz in (("one", 100.0), ("two", 100.0), ("three", 101.0)):
        one = reference(recording(tmp_path / folder / "a.wav", hertz=hertz), "Hello.")
        with Studio() as studio:
            keys.append(studio.recipe("Text.", Voice("cosyvoice", "a", where="http://x", reference=one)))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [(0.4, "lasts 0.4 s, and a reference voice has to last from 1 to 30 s"), (31, "lasts 31.0 s")],
)
def test_references_that_are_too_short_or_too_long_are_named(tmp_path, seconds, problem):
    recording(tmp_path / "a.wav", seconds=seconds, rate=8_000)
    with pytest.raises(InputError, match=problem):
        read_references(tmp_path)


def test_folders_without_a_usable_reference_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder of reference voices"):
        read_references(tmp_path / "missing")
    with pytest.raises(InputError, match="holds no WAV or FLAC file"):
        read_references(tmp_path)
    (tmp_path / "a.wav").write_text("not audio")
    with pytest.raises(InputError, match=r"a\.wav: cannot be read as audio"):
        read_references(tmp_path)


def test_a_borrowed_voice_keeps_its_pitch_at_the_rate_it_is_handed_over_at(tmp_path):
    one = reference(recording(tmp_path / "a.wav", hertz=125.0, rate=8_000), None)
    for (samples, rate), expected in ((borrowed(one, 16_000), 16_000), (borrowed(one, 24_000, 24_000), 24_000)):
        assert rate == expected and len(samples) == 1.5 * rate
        peak = np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples)
        assert peak == pytest.approx(125, abs=1)


def speakers(folder, count, label, seconds=4.0):
    """Clips of some speakers, two utterances each, the first too short to borrow a voice from."""
    return [
        Clip(f"ls/{label}-{k}-{take}", recording(folder / f"{label}-{k}-{take}.wav", 90 + 9 * k, seconds=length),
             f"Take {take}.", group=f"{label}-{k}")
        for k in range(count)
        for take, length in enumerate((1.5, seconds))
    ]  # fmt: skip


def test_references_from_a_corpus_are_three_speakers_no_target_was_trained_on(tmp_path):
    members, others = speakers(tmp_path, 2, "member"), speakers(tmp_path, 6, "other")
    cohort = Cohort("ls", (*members, *others), (1,) * len(members) + (0,) * len(others))
    picked = {seed: pick_references(cohort, seed) for seed in (0, 0, 1, 2)}
    for found in picked.values():
        assert len({one.name.rsplit("-", 1)[0] for one in found}) == 3
        assert all(one.name.startswith("other") and one.text == "Take 1." for one in found)
    assert len({tuple(one.name for one in found) for found in picked.values()}) > 1
    assert pick_references(cohort, 2) == picked[2]
    few = Cohort("ls", (*members, *others[:4]), (1,) * len(members) + (0,) * 4)
    with pytest.raises(InputError, match="ls: only 2 speakers have an utterance of 3 to 8 s"):
        pick_references(few, 0)


def test_librispeech_is_read_from_its_own_layout(tmp_path, monkeypatch):
    for part, first in (("train-clean-100", 10), ("test-clean", 20)):
        for speaker in range(first, first + 3):
            chapter = tmp_path / f"LibriSpeech/{part}/{speaker}/1"
            for take in range(2):
                recording(chapter / f"{speaker}-1-{take:04}.flac", 70.0 + 5 * speaker + take, seconds=3.5)
            lines = [f"{speaker}-1-{take:04} TAKE {take} OF {speaker}" for take in range(2)]
            (chapter / f"{speaker}-1.trans.txt").write_text("\n".join(lines))
    casting = parse_casting(SERVER, references=f"librispeech={tmp_path}", seed=1)
    monkeypatch.setenv("AUDIT_LIBRISPEECH", str(tmp_path))
    assert parse_casting(SERVER, references="librispeech", seed=1) == casting
    assert sorted(one.text[-2:] for one in casting.references) == ["20", "21", "22"]
    assert all(one.text.lower().startswith("take ") for one in casting.references)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ({"voices": "nosuch"}, "no such engine; there are espeak-ng, flite, cosyvoice"),
        ({"voices": "tangoflux=python"}, "no such engine"),
        ({"sounds": "pocket-tts=x"}, "no such engine; there are rendered, tangoflux, stable-audio"),
        ({"voices": "pocket-tts"}, r"say where, as pocket-tts=DIR\|HUB_ID"),
        ({"voices": "flite=somewhere"}, "flite is embedded"),
        ({"voices": "flite,speed=2"}, "flite has no options"),
        ({"sounds": "rendered=somewhere"}, "rendered is embedded"),
        ({"sounds": "stable-audio=a/b,steps=1"}, "steps=1 is no number from 2 to 1000"),
        ({"sounds": "stable-audio=nowhere"}, "neither a folder nor a hub id"),
        ({"voices": SERVER}, "borrows voices: name recordings of them with --reference-voices"),
        ({"references": "voices"}, "are for a --voices engine that borrows them: cosyvoice"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(named, problem):
    with pytest.raises(InputError, match=problem) as caught:
        parse_casting(**named)
    assert "\n" not in str(caught.value)


def test_a_casting_describes_itself_without_paths_of_this_machine(tmp_path):
    recording(tmp_path / "low.wav")
    casting = parse_casting(f"{SERVER}#CosyVoice2-0.5B", "stable-audio=a/b,steps=50", str(tmp_path))
    told = json.dumps(casting.describe())
    assert "stable-audio steps=50" in told and '"low"' in told and str(tmp_path) not in told


def test_a_casting_survives_being_turned_into_plain_values_for_a_fingerprint(tmp_path):
    recording(tmp_path / "low.wav")
    one, other = (parse_casting(SERVER, references=str(tmp_path)) for _ in range(2))
    recording(tmp_path / "low.wav", hertz=300.0)
    changed = parse_casting(SERVER, references=str(tmp_path))
    plain = [json.dumps(dataclasses.asdict(casting), default=str, sort_keys=True) for casting in (one, other, changed)]
    assert plain[0] == plain[1] != plain[2]


FETCH = """
import sys
from precompute.clips import InputError
from precompute.conditions.voices.models import model_folder, revision_of
for where in sys.argv[1:]:
    try:
        folder = model_folder("pocket-tts", where, ("unwanted.safetensors",))
        print(revision_of(folder, where), sorted(path.name for path in folder.iterdir()))
    except InputError as error:
        print(error)
"""


def test_models_are_fetched_from_a_hub_without_pickles_and_named_by_their_commit(tmp_path):
    files = dict.fromkeys(("config.json", "model.safetensors", "unwanted.safetensors", "weights.bin", "a.pt"), b"{}")
    model, gated = (
        Repository({"main": files, "v2": {**files, "config.json": b"{ }"}}),
        Repository({"main": files}, True),
    )
    pickled = Repository({"main": {"config.json": b"{}", "pytorch_model.bin": b"x"}})
    with HubReplica({"owner/model": model, "owner/gated": gated, "owner/pickled": pickled}) as hub:
        places = ["owner/model", "owner/model@v2", "owner/gated", "owner/pickled", "owner/none"]
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", FETCH, *places], capture_output=True, text=True, env=environment, check=True
        )
    first, second, third, fourth, fifth = done.stdout.splitlines()
    assert first == f"{model.commits['main']} ['config.json', 'model.safetensors']"
    assert second.split()[0] == model.commits["v2"] != model.commits["main"]
    assert third == "pocket-tts: owner/gated is gated; ask for access on its page and log in with `hf auth login`"
    assert fourth == "pocket-tts: owner/pickled holds no weights in the safetensors format, and no other is loaded"
    assert fifth == "pocket-tts: there is no folder and no hub model named owner/none"
    assert not any("weights.bin" in request for request in hub.requests)
