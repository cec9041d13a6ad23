"""The planted-truth study: worlds are what they say, draws repeat, nothing is lost on a kill, and the bars hold."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from precompute.__main__ import main
from precompute.claims import BOUND, LENGTH, TEXT_KNOWN
from precompute.indicators import INDICATORS
from precompute.statistics.roc import auc
from precompute.validate import grids, readings, simulated, study
from precompute.validate.simulated import WORLDS, audit_draw, draw, leak_direction, population, true_auc

ROOT = Path(__file__).parents[1]


def drawn_once(name: str, n: int = 4000):
    return draw(WORLDS[name], n, np.random.default_rng(3))


@pytest.mark.parametrize("leak", [0.55, 0.6, 0.7])
def test_the_leak_is_of_the_size_it_says_and_minus_nll_carries_it(leak):
    name = f"S2-{leak:.2f}"
    fresh, _ = population(name)
    # Length moves nll as well, in both classes alike; given length it is the best line.
    given_length = -(fresh.indicators[:, INDICATORS.index("nll")] + 0.6 * fresh.covariates[:, 0])
    assert auc(fresh.labels, given_length) == pytest.approx(leak, abs=0.012)


def test_the_direction_of_a_leak_has_the_stated_distance():
    covariance = np.cov(simulated.indicator_noise(np.random.default_rng(0), 20_000).T)
    d = leak_direction(0.7)
    assert ndtr(np.sqrt(d @ np.linalg.solve(covariance, d) / 2)) == pytest.approx(0.7, abs=0.01)


def test_a_shift_moves_labels_with_length_and_nothing_else():
    drawn = drawn_once("S1")
    assert auc(drawn.labels, drawn.covariates[:, 0]) > 0.7
    assert auc(drawn.labels, drawn.covariates[:, 5]) == pytest.approx(0.5, abs=0.02)


def test_speakers_have_one_class_each_and_copies_share_their_row():
    speakers, copies = drawn_once("S7", 200), drawn_once("S8", 200)
    classes = {group: set(speakers.labels[[g == group for g in speakers.groups]]) for group in set(speakers.groups)}
    assert len(classes) == 80 and all(len(found) == 1 for found in classes.values())
    pairs = {key: [i for i, k in enumerate(copies.copies) if k == key] for key in set(copies.copies) - {None}}
    assert len(pairs) == 8 and all(len(rows) == 2 for rows in pairs.values())
    assert all(np.array_equal(copies.indicators[i], copies.indicators[j]) for i, j in pairs.values())


def test_the_true_auc_of_an_attack_without_a_leak_is_one_half():
    drawn = drawn_once("S0", 150)
    folds = np.arange(300) % 10
    value = true_auc("S0", drawn.indicators, drawn.labels, np.ones(300), folds, False)
    assert value == pytest.approx(0.5, abs=0.01)


def test_a_draw_repeats_to_the_last_digit():
    first, second = audit_draw("S3", 60, 5), audit_draw("S3", 60, 5)
    assert first == second and first != audit_draw("S3", 60, 6)


def test_a_strong_leak_is_found_and_a_pure_shift_is_not_called_one():
    leaks = [audit_draw("S2-0.70", 200, i)["verdict"] for i in range(6)]
    shifts = [audit_draw("S1", 200, i)["verdict"] for i in range(6)]
    assert leaks.count("LEAK") >= 5 and shifts.count("LEAK") <= 1


@pytest.mark.parametrize("world", ["S4", "S6", "S9"])
def test_grids_are_told_apart(world):
    assert sum(grids.read_draw(world, 250, i)["right"] for i in range(5)) >= 4


def test_a_binding_needs_many_clips_and_is_never_read_into_the_other_worlds():
    said = {world: [grids.read_draw(world, 1000, i)["claims"] for i in range(2)] for world in grids.WORLDS}
    assert all(BOUND not in claims for world in ("S4", "S6", "S9") for claims in said[world])
    assert any(BOUND in claims for claims in said["S5"])


def test_what_must_be_said_and_what_must_not():
    assert grids.rightly_read((LENGTH,), (BOUND,), [LENGTH, TEXT_KNOWN])
    assert not grids.rightly_read((LENGTH,), (BOUND,), [LENGTH, BOUND])
    assert not grids.rightly_read((LENGTH,), (BOUND,), [])


def line(world: str, index: int, verdict: str, truth: float = 0.5, blind: float = 0.5, p: float = 0.5) -> dict:
    interval = [0.5, 0.45, 0.55, truth]
    return {
        **{"world": world, "n_per_class": 250, "draw": index, "verdict": verdict, "phase1": "CLEAN", "p": 0.5},
        **{"detectable": 0.58, "raw": interval, "adjusted": interval, "paper": [blind, p]},
    }


def test_rates_are_counted_as_they_are_by_hand():
    rows = [line("S0", i, "LEAK" if i < 2 else "NO LEAK SEEN", truth=0.6 if i == 0 else 0.5) for i in range(20)]
    rows[5]["paper"] = [0.6, 0.01]
    audit, strict, loose = study.summarise(rows, "c")["rows"]
    assert (audit["false_leak"], audit["wrong"], audit["power"]) == (0.1, 0.1, None)
    assert audit["false_leak_low"] == pytest.approx(0.0123, abs=1e-4)  # Clopper and Pearson, 2 of 20
    assert audit["false_leak_high"] == pytest.approx(0.3170, abs=1e-4)
    assert audit["coverage_raw"] == 0.95 and audit["verdicts"] == {"LEAK": 2, "NO LEAK SEEN": 18}
    # Blind 0.60 is a shift to an eye that stops at 0.55, and clean to one that lets 0.667 pass.
    assert (strict["false_leak"], strict["false_shifted"]) == (0.0, 0.05)
    assert (loose["false_leak"], loose["false_shifted"]) == (0.05, 0.0)


def test_no_leak_seen_is_wrong_where_a_leak_of_that_size_should_have_been_seen():
    rows = [line("S2-0.60", 0, "NO LEAK SEEN", 0.59), line("S2-0.60", 1, "LEAK"), line("S2-0.60", 2, "UNDECIDED")]
    audit = study.summarise(rows, "c")["rows"][0]
    # The lines say that an AUC of 0.58 would have been seen.
    assert study.summarise([line("S2-0.60", 0, "NO LEAK SEEN", 0.57)], "c")["rows"][0]["wrong"] == 0
    assert audit["wrong"] == pytest.approx(1 / 3, abs=1e-4) and audit["power"] == pytest.approx(1 / 3, abs=1e-4)


def test_a_killed_study_goes_on_where_it_was(tmp_path):
    command = [sys.executable, "-m", "precompute", "validate", "--world", "S0", "--per-class", "60"]
    command += ["--draws", "200", "--jobs", "1", "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    log = tmp_path / "draws.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.is_file() and log.read_text().count("\n") >= 8):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = log.read_text().splitlines()[:8]
    log.write_text("\n".join(kept) + '\n{"world": "S0", "n_per')  # a line that the kill cut off
    rows = study.run(study.jobs(10, ["S0"], [60]), log, 1)
    assert [row["draw"] for row in rows] == list(range(10))
    assert log.read_text().splitlines()[:8] == kept and len(log.read_text().splitlines()) == 10


def test_the_command_prints_the_table_and_refuses_unknown_worlds(tmp_path, capsys):
    out = ["--out", str(tmp_path), "--draws", "2", "--per-class", "60", "--jobs", "1"]
    assert main(["validate", "--world", "S0", "--world", "S4", *out]) == 0
    printed = capsys.readouterr().out
    assert "false LEAK" in printed and "paper 0.55" in printed and "S4" in printed
    assert main(["validate", "--world", "S99", *out]) == 2
    assert "no such world: S99" in capsys.readouterr().err
    assert main(["validate", "--world", "S0", "--draws", "1", "--per-class", "10", "--out", str(tmp_path)]) == 2


def test_a_folder_without_worlds_is_refused_in_a_sentence(tmp_path, capsys):
    common = ["validate", "--world", "S0", "--draws", "1", "--per-class", "60", "--jobs", "1", "--out", str(tmp_path)]
    assert main([*common, "--trained", str(tmp_path)]) == 2
    assert "holds no finished world" in capsys.readouterr().err


@pytest.fixture(scope="module")
def published() -> dict:
    return json.loads(study.PUBLISHED.read_text())


def rows_of(published: dict, worlds: tuple[str, ...], method: str = "audit") -> list[dict]:
    return [row for row in published["rows"] if row["world"] in worlds and row["method"] == method]


def test_the_committed_study_has_a_thousand_draws_of_every_world(published):
    drawn = {row["world"]: row["draws"] for row in published["rows"] if row["method"] == "audit"}
    assert set(drawn) == {*WORLDS, *grids.WORLDS} and min(drawn.values()) >= 1000


def test_the_committed_study_meets_the_bar_for_false_leaks(published):
    for row in rows_of(published, ("S0", "S1", "S7", "S8")):
        assert row["false_leak"] <= 0.05 and row["false_leak_high"] <= 0.07, row


def test_the_committed_intervals_cover_what_they_promise(published):
    for row in rows_of(published, tuple(WORLDS)):
        # Far from chance they are wider than they need be (README), never narrower.
        widest = 0.985 if row["effect"] >= 0.7 or WORLDS[row["world"]].shift else 0.97
        for kind in ("raw", "adjusted"):
            assert 0.93 <= row[f"coverage_{kind}"] <= widest, row


def test_the_committed_power_and_readings_meet_the_bars(published):
    large = [row for row in published["rows"] if row["n_per_class"] == 1000 and row["method"] == "audit"]
    assert {row["world"] for row in large} >= {"S2-0.60", "S5"}
    # S5 needs 1,000 clips a class: under that, the reference row cannot be shown to have collapsed below 0.55.
    small = [row for row in rows_of(published, ("S4", "S6", "S9")) if row["n_per_class"] == 250]
    for row in [*[row for row in large if row["world"] in ("S2-0.60", "S5")], *small]:
        assert row["power"] >= 0.9, row


def test_every_trained_world_and_seed_is_read_rightly_or_explained(published):
    assert {(row["world"], row["seed"]) for row in published["trained"]} >= {
        (world, seed) for world in readings.EXPECTED for seed in range(3)
    }
    assert all(row["right"] for row in published["trained"])


def test_the_adjustment_recovers_the_planted_shift_of_the_embedded_speech(published):
    for row in published["embedded"]:
        assert row["adjusted_low"] <= row["truth"] <= row["adjusted_high"], row
