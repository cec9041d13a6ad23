"""Synthetic sound scenes: what is heard is what the caption says, and its wording cannot be heard."""

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from precompute.clips import SAMPLE_RATE, InputError, read_audio
from precompute.corpora import scenes
from precompute.corpora.core_sounds import COHORTS as SPEECH_COHORTS
from precompute.corpora.core_sounds import normalise
from precompute.corpora.scene_sounds import BACKGROUNDS, HAPPENINGS
from precompute.corpora.scene_words import CLAUSES, SENTENCES, Event, Scene, describe, understand
from precompute.truth import Training, half_of, trained_on

DRAWN = scenes.captioned_scenes()


def sound_of(event: Event, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    make, _ = (BACKGROUNDS | HAPPENINGS)[event.kind]
    return make(np.random.default_rng(seed), seconds, event.how, event.count)


def pitch_of(samples: np.ndarray) -> float:
    """Frequency in Hz of the strongest partial."""
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * SAMPLE_RATE / len(samples))


def strokes(samples: np.ndarray) -> int:
    """Stretches of at least 10 ms in which the level is above a tenth of its highest."""
    level = np.sqrt(np.mean(samples[: len(samples) // 160 * 160].reshape(-1, 160) ** 2, axis=1))
    loud = np.r_[False, level > 0.1 * level.max()]
    return int((loud[1:] & ~loud[:-1]).sum())


def test_every_caption_tells_its_scene():
    for drawn in DRAWN:
        assert understand(drawn.caption) == drawn.scene


def test_no_two_scenes_are_worded_alike():
    assert len({normalise(drawn.caption) for drawn in DRAWN}) == len(DRAWN) == scenes.PER_KIND * len(scenes.KINDS)


def test_every_kind_manner_clause_and_sentence_is_used():
    events = [e for d in DRAWN for e in (*d.scene.events, *([d.scene.background] if d.scene.background else []))]
    assert {(e.kind, e.how) for e in events} == set(CLAUSES)
    said = " ".join(drawn.caption.casefold() for drawn in DRAWN)
    assert all(clause.split("{n}")[0] in said for clauses in CLAUSES.values() for clause in clauses)
    assert all(any(d.caption.startswith(s.split("{")[0]) for d in DRAWN) for ways in SENTENCES.values() for s in ways)


def test_an_annotator_words_one_scene_in_many_ways_that_all_mean_it():
    scene = Scene(Event("rain", "heavy"), (Event("dog", "small", 3), Event("bell", "large", 2)))
    ways = {describe(scene, np.random.default_rng(seed)) for seed in range(200)}
    assert len(ways) > 100
    assert all(understand(way) == scene for way in ways)


def test_what_comes_after_is_understood_as_coming_first_where_the_words_stand_the_other_way_round():
    dog, bell = Event("dog", "small", 1), Event("bell", "small", 2)
    assert understand("A puppy barks once after a high bell chimes twice.") == Scene(None, (bell, dog))
    assert understand("A puppy barks once before a high bell chimes twice.") == Scene(None, (dog, bell))


def test_words_between_known_sounds_are_passed_over_and_a_third_event_too():
    heard = understand("the sea is rough, I think; metal clangs twice!! a bird trills. a whistle goes up.")
    assert heard == Scene(Event("waves", "rough"), (Event("knock", "metal", 2), Event("bird", "trilling")))


def test_a_caption_of_unknown_sounds_is_refused():
    with pytest.raises(InputError, match="no known sound is named in the caption"):
        scenes.render_caption("A kettle sings.", 0)


def test_the_wording_cannot_be_heard():
    drawn = next(d for d in DRAWN if len(d.scene.events) == 2)
    other = describe(drawn.scene, np.random.default_rng(5))
    assert other != drawn.caption
    np.testing.assert_array_equal(scenes.render_number(drawn), scenes.render_number(replace(drawn, caption=other)))


def test_scenes_are_the_same_every_time_and_no_two_sound_alike():
    one, two = DRAWN[3], replace(DRAWN[3], number=DRAWN[3].number + 14)
    np.testing.assert_array_equal(scenes.render_number(one), scenes.render_number(one))
    assert np.abs(np.corrcoef(scenes.render_number(one), scenes.render_number(two))[0, 1]) < 0.9


@pytest.mark.parametrize("number", range(0, 140, 7))
def test_a_scene_lasts_four_seconds_is_not_clipped_and_not_silent(number):
    samples = scenes.render_number(DRAWN[number])
    assert samples.shape == (4 * SAMPLE_RATE,) and samples.dtype == np.float32
    assert np.isfinite(samples).all() and 0.02 < np.abs(samples).max() < 1
    assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.08


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(("kind", "how"), [("knock", "wood"), ("beep", "high"), ("dog", "small"), ("dog", "big")])
def test_a_sound_happens_as_often_as_the_caption_says(kind, how, count):
    assert strokes(sound_of(Event(kind, how, count), 1.75)) == count


def test_the_second_event_begins_when_the_first_is_over():
    scene = Scene(None, (Event("beep", "low", 1), Event("beep", "high", 1)))
    samples = scenes.render(scene, np.random.default_rng(0))
    first, second = samples[: 2 * SAMPLE_RATE], samples[2 * SAMPLE_RATE :]
    assert 350 <= pitch_of(first) <= 550 and 1500 <= pitch_of(second) <= 2200


def test_manners_sound_like_what_they_are_called():
    rising, falling = (sound_of(Event("whistle", how)) for how in ("rising", "falling"))
    quarter = SAMPLE_RATE // 4
    assert pitch_of(rising[:quarter]) < pitch_of(rising[quarter : 2 * quarter])
    assert pitch_of(falling[:quarter]) > pitch_of(falling[quarter : 2 * quarter])
    assert pitch_of(sound_of(Event("bell", "large"))) < 800 < pitch_of(sound_of(Event("bell", "small")))
    assert strokes(sound_of(Event("clock", "fast"))) > 2 * strokes(sound_of(Event("clock", "slow")))
    light, heavy = (np.median(np.abs(sound_of(Event("rain", how)))) for how in ("light", "heavy"))
    assert heavy > 3 * light


def test_a_caption_is_rendered_again_with_other_details_and_by_seed():
    caption = "A hound bays twice while it is raining hard."
    first, again, other = (scenes.render_caption(caption, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.corrcoef(first, other)[0, 1]) < 0.9
    assert first.shape == (4 * SAMPLE_RATE,)


@pytest.fixture
def few(monkeypatch, tmp_path):
    """Four scenes a kind, kept in a folder of the test's own."""
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path))
    monkeypatch.setattr(scenes, "PER_KIND", 4)
    monkeypatch.setattr(scenes, "captioned_scenes", partial(scenes.captioned_scenes, per_kind=4))
    return tmp_path


def test_scenes_are_rendered_once_as_16_bit_flac(few, monkeypatch):
    clips = [clip for half in scenes.halves() for clip in half]
    assert len(clips) == 4 * len(scenes.KINDS)
    assert {clip.path.parent for clip in clips} == {few / "scenes-v1"}
    clip = next(clip for clip in clips if clip.clip_id.endswith("0003"))
    expected = scenes.render_number(DRAWN[3])
    np.testing.assert_allclose(read_audio(clip), expected, atol=2**-15)
    monkeypatch.setattr(scenes, "render_number", lambda scene: pytest.fail("rendered again"))
    assert [clip for half in scenes.halves() for clip in half] == clips


def test_halves_share_no_scene_and_have_each_kind_equally_often(few):
    half_a, half_b = scenes.halves()
    assert Counter(clip.group for clip in half_a) == Counter(clip.group for clip in half_b)
    assert not {clip.clip_id for clip in half_a} & {clip.clip_id for clip in half_b}
    assert {clip.clip_id for clip in scenes.halves(seed=1)[0]} != {clip.clip_id for clip in half_a}


def test_the_cohort_says_what_it_is(few):
    cohort = scenes.COHORTS["scenes"]()
    half_a = {clip.clip_id for clip in scenes.halves()[0]}
    assert [clip.clip_id in half_a for clip in cohort.clips] == [label == 1 for label in cohort.labels]
    assert "SYNTHETIC" in cohort.title and "SYNTHETIC" in cohort.description
    assert {(clip.task, clip.language) for clip in cohort.clips} == {("sound", "en")}


def test_the_truth_knows_who_was_trained_on_which_half():
    named = {scenes.clip_id(drawn): drawn for drawn in DRAWN}
    halves = scenes.half_of()
    assert set(halves) == set(named)
    clips = [replace(SPEECH_COHORTS["core-clean"]().clips[0], clip_id=name) for name in list(halves)[:30]]
    for clip in clips:
        assert half_of(clip) == halves[clip.clip_id]
        assert trained_on(clip, Training("A", "sounds")) == (halves[clip.clip_id] == "A")
        assert trained_on(clip, Training("B", "sounds")) == (halves[clip.clip_id] == "B")
        assert trained_on(clip, Training("A")) is False
        assert trained_on(clip, None) is None
    stranger = replace(clips[0], clip_id="scenes/of-somebody-else")
    assert trained_on(stranger, Training("A", "sounds")) is None
