"""The decision: its order, its boundaries, and the sentences that say it."""

from dataclasses import replace

import pytest

from precompute.statistics.intervals import Estimate
from precompute.verdicts import Evidence, Verdict, blind_verdict, decide, printed_p

NAN = float("nan")


def at(value: float, half: float = 0.03, n: int = 500) -> Estimate:
    """An estimate with a symmetric interval."""
    ninety = half * 1.645 / 1.96
    low, high = value - half, value + half
    return Estimate(value, low, high, value - ninety, value + ninety, half / 1.96, n, n)


CLEAN = [("metadata", at(0.50)), ("text", at(0.51))]
SHIFTED = [*CLEAN, ("acoustic", at(0.70))]
NOTHING = Evidence(
    dataset="d",
    target="t",
    attack=at(0.51),
    adjusted=at(0.50),
    p=0.5,
    p_holm=0.5,
    tests=4,
    draws=999,
    lost=None,
    enough_groups=True,
    groups="No groups are given.",
    blind=CLEAN,
    direction=[("generated", at(0.5))],
)
FOUND = replace(NOTHING, attack=at(0.80), adjusted=at(0.78), p=0.001, p_holm=0.004, direction=[("generated", at(0.90))])


def verdict(base: Evidence = NOTHING, **changes) -> Verdict:
    return decide(replace(base, **changes))


def asked(found: Verdict) -> list[tuple[str, bool]]:
    """First words of the questions asked, and their answers."""
    return [(step.question.split()[0], step.answer) for step in found.steps]


# --- phase 1 ------------------------------------------------------------------------------------------------------


def test_blind_families_inside_the_margin_are_clean_by_these_learners():
    word, sentence = blind_verdict(CLEAN)
    assert word == "CLEAN" and "by these learners" in sentence and "0.45 to 0.55" in sentence


def test_one_family_clearly_above_the_margin_is_a_shift():
    word, sentence = blind_verdict([*CLEAN, ("acoustic", at(0.60))])
    assert word == "SHIFTED" and "acoustic features alone reach AUC 0.60 [0.57, 0.63]" in sentence
    assert "500 members and 500 non-members" in sentence and "Holm over 3 families" in sentence


@pytest.mark.parametrize("value", [0.535, 0.46, 0.40, 0.57])
def test_a_family_that_is_neither_inside_nor_above_is_undecided(value):
    word, sentence = blind_verdict([("text", at(value)), *CLEAN])
    assert word == "UNDECIDED" and f"text blind AUC, {value:.2f}" in sentence


def test_the_number_of_families_raises_the_bar_for_a_shift():
    # z = 2 above the margin: p = 0.023 alone, 0.114 over five.
    value = 0.55 + 2.0 * 0.03 / 1.96
    assert blind_verdict([("text", at(value))])[0] == "SHIFTED"
    assert blind_verdict([("text", at(value)), *[(f"f{i}", at(0.5)) for i in range(4)]])[0] == "UNDECIDED"


def test_the_90_percent_interval_decides_what_is_clean():
    # Upper end 0.52 + 1.645 / 1.96 half = 0.55 at half = 0.03574.
    assert blind_verdict([("text", at(0.52, 0.0357))])[0] == "CLEAN"
    assert blind_verdict([("text", at(0.52, 0.0358))])[0] == "UNDECIDED"


def test_an_undecided_phase_says_how_many_clips_a_verdict_takes():
    # z(0.95) + z(0.9) = 2.927 standard errors inside 0.05: (2.927 x 0.04 / 0.05)^2 x 250 = 1,370.
    _, sentence = blind_verdict([("text", at(0.5, 1.96 * 0.04, 250))])
    assert "a verdict of CLEAN takes about 1,3" in sentence


def test_without_blind_families_phase_one_is_undecided():
    assert blind_verdict([]) == ("UNDECIDED", "Phase 1 is UNDECIDED: there is no blind baseline for this dataset.")
    assert verdict(blind=[]).blind_family is None


def test_the_strongest_blind_family_is_named():
    found = verdict(blind=SHIFTED)
    assert found.phase1 == "SHIFTED" and found.blind_family == "acoustic" and found.blind == at(0.70)


# --- the endings, in their order -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"attack": None}, {"adjusted": None}, {"attack": at(NAN)}, {"adjusted": at(NAN)}]
)  # fmt: skip
def test_what_could_not_be_scored_is_undecided_and_nothing_else_is_asked(changes):
    found = verdict(FOUND, **changes)
    assert found.verdict == "UNDECIDED" and "could not be scored" in found.sentence
    assert asked(found) == [("Could", False)]
    if "adjusted" in changes:
        assert found.detectable is None


def test_lost_overlap_is_not_auditable_however_small_the_p():
    found = verdict(FOUND, lost="of 500 members only 12 (effective) are like the other class", blind=SHIFTED)
    assert found.verdict == "NOT AUDITABLE" and found.phase1 == "SHIFTED"
    assert "only 12 (effective)" in found.sentence and "raw AUC 0.80 [0.77, 0.83]" in found.sentence
    assert asked(found) == [("Could", True), ("Are", False)]
    assert any("same source" in change and "acoustic" in change for change in found.changes)


def test_an_adjusted_auc_above_chance_with_surer_members_is_a_leak_with_all_its_numbers():
    found = verdict(FOUND)
    assert found.verdict == "LEAK" and found.direction_auc == 0.90
    for number in (
        "LEAK: t on d: shift-adjusted AUC 0.78 [0.75, 0.81]",
        "p = 0.004 (Holm over 4, 999 label draws)",
        "raw AUC 0.80 [0.77, 0.83] on 500 members and 500 non-members",
        "strongest blind baseline (text) 0.51 [0.48, 0.54]",
        "AUC of mean NLL of the generated text 0.90 [0.87, 0.93]",
    ):
        assert number in found.sentence
    assert [answer for _, answer in asked(found)] == [True, True, True, True]


def test_a_shift_does_not_take_a_leak_away():
    found = verdict(FOUND, blind=SHIFTED)
    assert (found.phase1, found.verdict) == ("SHIFTED", "LEAK")


@pytest.mark.parametrize(("p", "word"), [(0.049, "LEAK"), (0.05, "NO LEAK SEEN"), (0.051, "NO LEAK SEEN")])
def test_the_corrected_p_decides_at_five_percent(p, word):
    assert verdict(FOUND, p=0.001, p_holm=p).verdict == word


def test_without_a_p_there_is_no_leak():
    assert verdict(FOUND, p=None, p_holm=None).verdict == "NO LEAK SEEN"


@pytest.mark.parametrize(
    ("nll", "word"),
    [
        (at(0.10), "REVERSED"),
        (at(0.46, 0.03), "REVERSED"),
        (at(0.48, 0.03), "UNDECIDED"),
        (at(0.50, 0.03), "UNDECIDED"),
        (at(0.52, 0.03), "LEAK"),
        (at(0.90), "LEAK"),
    ],
)
def test_the_direction_decides_between_leak_reversed_and_open(nll, word):
    found = verdict(FOUND, direction=[("generated", nll)])
    assert found.verdict == word
    assert found.steps[-1].answer is (word == "LEAK") and "surer" in found.steps[-1].because


def test_reversed_says_that_the_lists_look_swapped():
    assert "the lists look swapped" in verdict(FOUND, direction=[("generated", at(0.1))]).sentence


def test_a_direction_that_is_not_clear_is_said_to_be_so():
    assert "though not clearly so" in verdict(FOUND, direction=[("generated", at(0.52))]).sentence


def test_without_any_direction_a_difference_is_undecided():
    found = verdict(FOUND, direction=[])
    assert found.verdict == "UNDECIDED" and found.direction_auc is None and "nothing says" in found.sentence


def test_the_text_farthest_from_one_half_gives_the_direction():
    found = verdict(FOUND, direction=[("generated", at(0.52)), ("reference", at(0.05))])
    assert found.verdict == "REVERSED" and "of the reference text 0.05" in found.sentence


def test_too_few_groups_are_undecided_however_small_the_p():
    found = verdict(FOUND, enough_groups=False, groups="Labels go with whole groups (5 member, 9 non-member).")
    assert found.verdict == "UNDECIDED" and "has under 6 of them" in found.sentence
    assert asked(found)[-2:] == [("Is", False), ("Where", False)]
    assert found.steps[-1].because.startswith("Labels go with whole groups (5 member")
    assert any(change.startswith("At least 6 groups") for change in found.changes)


# 0.5 + 2.8016 se
@pytest.mark.parametrize(("se", "word"), [(0.0356, "NO LEAK SEEN"), (0.0358, "UNDECIDED")])
def test_an_audit_that_could_not_have_seen_0_60_is_undecided(se, word):
    found = verdict(adjusted=at(0.5, 1.96 * se, 120))
    assert found.verdict == word and found.detectable == pytest.approx(0.5 + 2.8016 * se, abs=1e-4)
    assert "an AUC of 0.60 or more would have been seen" in found.sentence
    assert found.steps[4].answer is False if word == "UNDECIDED" else found.steps[4].answer is True


def test_a_shift_that_the_raw_score_reads_is_shift_only():
    found = verdict(attack=at(0.70), blind=SHIFTED)
    assert found.verdict == "SHIFT ONLY"
    assert "raw AUC 0.70 [0.67, 0.73], but shift-adjusted AUC 0.50 [0.47, 0.53]" in found.sentence
    assert "reads the difference between the lists" in found.sentence and "(acoustic) 0.70" in found.sentence


@pytest.mark.parametrize(
    "changes", [{"attack": at(0.52), "blind": SHIFTED}, {"attack": at(0.70), "blind": CLEAN}]
)  # fmt: skip
def test_shift_only_takes_both_a_shift_and_a_raw_auc_above_chance(changes):
    assert verdict(**changes).verdict == "NO LEAK SEEN"


def test_power_is_asked_before_the_shift():
    assert verdict(attack=at(0.70), adjusted=at(0.5, 0.2), blind=SHIFTED).verdict == "UNDECIDED"


def test_nothing_found_says_what_would_have_been_found():
    found = verdict()
    # 0.5 + 2.8 x 0.03 / 1.96
    assert found.verdict == "NO LEAK SEEN" and "AUC of 0.54 or more would have been seen (power 80%)" in found.sentence
    assert "a smaller one may be there" in found.sentence
    assert [answer for _, answer in asked(found)] == [True, True, False, True, True, False]


# --- what would change it ------------------------------------------------------------------------------------------


def test_more_clips_are_counted_by_the_square_of_the_gap():
    # (0.0428 / 0.03)^2 x 500 per class = 1,021.
    assert any("About 1,02" in change and "AUC 0.53" in change for change in verdict().changes)
    few = verdict(adjusted=at(0.5, 0.12, 60))
    # 2.8016 x 0.12 / 1.96 = 0.1715: (0.1715 / 0.1)^2 x 60 = 177.
    assert any("About 177 clips per class" in change and "AUC 0.60" in change for change in few.changes)


def test_an_audit_that_could_see_everything_asks_for_no_more_clips():
    assert verdict(adjusted=at(0.5, 0.005, 9000)).changes == ()


def test_a_leak_says_what_would_refute_it():
    for found in (verdict(FOUND), verdict(FOUND, direction=[("generated", at(0.1))])):
        assert any("never met these clips" in change for change in found.changes)
        assert any("no blind feature measures" in change for change in found.changes)
        assert not any("clips per class" in change for change in found.changes)


def test_shift_only_asks_for_lists_that_do_not_differ():
    assert any("Lists that do not differ" in c for c in verdict(attack=at(0.70), blind=SHIFTED).changes)


@pytest.mark.parametrize(("p", "text"), [(0.001, "0.001"), (0.0124, "0.012"), (0.0996, "0.100"), (0.3, "0.30")])
def test_a_p_is_printed_with_the_digits_that_count(p, text):
    assert printed_p(p) == text


def test_every_sentence_begins_with_its_verdict_and_ends_in_a_full_stop():
    cases = [NOTHING, FOUND, replace(FOUND, lost="because"), replace(FOUND, attack=None)]
    cases += [replace(NOTHING, attack=at(0.7), blind=SHIFTED), replace(FOUND, enough_groups=False)]
    cases += [replace(FOUND, direction=[("reference", at(v))]) for v in (0.1, 0.49, 0.51)]
    for case in cases:
        found = decide(case)
        assert found.sentence.startswith(f"{found.verdict}: t on d: ") and found.sentence.endswith(".")
        assert found.phase1_sentence.endswith(".") and "nan" not in found.sentence
        assert len(found.steps) == len({step.question for step in found.steps})


# --- defects -------------------------------------------------------------------------------------------------------


def test_a_constant_score_could_not_have_seen_anything():
    flat = Estimate(0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 500, 500)
    assert verdict(attack=flat, adjusted=flat, p=1.0, p_holm=1.0).verdict == "UNDECIDED"


def test_an_adjusted_auc_clearly_below_chance_is_not_called_nothing():
    low = at(0.10)
    found = verdict(attack=low, adjusted=low, p=1.0, p_holm=1.0, direction=[("given", low)])
    assert found.verdict in ("REVERSED", "UNDECIDED")


def test_an_open_direction_says_what_would_settle_it():
    assert verdict(FOUND, direction=[("generated", at(0.49))]).changes
