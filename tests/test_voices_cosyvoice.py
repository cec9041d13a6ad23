"""CosyVoice over HTTP, against a local server of its protocol that breaks in the ways the real one does."""

import numpy as np
import pytest
from fake_voices import CosyVoiceLike, described, pitch_of, recording, serving

from precompute.clips import Clip, InputError
from precompute.conditions import Rendering, render_many
from precompute.conditions.casting import Casting, parse_casting
from precompute.conditions.voices import EngineFailed, Studio, Voice
from precompute.rendered import rendered
from precompute.store import Store

SILENT = np.zeros(10, dtype=np.float32)


@pytest.fixture
def fake():
    return CosyVoiceLike()


@pytest.fixture
def server(fake):
    with serving(fake.application()) as (address, stop):
        yield address, stop


@pytest.fixture
def low(tmp_path):
    return described(tmp_path / "low.wav", hertz=110.0, text="Short.")


@pytest.fixture
def high(tmp_path):
    return described(tmp_path / "high.wav", hertz=220.0)


def jobs(casting, *texts):
    clips = [Clip(f"list/{k}", f"{k}.wav", text=text, language="en") for k, text in enumerate(texts)]
    return [Rendering("resynthesis", clip, SILENT, casting=casting) for clip in clips]


def test_a_text_is_spoken_in_the_voice_of_the_reference(server, low, high):
    with Studio() as studio:
        deep, bright = (
            studio.speak("Please enter your password.", Voice("cosyvoice", where=server[0], reference=one))
            for one in (low, high)
        )
    assert deep.dtype == np.float32 and 1 < len(deep) / 16_000 < 4
    assert pitch_of(bright, 16_000) / pitch_of(deep, 16_000) > 1.3


def test_speech_keeps_its_speed_because_the_rate_is_that_of_cosyvoice2(server, fake, low):
    from precompute.conditions.voices import speak

    with Studio() as studio:
        heard = studio.speak("Thank you.", Voice("cosyvoice", where=server[0], reference=low))
    assert len(heard) == pytest.approx(len(speak("Thank you.", Voice("espeak-ng", "en+m3"))), rel=1e-3)


def test_the_transcript_goes_with_the_reference_and_without_one_the_cross_lingual_way_is_taken(server, fake, low, high):
    with Studio() as studio:
        for one in (low, high):
            studio.speak("Goodbye.", Voice("cosyvoice", where=server[0], reference=one))
    assert [(text, prompt) for text, prompt, _, _ in fake.heard] == [("Goodbye.", "Short."), ("Goodbye.", None)]


def test_a_telephone_reference_is_upsampled_since_the_server_takes_16_khz_and_more(server, fake, tmp_path):
    telephone = described(tmp_path / "telephone.wav", rate=8_000, text="Hello.")
    studio_voice = described(tmp_path / "studio.flac", rate=44_100)
    with Studio() as studio:
        for one in (telephone, studio_voice):
            studio.speak("Goodbye.", Voice("cosyvoice", where=server[0], reference=one))
    assert [(rate, round(seconds, 2)) for _, _, rate, seconds in fake.heard] == [(16_000, 1.5), (44_100, 1.5)]


def test_a_text_that_breaks_the_answer_off_is_that_clips_own_error(server, low):
    casting = Casting(Voice("cosyvoice", where=server[0]), references=(low,))
    with Studio() as studio:
        first, broken, last = render_many(jobs(casting, "One.", "An unspeakable word.", "Three."), studio=studio)
    assert isinstance(broken, InputError) and not isinstance(broken, EngineFailed)
    assert "could not speak 'An unspeakable word.'" in str(broken)
    assert len(first) and len(last)


def test_a_server_that_speaks_nothing_ends_the_work_with_one_sentence(server, fake, low):
    fake.healthy = False
    with Studio() as studio, pytest.raises(EngineFailed, match="renders nothing, not even a short test") as caught:
        studio.speak("One.", Voice("cosyvoice", where=server[0], reference=low))
    assert "\n" not in str(caught.value)
    assert len(fake.heard) == 2


def test_a_server_that_stops_midway_loses_nothing_that_was_rendered(server, fake, low, tmp_path, monkeypatch):
    address, stop = server
    casting = Casting(Voice("cosyvoice", where=f"{address}#CosyVoice2-0.5B"), references=(low,))
    wanted = jobs(casting, "One.", "Two.", "Three.")
    spoken = fake.spoken

    def dying(text, voice):
        yield from spoken(text, voice)
        if text == "Two.":
            fake.healthy = False

    fake.spoken = dying
    with Store(tmp_path / "cache") as store:
        with pytest.raises(EngineFailed, match="the same command goes on"), Studio() as studio:
            rendered(wanted, store, studio)
        assert len(store) == 2
        stop()
        with Studio() as studio, pytest.raises(EngineFailed, match="no CosyVoice server answers at http"):
            rendered(wanted, store, studio)
        with Studio() as studio:  # what was rendered needs no server
            kept = rendered(wanted[:2], store, studio)
        assert all(len(audio) for audio in kept)


def test_clips_that_share_a_text_are_rendered_once_and_hear_the_same(server, fake, low, tmp_path):
    casting = Casting(Voice("cosyvoice", where=server[0]), references=(low,))
    with Store(tmp_path / "cache") as store, Studio() as studio:
        one, other, third = rendered(jobs(casting, "One.", "Two.", "One."), store, studio)
    assert [text for text, *_ in fake.heard] == ["One.", "Two."]
    np.testing.assert_array_equal(one, third)
    assert not np.array_equal(one, other)


def test_a_failed_server_is_not_asked_again(server, fake, low):
    fake.healthy = False
    casting = Casting(Voice("cosyvoice", where=server[0]), references=(low,))
    with Studio() as studio:
        for _ in range(2):
            with pytest.raises(EngineFailed):
                list(render_many(jobs(casting, *"abcdefgh"), workers=4, studio=studio))
    assert len(fake.heard) == 2


def test_another_kind_of_server_is_recognised(low):
    from fastapi import FastAPI

    with (
        serving(FastAPI()) as (address, _),
        Studio() as studio,
        pytest.raises(EngineFailed, match="no CosyVoice server"),
    ):
        studio.speak("One.", Voice("cosyvoice", where=address, reference=low))


def test_a_reference_that_changes_during_an_audit_is_refused(server, low):
    recording(low.path, hertz=300.0)
    with Studio() as studio, pytest.raises(InputError, match="has changed since the audit began"):
        studio.speak("One.", Voice("cosyvoice", where=server[0], reference=low))


@pytest.mark.parametrize("where", ["127.0.0.1:50000", "http://", "http://host:port", "ftp://host"])
def test_an_address_that_is_none_is_refused_before_anything_is_spent(where, tmp_path):
    recording(tmp_path / "a.wav")
    with pytest.raises(InputError, match="is no address of a server"):
        parse_casting(f"cosyvoice={where}", references=str(tmp_path))


def test_the_recipe_names_the_model_that_the_user_names_and_the_references_content(low):
    voice = Voice("cosyvoice", "low", where="http://127.0.0.1:9#CosyVoice2-0.5B", reference=low, seed=5)
    with Studio() as studio:
        made_of = studio.recipe("One.", voice)
    assert made_of == {
        "text": "One.",
        "voice": "cosyvoice low",
        "engine": "CosyVoice server",
        "model": "CosyVoice2-0.5B",
        "reference": low.content,
        "reference_text": "Short.",
        "seed": 5,
    }
