"""Rendered instrument notes: what is heard is what the caption says, and its wording cannot be heard."""

from collections import Counter
from dataclasses import replace
from functools import partial

import mido
import numpy as np
import pytest

from precompute.clips import SAMPLE_RATE, Clip, InputError, read_audio
from precompute.corpora import fluidsynth, notes
from precompute.corpora.core_sounds import normalise
from precompute.corpora.fluidsynth import Played, write_midi
from precompute.corpora.note_words import INSTRUMENTS, Note, describe, understand
from precompute.truth import Training, trained_on

DRAWN = notes.captioned_notes()
PITCHES = {
    "piano": 48,
    "guitar": 57,
    "violin": 69,
    "cello": 43,
    "trumpet": 64,
    "flute": 72,
    "clarinet": 58,
    "banjo": 55,
}


def usual(note: Note, velocity: int = 80) -> Played:
    """The note as a caption names it, in the middle of everything it leaves open."""
    hold = {"short": 0.3, "long": 2.0, None: 2.0}[note.length]
    return Played(INSTRUMENTS[note.instrument].program, note.pitch, velocity, onset=0.1, hold=hold)


@pytest.fixture(scope="module")
def played() -> dict[str, np.ndarray]:
    """One run of the synthesizer for all tests that listen."""
    asked = {name: usual(Note(name, pitch, "medium", "long")) for name, pitch in PITCHES.items()}
    asked |= {
        f"flute {loudness}": usual(Note("flute", 72, loudness, "long"), v)
        for loudness, v in (("quiet", 40), ("loud", 118))
    }
    asked["flute short"] = usual(Note("flute", 72, "medium", "short"))
    asked["flute sharp"] = replace(usual(Note("flute", 72, "medium", "long")), cents=50.0)
    return dict(zip(asked, notes.render(list(asked.values())), strict=True))


def semitones(samples: np.ndarray) -> float:
    """Pitch as a MIDI note number, with fractions, of what is held between 0.4 and 1.4 s (YIN)."""
    import librosa

    hertz = librosa.yin(samples[int(0.4 * SAMPLE_RATE) : int(1.4 * SAMPLE_RATE)], fmin=60, fmax=1200, sr=SAMPLE_RATE)
    return float(69 + 12 * np.log2(np.median(hertz) / 440))


def level(samples: np.ndarray, first: float, last: float) -> float:
    return float(np.sqrt(np.mean(samples[int(first * SAMPLE_RATE) : int(last * SAMPLE_RATE)] ** 2)))


def test_every_caption_tells_its_note():
    for drawn in DRAWN:
        assert understand(drawn.caption) == drawn.note


def test_no_note_is_drawn_and_no_caption_written_twice():
    assert len(DRAWN) == notes.PER_INSTRUMENT * len(INSTRUMENTS)
    assert len({drawn.note for drawn in DRAWN}) == len({normalise(drawn.caption) for drawn in DRAWN}) == len(DRAWN)


def test_an_annotator_words_one_note_in_many_ways_that_all_mean_it():
    note = Note("cello", 49, "quiet", "long")
    ways = {describe(note, np.random.default_rng(seed)) for seed in range(300)}
    assert len(ways) > 150
    assert all(understand(way) == note for way in ways)
    assert any("C sharp" in way for way in ways) and any("D flat" in way for way in ways)


@pytest.mark.parametrize(
    ("caption", "note"),
    [
        ("A violoncello plays a soft D flat in octave three.", Note("cello", 49, "quiet", "long")),
        ("an oboe: A in the fourth octave", Note("oboe", 69, "medium", "long")),
        (
            "A very loud brief middle C? No, a b in the second octave, on a great organ",
            Note("organ", 47, "loud", "short"),
        ),
        ("a medium loud held e in octave five from a banjo", Note("banjo", 76, "medium", None)),
    ],
)
def test_free_words_are_understood_where_they_name_an_instrument_and_a_pitch(caption, note):
    assert understand(caption) == note


@pytest.mark.parametrize(
    ("caption", "missing"),
    [
        ("A kazoo plays a C in octave four.", "instrument"),
        ("A cello plays a low note.", "pitch"),
        ("A cello plays an E sharp in octave four.", "pitch"),
    ],
)
def test_a_caption_without_an_instrument_or_a_pitch_is_refused(caption, missing):
    with pytest.raises(InputError, match=f"no known {missing} is named"):
        notes.render_caption(caption, 0)


def test_the_midi_file_puts_every_note_into_its_slot_of_time(tmp_path):
    path = tmp_path / "notes.mid"
    write_midi([Played(40, 60, 70, 0.1, 2.0), Played(0, 61, 71, 0.25, 0.3, cents=-50)], path)
    now, heard = 0.0, []
    for message in mido.MidiFile(path):
        now += message.time
        if message.type in ("note_on", "note_off", "pitchwheel"):
            heard.append((message.type, round(now, 3), getattr(message, "note", None) or message.pitch))
    assert heard == [
        ("pitchwheel", 0.0, 0),
        ("note_on", 0.1, 60),
        ("note_off", 2.1, 60),
        ("pitchwheel", 4.0, -2048),
        ("note_on", 4.25, 61),
        ("note_off", 4.55, 61),
    ]


@pytest.mark.parametrize("name", PITCHES)
def test_an_instrument_sounds_at_the_pitch_that_the_caption_names(played, name):
    assert semitones(played[name]) == pytest.approx(PITCHES[name], abs=0.35)


def test_loudness_and_length_and_tuning_are_as_asked(played):
    quiet, medium, loud = (level(played[name], 0.5, 1.5) for name in ("flute quiet", "flute", "flute loud"))
    assert quiet * 1.6 < medium < loud / 1.3
    assert level(played["flute short"], 1.0, 2.0) < 0.05 * level(played["flute"], 1.0, 2.0)
    assert semitones(played["flute sharp"]) - semitones(played["flute"]) == pytest.approx(0.5, abs=0.1)


def test_a_note_lasts_three_seconds_begins_when_its_key_goes_down_and_holds_nothing_of_the_one_before(played):
    for samples in played.values():
        assert samples.shape == (3 * SAMPLE_RATE,) and samples.dtype == np.float32
        assert np.abs(samples).max() < 1
        assert level(samples, 0.0, 0.09) < 0.02 * np.abs(samples).max()
        assert level(samples, 0.15, 0.35) > 0.02 * np.abs(samples).max()


def test_the_wording_cannot_be_heard():
    drawn = DRAWN[0]
    other = describe(drawn.note, np.random.default_rng(3))
    assert other != drawn.caption
    assert notes.numbered(drawn) == notes.numbered(replace(drawn, caption=other))


def test_how_a_note_is_played_stays_within_its_caption_and_differs_between_numbers():
    ways = [notes.numbered(drawn) for drawn in DRAWN]
    assert len(set(ways)) == len(ways)
    for drawn, way in zip(DRAWN, ways, strict=True):
        low, high = notes.VELOCITIES[drawn.note.loudness]
        assert way.pitch == drawn.note.pitch and low <= way.velocity <= high and abs(way.cents) <= 12


def test_a_caption_is_rendered_again_with_other_details_and_by_seed():
    caption = "A fiddle plays a soft sustained A in octave four."
    first, again, other = (notes.render_caption(caption, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.corrcoef(first, other)[0, 1]) < 0.9
    assert semitones(first) == pytest.approx(69, abs=0.35) == semitones(other)


def test_without_the_soundfont_the_package_is_named(monkeypatch):
    monkeypatch.setattr(fluidsynth, "SOUNDFONT", "share/sounds/sf2/none.sf2")
    with pytest.raises(InputError, match="timgm6mb-soundfont"):
        notes.render_caption("A cello plays a soft D in octave three.", 0)


def test_without_the_synthesizer_the_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CORE_SOUNDS", "/usr")
    with pytest.raises(InputError, match="fluidsynth"):
        notes.render_caption("A cello plays a soft D in octave three.", 0)


@pytest.fixture
def few(monkeypatch, tmp_path):
    """Two notes an instrument, kept in a folder of the test's own."""
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path))
    monkeypatch.setattr(notes, "PER_INSTRUMENT", 2)
    monkeypatch.setattr(notes, "captioned_notes", partial(notes.captioned_notes, per_instrument=2))
    return tmp_path


def test_notes_are_rendered_once_and_halved_within_each_instrument(few, monkeypatch):
    cohort = notes.COHORTS["notes"]()
    half_a, half_b = notes.halves()
    assert {clip.path.parent for clip in cohort.clips} == {few / "notes-v1"}
    assert all(len(read_audio(clip)) == 3 * SAMPLE_RATE for clip in cohort.clips[:5])
    assert (
        Counter(clip.group for clip in half_a) == Counter(clip.group for clip in half_b) == Counter(list(INSTRUMENTS))
    )
    inside = {clip.clip_id for clip in half_a}
    assert [clip.clip_id in inside for clip in cohort.clips] == [label == 1 for label in cohort.labels]
    assert "SYNTHETIC" in cohort.title and "GPL-2.0" in cohort.licence
    assert {clip.task for clip in cohort.clips} == {"music"}
    monkeypatch.setattr(notes, "render", lambda played: pytest.fail("rendered again"))
    assert notes.halves() == (half_a, half_b)


def test_the_truth_knows_who_was_trained_on_which_half(tmp_path):
    halves = notes.half_of()
    assert Counter(halves.values()) == {"A": 400, "B": 400}
    for name in list(halves)[:20]:
        clip = Clip(name, tmp_path / "none.flac", task="music")
        assert trained_on(clip, Training("A", "sounds")) == (halves[name] == "A")
        assert trained_on(clip, Training("A")) is False
