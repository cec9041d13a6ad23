"""Near copies: what the fingerprint and the waveforms say of recordings whose relation is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precompute.clips import resample
from precompute.copies import AROUND, RATE, Copy, Index, compare, fingerprint, near_copies
from precompute.corpora.core_sounds import recordings


def noise(seconds, seed=0):
    """White noise: nothing in it resembles anything else."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)


def test_a_frame_every_16_ms_gives_32_bits():
    found = fingerprint(noise(2.0), RATE)
    # (2 s - 256 ms) / 16 ms = 109 steps between 110 frames.
    assert found.bits.shape == found.loud.shape == (109,)
    assert found.bits.dtype == np.uint32
    assert len(np.unique(found.bits)) > 100


@pytest.mark.parametrize("samples", [0, 1, 100, 2048])
def test_the_shortest_clips_have_a_frame_and_digital_silence_is_looked_up_nowhere(samples):
    found = fingerprint(np.zeros(samples, dtype=np.float32), RATE)
    assert len(found.bits) == 1 and not found.loud.any()


def test_level_polarity_and_rate_do_not_change_the_bits_much():
    whole = noise(2.0)
    bits = fingerprint(whole, RATE).bits
    assert np.array_equal(fingerprint(-0.25 * whole, RATE).bits, bits)
    other = fingerprint(resample(whole, RATE, 22050), 22050).bits[: len(bits)]
    assert np.bitwise_count(other ^ bits).sum() < 0.02 * 32 * len(bits)


def test_unrelated_sounds_differ_in_about_half_of_their_bits_and_are_no_candidates():
    clips = [fingerprint(noise(3.0, seed), RATE) for seed in range(20)]
    shares = [np.bitwise_count(a.bits ^ b.bits).mean() / 32 for a in clips[:10] for b in clips[10:]]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    index = Index(clips[:10])
    assert all(index.alike(clip) == [] for clip in clips[10:])


def test_a_clip_finds_itself_first_in_an_index_that_holds_it():
    clips = [fingerprint(noise(1.0 + 0.2 * seed, seed), RATE) for seed in range(8)]
    index = Index(clips)
    assert [index.alike(clip) for clip in clips] == [[position] for position in range(8)]
    assert Index([]).alike(clips[0]) == []


def test_frames_of_a_neighbour_in_the_index_are_not_counted_as_a_clip_s_own():
    """Both clips begin alike and go on differently, so that the comparison has to stop at the end of the first."""
    start = noise(0.5, 1)
    index = Index([fingerprint(start, RATE), fingerprint(noise(2.0, 2), RATE)])
    longer = fingerprint(np.concatenate([start, noise(2.0, 3)]), RATE)
    assert len(index.bits[: index.ends[1]]) < AROUND
    assert 0 in index.alike(longer)


@settings(max_examples=30, deadline=None)
@given(st.integers(-4000, 4000), st.floats(0.01, 3.0), st.booleans())
def test_a_shifted_copy_is_found_at_its_lag_whatever_its_level(lag, level, inverted):
    whole = noise(3.0)
    first, second = whole[max(0, -lag) :], (-level if inverted else level) * whole[max(0, lag) :]
    correlation, found, overlap = compare(first, second)
    assert found == lag
    assert overlap == len(whole) - abs(lag)
    assert correlation == pytest.approx(1.0, abs=1e-4)


def test_correlation_is_that_of_the_part_both_clips_hold():
    """Noise of half the level beside the copy: 1 / sqrt(1 + 1/4) = 0.894."""
    whole, other = noise(2.0), noise(2.0, 1)
    correlation, lag, overlap = compare(whole, (whole + 0.5 * other)[1600:])
    assert (lag, overlap) == (1600, 14400)
    assert correlation == pytest.approx(0.894, abs=0.01)


def test_an_overlap_of_under_half_the_shorter_clip_does_not_count():
    shared = noise(0.9, 5)
    first, second = np.concatenate([noise(1.1, 6), shared]), np.concatenate([shared, noise(1.1, 7)])
    assert compare(first, second)[0] < 0.2
    more = noise(1.2, 5)
    first, second = np.concatenate([noise(0.8, 6), more]), np.concatenate([more, noise(0.8, 7)])
    assert compare(first, second)[0] == pytest.approx(1.0, abs=1e-4)


def test_silence_and_the_shortest_clips_correlate_with_nothing():
    assert compare(np.zeros(800), noise(0.1))[0] == 0.0
    assert compare(np.zeros(800), np.zeros(800))[0] == 0.0
    assert compare(np.ones(1), -np.ones(1))[0] == pytest.approx(1.0)


def test_of_all_english_prompts_only_repeated_takes_are_copies():
    """Two halves of 553 recordings of one speaker; each pair that is flagged has one wording."""
    clips = [one.clip for one in recordings("en")]
    halves = clips[::2], clips[1::2]
    prints = [[fingerprint(*read(clip)) for clip in half] for half in halves]
    found = list(near_copies(*halves, (prints[0], prints[1])))
    names = {(halves[0][one.first].clip_id, halves[1][one.second].clip_id) for one in found}
    wordings = [
        [(halves[k][(one.first, one.second)[k]].text or "").strip(". ").lower() for k in (0, 1)] for one in found
    ]
    assert all(first == second for first, second in wordings)
    assert any("seconds" in first for first, _ in names)


def read(clip):
    import soundfile

    return soundfile.read(clip.path, dtype="float32")


def test_a_copy_says_where_and_how_much(tmp_path):
    import soundfile

    from precompute.clips import Clip

    whole = noise(3.0)
    soundfile.write(tmp_path / "whole.wav", whole, RATE)
    soundfile.write(tmp_path / "part.wav", 0.5 * whole[4000:20000], RATE)
    soundfile.write(tmp_path / "other.wav", noise(3.0, 9), RATE)
    first = [Clip("other", tmp_path / "other.wav"), Clip("whole", tmp_path / "whole.wav")]
    second = [Clip("part", tmp_path / "part.wav")]
    prints = [[fingerprint(*read(clip)) for clip in clips] for clips in (first, second)]
    (found,) = near_copies(first, second, (prints[0], prints[1]))
    assert found == Copy(1, 0, pytest.approx(1.0, abs=1e-3), 0.5, 2.0)
