"""Whether a target takes in what it captions, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from precompute import evidence, results
from precompute.claims import CANNOT_HEAR, CANNOT_READ, CAPTION_KNOWN, CAPTIONS, SOUND_BOUND, claims
from precompute.hearing import hearing, is_captioned, own_caption_shares
from precompute.tables import cells_of
from tests.fake_scores import FakeAudit, FakeDataset, fake_audit, few_draws
from tests.test_claims import BOUND_GRID, KNOWN_GRID, READ, moved

BARKS = ["A dog barks twice.", "Rain falls on a roof.", "A bell rings once."]


def test_who_writes_each_clips_own_caption_is_always_nearest_to_it():
    assert own_caption_shares(BARKS, BARKS).tolist() == [1.0, 1.0, 1.0]


def test_who_writes_another_clips_caption_is_nearest_to_that():
    # Written for each clip: the next one's caption. That one is nearer, the third is as far away as the own.
    assert own_caption_shares(["a b", "c d", "e f"], ["c d", "e f", "a b"]).tolist() == [0.25, 0.25, 0.25]


def test_one_text_for_all_clips_is_worth_exactly_one_half_whatever_it_says():
    for text in ("A dog barks twice.", "Rain, rain, rain and a bell", ""):
        assert own_caption_shares(BARKS, [text] * 3).mean() == 0.5


def test_the_distance_is_the_word_error_rate_and_not_the_number_of_edits():
    # "a b" is one edit from both captions: half the words of "a", a third of those of "a b c" after one insertion.
    assert own_caption_shares(["a", "a b c"], ["a b", "a b"]).tolist() == [0.0, 1.0]


def test_case_and_punctuation_do_not_count():
    assert own_caption_shares(BARKS, [text.upper().rstrip(".") for text in BARKS]).tolist() == [1.0, 1.0, 1.0]


def test_the_interval_of_the_mean_is_that_of_the_clips_or_of_the_units_they_come_in():
    shares = np.array([1.0, 0.5, 1.0, 0.5])
    alone = hearing(shares, np.arange(4))
    # Deviations of a quarter: sqrt(4 * (1/4)^2 * 4/3) / 4 = 0.1443
    assert (alone.share, alone.low) == (pytest.approx(0.75), pytest.approx(0.75 - 1.96 * 0.14434, abs=1e-4))
    paired = hearing(shares, np.array([0, 1, 0, 1]))
    # Sums of a half in two units: sqrt(2 * (1/2)^2 * 2/1) / 4 = 1/4
    assert (paired.low, paired.high) == (pytest.approx(0.75 - 1.96 / 4), 1.0)


def test_one_clip_alone_says_nothing():
    assert np.isnan(own_caption_shares(["a"], ["a"])).all()
    assert np.isnan(hearing(np.array([0.9, np.nan]), np.arange(2)).low)


def test_what_a_listener_writes_is_above_chance_and_what_a_guesser_writes_is_not():
    rng = np.random.default_rng(0)
    captions = [" ".join(rng.choice(list("abcdefghij"), 6)) for _ in range(200)]
    heard = [" ".join(w if rng.random() < 0.4 else rng.choice(list("abcdefghij")) for w in c.split()) for c in captions]
    guessed = [captions[i] for i in rng.permutation(200)]
    assert hearing(own_caption_shares(captions, heard), np.arange(200)).low > 0.6
    guess = hearing(own_caption_shares(captions, guessed), np.arange(200))
    assert guess.low < 0.5 < guess.high


@pytest.mark.parametrize(
    ("tasks", "wanted"),
    [
        (["sound", "music"], True),
        (["sound", "speech"], False),
        (["speech", "speech"], False),
        (["sound", None], False),
    ],
)
def test_texts_are_captions_where_no_clip_is_speech(tasks, wanted):
    assert is_captioned(pd.DataFrame({"task": tasks})) is wanted


def test_a_table_without_tasks_holds_transcripts():
    assert not is_captioned(pd.DataFrame({"text": ["a"]}))


@pytest.fixture(scope="module")
def captioned() -> tuple[FakeAudit, evidence.Dataset]:
    fake = fake_audit([FakeDataset("sounds", 60, leak=2.0)])
    fake.clips["task"] = "sound"
    fake.scores["wer"] = 0.95
    with few_draws():
        return fake, evidence.find(fake.clips, fake.scores, fake.blind).datasets["sounds"]


def grid_of(fake: FakeAudit, data: evidence.Dataset) -> dict[tuple[str, str], dict]:
    rows = results.condition_rows(data, "fake-target", cells_of(fake.scores), 1.0)
    return {(row["condition"], row["scored_text"]): row for row in rows if row["fit"] == "refit"}


def test_captions_are_judged_by_whose_caption_is_nearest_and_not_by_word_error(captioned):
    fake, data = captioned
    row = grid_of(fake, data)["original", "generated"]
    assert row["wer_non_member"] == pytest.approx(0.95) and row["readable"] is True
    assert (row["own_caption"], row["own_caption_low"]) == (pytest.approx(1.0, abs=0.01), pytest.approx(1.0, abs=0.02))


def test_only_non_members_tell_since_members_captions_may_be_known_by_heart(captioned):
    fake, data = captioned
    scores = fake.scores.copy()
    outsiders = scores["label"] == 0
    scores.loc[outsiders, "generated_text"] = "the same for all"
    found = grid_of(FakeAudit(**{**vars(fake), "scores": scores}), data)["original", "generated"]
    assert found["own_caption"] == pytest.approx(0.5)
    assert found["readable"] is False


def test_realizations_are_averaged_before_the_interval_and_silence_is_judged_on_the_original(captioned):
    fake, data = captioned
    scores = fake.scores.copy()
    deaf = (scores["condition"] == "resynthesis") & (scores["realization"] == 0)
    scores.loc[deaf, "generated_text"] = "the same for all"
    found = grid_of(FakeAudit(**{**vars(fake), "scores": scores}), data)
    assert found["resynthesis", "generated"]["own_caption"] == pytest.approx((0.5 + 1 + 1) / 3, abs=0.01)
    scores.loc[scores["condition"] == "silence", "generated_text"] = "the same for all"
    assert grid_of(FakeAudit(**{**vars(fake), "scores": scores}), data)["silence", "generated"]["readable"] is True


def test_without_captions_it_is_not_known_whether_they_are_made_out(captioned):
    fake, data = captioned
    bare = evidence.Dataset(data.name, data.clips.assign(text=None), data.sample, data.weights)
    assert grid_of(fake, bare)["original", "generated"]["readable"] is None


def said(grid: dict, readable: dict) -> list:
    return claims(grid, 0.55, readable, moved(), (0.0, -0.05, 0.05), words=CAPTIONS)


def test_claims_about_captions_speak_of_captions_and_recordings():
    (bound,) = said(BOUND_GRID, READ)
    assert bound.claim == SOUND_BOUND
    assert bound.sentence.startswith("bound to the recording (known caption: 0.95")
    (known,) = said(KNOWN_GRID, READ)
    assert known.claim == CAPTION_KNOWN
    assert "the recording adds 0.15" in known.sentence
    for claim in (bound, known):
        assert "voice" not in claim.sentence and "transcript" not in claim.sentence


def test_a_target_that_cannot_make_out_the_audio_is_said_to_write_no_nearer_caption():
    found = said(BOUND_GRID, {**READ, "resynthesis": False})
    (unread,) = [claim for claim in found if claim.claim == CANNOT_HEAR]
    assert "no nearer to that clip's caption than to another's" in unread.sentence
    assert CANNOT_READ not in [claim.claim for claim in found] and SOUND_BOUND not in [claim.claim for claim in found]
