"""A target behind a chat completions endpoint: what it tells and refuses, and an audit that says what is missing."""

import hashlib
import json
import logging
import threading
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.metrics import roc_auc_score

from precompute import blind, evidence
from precompute.__main__ import main
from precompute.attack import columns_of, fit_linear
from precompute.bundle import read_bundle
from precompute.clips import InputError
from precompute.corpora import find_cohorts
from precompute.indicators import EXTRAS, INDICATORS, LABEL_ONLY, STATISTICS, indicators
from precompute.labels import label_indicators
from precompute.report import render
from precompute.scores import Plan, score_clips
from precompute.single_clip import score_clip, sentence
from precompute.store import Store
from precompute.targets import endpoint as http
from precompute.targets.api import ApiTarget, address, load, statistics, wav
from precompute.targets.base import token_statistics
from tests.api_server import Endpoint, Refused, serving
from tests.fake_scores import WORDS, FakeDataset, fake_audit, few_draws

SECRET = "sk-planted-0123456789abcdef"
UNKNOWN = {"entropy", *(f"renyi_{alpha}_{k}" for alpha in ("0", "1", "2") for k in ("k0", "k10", "k100"))}
KNOWN = tuple(name for name in INDICATORS if name not in UNKNOWN)


def sound(seed: int = 0, n: int = 1600) -> np.ndarray:
    """Noise that a file of 16 bits holds exactly."""
    samples = np.random.default_rng(seed).integers(-8000, 8000, n)
    return (samples / 32768).astype(np.float32)


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """Pauses between tries, taken note of and not made."""
    made: list[float] = []

    class NoPause(threading.Event):
        def wait(self, timeout=None):
            made.append(timeout)

    monkeypatch.setattr(http, "Event", NoPause)
    return made


def failing(name: str) -> str:
    """The sentence with which a target cannot be loaded, which is one and holds no key."""
    with pytest.raises(InputError) as error:
        load(name)
    text = str(error.value)
    assert "\n" not in text and SECRET not in text and error.value.__cause__ is None
    return text


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_name_holds_the_model_and_the_address():
    found = address("api:Qwen/Qwen2-Audio-7B@https://host.example:8443/v1/")
    assert (found.model, found.url) == ("Qwen/Qwen2-Audio-7B", "https://host.example:8443/v1")
    assert found.id == "api:Qwen/Qwen2-Audio-7B@host.example:8443"
    assert address("api:@cf/some/model@https://host.example/a/b").model == "@cf/some/model"


@pytest.mark.parametrize("name", ["api:", "api:m", "api:m@host.example/v1", "api:m@ftp://host/v1", "api:@https://h/v1"])
def test_a_name_of_another_form_is_refused_with_the_form(name):
    with pytest.raises(InputError, match="named api:MODEL@https://HOST/v1"):
        address(name)


@pytest.mark.parametrize("rest", ["u:hunter2@h/v1", "hunter2@h/v1", "h/v1?key=hunter2", "h/v1#hunter2", "h:hunter2/v1"])
def test_an_address_that_may_hold_a_secret_is_refused_and_not_repeated(rest):
    with pytest.raises(InputError) as error:
        address(f"api:m@https://{rest}")
    assert "hunter2" not in str(error.value)


# --- numbers ---------------------------------------------------------------------------------------------------------


def told(logits: np.ndarray, chosen: np.ndarray, top: int) -> list[dict]:
    """What an endpoint would tell of these distributions."""
    log_p = torch.tensor(logits).log_softmax(-1).numpy()
    return [
        {
            "token": f"t{token}",
            "logprob": float(row[token]),
            "bytes": None,
            "top_logprobs": [{"token": f"t{i}", "logprob": float(row[i])} for i in np.argsort(-row)[:top]],
        }
        for row, token in zip(log_p, chosen, strict=True)
    ]


@pytest.mark.parametrize("greedy", [True, False])
def test_what_is_told_equals_what_the_whole_distribution_gives_and_the_rest_is_nan(greedy):
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((12, 500))
    chosen = logits.argmax(-1) if greedy else rng.integers(0, 500, 12)
    whole = token_statistics(torch.tensor(logits), torch.tensor(chosen)).numpy()
    stats = statistics(told(logits, chosen, 20), "some text")
    for index, name in enumerate(STATISTICS):
        if name in ("logprob", "renyi_inf", "gap"):
            np.testing.assert_allclose(getattr(stats, name), whole[:, index], rtol=1e-5, atol=1e-6)
        else:
            assert np.isnan(getattr(stats, name)).all()
    values = indicators(stats)
    assert {name for name in INDICATORS if np.isnan(values[name])} == UNKNOWN
    assert {name for name in EXTRAS if np.isnan(values[name])} == {"min_k_pp_10", "min_k_pp_20", "min_k_pp_100"}
    assert (values["nll"] == pytest.approx(values["renyi_inf_k100"])) is greedy


def test_hand_worked_numbers_of_two_tokens():
    tokens = [
        {"token": "a", "logprob": np.log(0.5), "top_logprobs": [{"logprob": np.log(p)} for p in (0.3, 0.5, 0.2)]},
        {"token": "b", "logprob": np.log(0.25), "top_logprobs": [{"logprob": np.log(p)} for p in (0.75, 0.25)]},
    ]
    values = indicators(statistics(tokens, "ab"))
    assert values["nll"] == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert values["prob_gap"] == pytest.approx((0.2 + 0.5) / 2)
    assert values["renyi_inf_k100"] == pytest.approx((np.log(2) - np.log(0.75)) / 2)
    assert values["zlib_ratio"] == pytest.approx(values["nll"] / len(zlib.compress(b"ab")))


def test_one_alternative_leaves_the_gap_unknown_and_none_the_min_entropy_too():
    one = {"token": "a", "logprob": -0.5, "top_logprobs": [{"logprob": -0.5}]}
    values = indicators(statistics([one, one], "aa"))
    assert np.isnan(values["prob_gap"]) and values["renyi_inf_k100"] == pytest.approx(0.5)
    values = indicators(statistics([{**one, "top_logprobs": []}], "a"))
    assert np.isnan(values["renyi_inf_k100"]) and values["nll"] == pytest.approx(0.5)


def test_a_token_whose_probability_is_not_told_excludes_its_text():
    tokens = [{"token": "a", "logprob": -0.5, "top_logprobs": []}, {"token": "b", "logprob": -9999.0}]
    assert np.isnan(list(indicators(statistics(tokens, "ab")).values())).all()


def test_pieces_join_to_the_text_where_a_character_spans_tokens():
    parts = [b"a", "ж".encode()[:1], "ж".encode()[1:], b"!"]
    tokens = [{"token": repr(part), "logprob": -1.0, "bytes": list(part)} for part in parts]
    assert statistics(tokens, "aж!").tokens == ("a", "", "ж", "!")
    assert statistics([{"token": "x", "logprob": -1.0, "bytes": None}], "x").tokens == ("x",)


def test_audio_of_16_bits_arrives_exactly_and_louder_audio_is_cut(tmp_path):
    samples = np.array([-32768, -1, 0, 1, 32767], dtype=np.int16)
    (tmp_path / "a.wav").write_bytes(wav(samples / np.float32(32768)))
    found, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 16_000 and found.tolist() == samples.tolist()
    (tmp_path / "b.wav").write_bytes(wav(np.array([-2.0, 1.0, 2.0])))
    assert soundfile.read(tmp_path / "b.wav", dtype="int16")[0].tolist() == [-32768, 32767, 32767]


def test_label_indicators_are_hand_worked_and_ignore_case_and_punctuation():
    assert label_indicators("One two, three four.", "one two three four") == dict.fromkeys(LABEL_ONLY, 0.0)
    found = label_indicators("abcd efgh", "abcd")  # one word of two, five characters of nine
    assert found == pytest.approx({"word_error": 0.5, "character_error": 5 / 9, "length_error": 5 / 9, "inexact": 1.0})


@pytest.mark.parametrize(("known", "written"), [(None, "a"), ("", "a"), ("a", ""), ("a", " ."), ("...", "a")])
def test_without_a_known_or_a_written_text_nothing_is_known(known, written):
    assert np.isnan(list(label_indicators(known, written).values())).all()


# --- what an endpoint offers -----------------------------------------------------------------------------------------


def test_the_request_is_the_apis_and_the_answer_is_read(monkeypatch):
    monkeypatch.setenv(http.KEY, SECRET)
    endpoint = Endpoint(key=SECRET, write=lambda samples: [("hello", 0.9), ("there", 0.6)])
    with serving(endpoint) as name:
        target = load(name)
        (found,) = target.generate([sound()], "Transcribe the input speech.", 64)
    assert (target.access, target.id) == ("logprobs", name.replace("http://", "").removesuffix("/v1"))
    assert "listener-1-2025" in target.revision and "top-20 logprobs" in target.revision
    body = endpoint.requests[-1]
    assert body["messages"][0]["content"][0] == {"type": "text", "text": "Transcribe the input speech."}
    asked = {"temperature": 0, "seed": 0, "logprobs": True, "top_logprobs": 20, "max_completion_tokens": 64}
    assert {key: body[key] for key in asked} == asked
    assert found.text == "hello there" and found.tokens == ("hello", " there")
    np.testing.assert_allclose(found.logprob, np.log([0.9, 0.6]), rtol=1e-6)
    np.testing.assert_allclose(found.gap, [0.9 - 0.05, 0.6 - 0.2], rtol=1e-6)


@pytest.mark.parametrize("how", ["no", "null"])
def test_an_endpoint_without_logprobs_is_read_by_its_text_alone(how):
    with serving(Endpoint(logprobs=how)) as name:
        target = load(name)
        (found,) = target.generate([sound()], "Say it.", 8)
    assert target.access == "labels" and "text only" in target.limits
    assert found.text == "yes" and found.n_tokens == 0


def test_an_endpoint_with_fewer_alternatives_is_asked_for_fewer():
    endpoint = Endpoint(most_top=5)
    with serving(endpoint) as name:
        target = load(name)
    assert target.access == "logprobs" and "top-5 logprobs" in target.limits
    assert [request["top_logprobs"] for request in endpoint.requests] == [20, 5]


def test_an_older_server_gets_the_fields_it_knows():
    endpoint = Endpoint()
    endpoint.fields -= {"max_completion_tokens", "seed"}
    with serving(endpoint) as name:
        load(name).generate([sound()], "Say it.", 8)
    last = endpoint.requests[-1]
    assert last["max_tokens"] == 8 and "max_completion_tokens" not in last and "seed" not in last
    assert last["top_logprobs"] == 20  # what matters most is given up last


def test_a_limit_that_a_server_passes_over_is_named_the_older_way(monkeypatch):
    endpoint = Endpoint(write=lambda samples: [("one", 0.5)] * 20)
    answer = endpoint.answer

    def ignoring(path, authorization, body):
        return answer(path, authorization, {k: v for k, v in body.items() if k != "max_completion_tokens"})

    monkeypatch.setattr(endpoint, "answer", ignoring)
    with serving(endpoint) as name:
        (found,) = load(name).generate([sound()], "Say it.", 3)
    assert found.n_tokens == 3


# --- refusals --------------------------------------------------------------------------------------------------------


def test_nothing_there_is_said_at_once(pauses):
    with serving(Endpoint()) as name:
        pass
    assert "cannot be reached" in failing(name) and not pauses


def test_a_wrong_or_missing_key_is_named_by_its_variable_and_never_shown(monkeypatch):
    with serving(Endpoint(key="sk-right")) as name:
        monkeypatch.delenv(http.KEY, raising=False)
        assert f"asks for a key; set {http.KEY}" in failing(name)
        monkeypatch.setenv(http.KEY, SECRET)
        said = failing(name)  # this server repeats the key in its complaint
    assert f"the key in {http.KEY} is not accepted" in said and "provided: [key]" in said


def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv(http.KEY, "sk-plänted")
    with pytest.raises(InputError, match="character") as error:
        load("api:m@http://127.0.0.1:9/v1")
    assert "pl" not in str(error.value).replace("API", "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "another"}, "no such model"),
        ({"audio": False}, "takes no audio"),
        ({"answers": Refused(403, "Country not supported")}, "may not use it"),
        ({"answers": Refused(429, "You exceeded your quota", "insufficient_quota")}, "nothing is left to spend"),
        ({"answers": Refused(413, "Payload too large")}, "larger than it takes"),
        ({"answers": Refused(418, "I am a teapot")}, "status 418 (it says: I am a teapot)"),
        ({"answers": Refused(307, "elsewhere")}, "redirect"),
        ({"answers": Refused(200, "not a completion")}, "not of the form of a chat completion"),
    ],
)
def test_every_refusal_is_one_clear_sentence(change, words, pauses):
    def refuse(number):
        raise change["answers"]

    endpoint = Endpoint(**({**change, "answers": refuse} if "answers" in change else change))
    with serving(endpoint) as name:
        assert words in failing(name.replace("another", "listener-1"))
    assert not pauses


@pytest.mark.parametrize("body", [b"<html>busy</html>", b"[1]", b"\xff"])
def test_an_answer_that_is_no_json_object_is_refused(body):
    def page(number):
        refused = Refused(200, "")
        refused.body = body
        raise refused

    with serving(Endpoint(answers=page)) as name:
        assert "no JSON object" in failing(name)


@pytest.mark.parametrize("body", ["plain words", {"detail": "plain words"}, {"error": "plain words"}])
def test_complaints_of_other_forms_are_read(body):
    def refuse(number):
        refused = Refused(400, "")
        refused.body = body
        raise refused

    with serving(Endpoint(answers=refuse)) as name:
        assert "plain words" in failing(name)


def test_a_clip_that_a_content_filter_holds_back_has_no_token_and_the_others_have():
    def filtered(number):
        if number == 2:
            raise Refused(400, "The prompt was filtered", "content_filter")

    with serving(Endpoint(answers=filtered)) as name:
        target = load(name)
        found = target.generate([sound(0)], "Say it.", 8) + target.generate([sound(1)], "Say it.", 8)
    assert [stats.n_tokens for stats in found] == [0, 1] and found[0].text == ""


def test_a_given_text_is_not_scored():
    with serving(Endpoint()) as name:
        target = load(name)
        with pytest.raises(InputError, match="single-pass"):
            target.score([sound()], "Say it.", [[1, 2]])
        with pytest.raises(InputError, match="token ids"):
            target.encode("yes")


# --- patience --------------------------------------------------------------------------------------------------------


def test_a_busy_server_is_asked_again_after_the_pause_it_asks_for(pauses):
    def busy(number):
        if number in (2, 3, 4):
            refused = Refused({2: 429, 3: 503, 4: 500}[number], "busy")
            refused.headers = {2: {"Retry-After": "7"}, 3: {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}}.get(
                number, {}
            )
            raise refused

    endpoint = Endpoint(answers=busy)
    with serving(endpoint) as name:
        (found,) = load(name).generate([sound()], "Say it.", 8)
    assert found.text == "yes" and len(endpoint.requests) == 5
    for made, asked in zip(pauses, (7, 2, 4), strict=True):
        assert asked <= made <= 1.25 * asked


def test_a_server_that_stays_busy_is_given_up_with_its_own_words(pauses):
    def busy(number):
        if number > 1:
            raise Refused(503, "overloaded")

    with serving(Endpoint(answers=busy)) as name:
        target = load(name)
        with pytest.raises(InputError, match=rf"no answer after {http.ATTEMPTS} tries \(503: overloaded\)"):
            target.generate([sound()], "Say it.", 8)
    assert len(pauses) == http.ATTEMPTS - 1 and max(pauses) <= http.LONGEST_PAUSE


def test_a_connection_that_breaks_after_an_answer_is_tried_again(pauses):
    with serving(Endpoint()) as name:
        target = load(name)
    with pytest.raises(InputError, match="no answer after"):
        target.generate([sound()], "Say it.", 8)
    assert len(pauses) == http.ATTEMPTS - 1


@pytest.mark.parametrize(("header", "seconds"), [("5", 5), ("0.5", 0.5), ("-3", 0), ("900", 60), ("nan", 4), (None, 4)])
def test_the_pause_a_server_asks_for_is_bounded(header, seconds):
    assert http.asked_pause(header, 4.0) == seconds


def test_requests_under_way_reach_the_bound_and_never_pass_it():
    meeting = threading.Barrier(http.CONCURRENCY)
    endpoint = Endpoint(before=lambda: None if len(endpoint.requests) == 0 else meeting.wait(10))
    with serving(endpoint) as name:
        target = load(name)
        found = target.generate([sound(seed) for seed in range(3 * http.CONCURRENCY)], "Say it.", 8)
    assert len(found) == 3 * http.CONCURRENCY  # a meeting of fewer would have broken up in an error
    assert endpoint.busiest == http.CONCURRENCY


def test_answers_come_in_the_order_of_the_clips():
    sounds = [sound(seed) for seed in range(20)]
    words = {hashlib.sha256(np.rint(s * 32768).astype("<i2").tobytes()).digest(): str(i) for i, s in enumerate(sounds)}
    write = lambda samples: [(words.get(hashlib.sha256(samples.tobytes()).digest(), "none"), 0.9)]  # noqa: E731
    with serving(Endpoint(write=write)) as name:
        found = load(name).generate(sounds, "Say it.", 8)
    assert [stats.text for stats in found] == [str(i) for i in range(20)]


# --- attacks with fewer columns --------------------------------------------------------------------------------------


def test_a_target_is_attacked_with_the_columns_it_has():
    whole = pd.DataFrame(1.0, index=range(3), columns=[*INDICATORS, *LABEL_ONLY])
    told = whole.assign(**dict.fromkeys(UNKNOWN, np.nan))
    assert columns_of(whole) == INDICATORS and columns_of(told) == KNOWN and len(KNOWN) == 20
    text = whole.assign(**dict.fromkeys(INDICATORS, np.nan))
    assert columns_of(text) == LABEL_ONLY
    lost = text.drop(columns=list(LABEL_ONLY))
    assert columns_of(lost) == INDICATORS  # nothing could be scored: the rows are NaN, not another attack
    told.loc[0, list(INDICATORS)] = np.nan
    assert columns_of(told) == KNOWN


def test_two_targets_are_compared_in_the_indicators_both_have():
    fake = fake_audit([FakeDataset("a", 40, leak=2.0)], ("whole", "told", "text"))
    scores = fake.scores[(fake.scores.condition == "original") & (fake.scores.scored_text == "generated")].copy()
    scores.loc[scores.target == "told", list(UNKNOWN)] = np.nan
    scores.loc[scores.target == "text", list(INDICATORS)] = np.nan
    cells = dict(list(scores.groupby("target")))
    with few_draws(20, 20):
        found = evidence.find(fake.clips, scores[scores.target == "told"], fake.blind)
    data, overlap = found.datasets["a"], found.overlaps["a"]
    rows = evidence.reference_rows(data, "whole", cells["whole"], "told", cells["told"], overlap, 0)
    assert len(rows) == 3 and all(np.isfinite(row["auc"]) for row in rows)
    cells["text"] = cells["text"].assign(**dict.fromkeys(LABEL_ONLY, 1.0))
    assert evidence.reference_rows(data, "whole", cells["whole"], "text", cells["text"], overlap, 0) == []


# --- an audit, end to end --------------------------------------------------------------------------------------------

PER_CLASS = 110


def small_list(folder: Path, per_class: int) -> tuple[Path, dict[bytes, tuple[str, bool]]]:
    """A manifest of noises with texts, alike in both classes, and what an endpoint that remembers members knows."""
    rng = np.random.default_rng(5)
    rows, known = [], {}
    for index in range(2 * per_class):
        samples = (rng.integers(-4000, 4000, int(rng.integers(3200, 6400)))).astype("<i2")
        text = " ".join(rng.choice(WORDS, int(rng.integers(4, 8))))
        soundfile.write(folder / f"{index}.wav", samples, 16_000, subtype="PCM_16")
        rows.append({"file_name": f"{index}.wav", "label": "member" if index % 2 else "non-member", "text": text})
        known[hashlib.sha256(samples.tobytes()).digest()] = (text, bool(index % 2))
    pd.DataFrame(rows).to_csv(folder / "list.csv", index=False)
    return folder / "list.csv", known


def remembering(known: dict[bytes, tuple[str, bool]]):
    """Write members' texts word for word and surely, others' with one wrong word and less surely, but not always so."""

    def write(samples: np.ndarray) -> list[tuple[str, float]]:
        digest = hashlib.sha256(samples.tobytes()).digest()
        text, member = known.get(digest, ("hold the line", False))
        rng = np.random.default_rng(list(digest[:8]))
        words = text.split()
        if rng.random() < (0.3 if member else 0.7):
            words[int(rng.integers(len(words)))] = "other"
        return [(word, float(rng.uniform(0.6, 0.95) + 0.03 * member)) for word in words]

    return write


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """One audit of a list against two endpoints that remember it, with and without log probabilities."""
    folder = tmp_path_factory.mktemp("api")
    manifest, known = small_list(folder, PER_CLASS)
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    with pytest.MonkeyPatch.context() as patch, few_draws(99, 20):
        patch.setenv(http.KEY, SECRET)
        patch.setattr(blind, "trees_fold", plain_fold)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            ends = [
                Endpoint(SECRET, model, remembering(known), how) for model, how in (("sure", "yes"), ("mute", "no"))
            ]
            with serving(ends[0]) as sure, serving(ends[1]) as mute:
                arguments = [
                    *("audit", "--dataset", str(manifest), "--target", sure, "--target", mute),
                    *("--reference-target", mute, "--conditions", "original,silence"),
                    *("--out", str(folder / "bundle"), "--cache", str(folder / "cache")),
                ]
                assert main(arguments) == 0
                asked = [len(endpoint.requests) for endpoint in ends]
                assert main(arguments) == 0
                assert [len(endpoint.requests) for endpoint in ends] == asked  # a finished bundle is not made again
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
    return folder, read_bundle(folder / "bundle"), ends, records


def plain_fold(columns, labels: np.ndarray, training: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Stand in for boosted trees, which take most of the time and are not looked at here."""
    values = np.column_stack(list(columns))
    return fit_linear(values[training], labels[training]).logit(values[held])


def targets_of(bundle) -> dict[str, dict]:
    return {row["access"]: row for row in bundle.audit["targets"]}


def test_an_endpoints_memory_is_found_and_the_sentence_says_how_little_was_seen(audited):
    _, bundle, _, _ = audited
    verdicts = {row["target"]: row for row in bundle.results["verdicts"]}
    for access, words in (("logprobs", "top-20 logprobs"), ("labels", "text only")):
        row = verdicts[targets_of(bundle)[access]["id"]]
        assert row["verdict"] == "LEAK" and row["auc_low"] > 0.5
        assert "Weaker than an audit with the model's weights" in row["sentence"] and words in row["sentence"]
        assert words in row["access"] and any("weights" in change for change in row["changes"])
    assert "low word error" in verdicts[targets_of(bundle)["labels"]["id"]]["sentence"]


def test_each_target_is_attacked_with_the_indicators_it_has(audited):
    _, bundle, _, _ = audited
    models = bundle.models()["list"]
    for access, names in (("logprobs", KNOWN), ("labels", LABEL_ONLY)):
        target = targets_of(bundle)[access]["id"]
        rows = bundle.scores[bundle.scores.target == target]
        assert columns_of(rows) == tuple(models[target]["indicators"]) == names
        assert rows[list(names)].notna().all(axis=None) and rows.mia_score.notna().all()
        own = rows[rows.condition == "original"]
        assert roc_auc_score(own.label, own.mia_score) > 0.6
        single = [row for row in bundle.results["indicators"] if row["target"] == target]
        assert [row["indicator"] for row in single] == list(names)
        methods = {row["method"] for row in bundle.results["mia"] if row["target"] == target}
        assert all(method.startswith(f"{len(names)} indicators") for method in methods)
    exact = {row["indicator"]: row["auc"] for row in single}
    assert exact["word_error"] > 0.6 and exact["inexact"] > 0.6  # fixed sign: fewer errors are more member-like


def test_only_what_a_target_wrote_is_scored_and_the_claims_say_why(audited):
    _, bundle, _, _ = audited
    assert set(bundle.scores.scored_text) == {"generated"}
    assert len(bundle.scores) == 2 * 2 * 2 * PER_CLASS
    for target in targets_of(bundle).values():
        claims = {row["claim"]: row["sentence"] for row in bundle.results["claims"] if row["target"] == target["id"]}
        assert "cannot be told" in claims["given text not scored"]
        assert not {"bound to the voice", "text known, voice not needed"} & set(claims)
    assert bundle.results["reference"] == []  # log probabilities and word errors have nothing to be compared in


def test_every_input_was_asked_for_once(audited):
    _, bundle, ends, _ = audited
    silences = bundle.clips.duration_s.nunique()
    for endpoint in ends:
        asked = [json.dumps(body["messages"]) for body in endpoint.requests]
        assert len(set(asked)) == 1 + 2 * PER_CLASS + silences  # one to learn what it offers


def test_a_bundle_of_an_endpoint_can_be_read_reported_and_shown(audited):
    from explorer.catalog import Catalog
    from explorer.columns import Columns, as_json
    from explorer.evidence import changes, steps

    _, bundle, _, _ = audited
    json.dumps(bundle.results, allow_nan=False)
    report = render(bundle)
    assert "access: top-20 logprobs" in " ".join(report.split()) and "given text not scored" in report
    assert all(render(bundle, name) for name in ("markdown", "csv", "json"))
    columns = Columns(Catalog(bundle))
    for t in range(2):
        file = columns.scores_file(0, t, 0, "generated", "refit")
        as_json([file, columns.clip_rows(0, t, 0), columns.clip_tokens(0, t, 0)])
    assert all(steps(row) and changes(row) for row in bundle.results["verdicts"])


def test_the_key_is_nowhere(audited, capfd):
    folder, bundle, _, records = audited
    with Store(folder / "cache") as store:
        kept = [store.get(key) for key in store._cache]
    assert len(kept) > 4 * PER_CLASS
    assert SECRET not in repr(kept)
    for path in folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in bundle.scores.to_json() and SECRET not in bundle.tokens().to_json()
    assert records and not any(SECRET in record.getMessage() for record in records)


def test_the_bundle_names_model_and_host_and_no_more(audited):
    folder, bundle, _, _ = audited
    for row in bundle.audit["targets"]:
        assert row["id"].startswith(("api:sure@127.0.0.1:", "api:mute@127.0.0.1:")) and "/v1" not in row["id"]
        assert row["family"] == "chat completions endpoint" and "not certain" in row["decoding"]
    assert "http://127" not in (folder / "bundle" / "audit.json").read_text()


def test_a_new_clip_is_scored_by_what_its_target_tells(audited):
    _, bundle, ends, _ = audited
    by_access = targets_of(bundle)
    with serving(Endpoint(write=lambda samples: [("hold", 0.9), ("the", 0.9), ("line", 0.9)])) as name:
        sure = load(name)
    samples = np.random.default_rng(5).integers(-4000, 4000, 4800).astype(np.float32) / 32768

    def scored(access: str, target: ApiTarget, text: str | None) -> dict:
        return score_clip(samples, text, bundle.models(), "list", by_access[access]["id"], target, "Say it.", 8)

    with serving(ends[1]) as name:
        mute = load_with_key(name)
        refused, near = scored("labels", mute, None), scored("labels", mute, "hold the line")
    assert "known can be scored" in sentence(refused) and refused["score"] is None
    assert near["score"] is not None and near["indicators"]["word_error"] <= 1 / 3
    with serving(Endpoint(write=lambda samples: [("hold", 0.9)])) as name:
        found = scored("logprobs", load(name), None)
    json.dumps([refused, near, found], allow_nan=False)
    assert found["score"] is not None and found["indicators"]["entropy"] is None
    assert found["tokens"][0]["entropy"] is None and sure.access == "logprobs"


def load_with_key(name: str) -> ApiTarget:
    where = address(name)
    return load(name, http.Endpoint(where.id, where.url, SECRET))


def test_an_audit_that_dies_midway_goes_on_from_the_last_whole_batch(tmp_path, monkeypatch, capsys):
    manifest, known = small_list(tmp_path, 20)
    monkeypatch.setattr(http, "ATTEMPTS", 1)

    def dies(number):
        if number > 1 + 3 * 8 + 4:
            raise Refused(500, "out of memory")

    endpoint = Endpoint(write=remembering(known), answers=dies)
    with serving(endpoint) as name:
        arguments = ["audit", "--dataset", str(manifest), "--target", name, "--conditions", "original"]
        arguments += ["--batch-size", "8", "--out", str(tmp_path / "bundle"), "--cache", str(tmp_path / "cache")]
        assert main(arguments) == 2
        assert "500: out of memory); the same command goes on from here" in capsys.readouterr().err
        assert not (tmp_path / "bundle" / "audit.json").exists()
        first, endpoint.answers = len(endpoint.requests), lambda number: None
        (cohort,) = find_cohorts(str(manifest))
        with Store(tmp_path / "cache") as store:
            rows = list(score_clips(load(name), cohort.clips, Plan(("original",), batch_size=8), store, lambda n: None))
    assert len(rows) == 40 and all(stats.n_tokens for _, stats in rows)
    assert len(endpoint.requests) - first == 1 + 40 - 3 * 8


def test_clips_without_texts_are_refused_before_a_target_of_text_alone_is_paid_for(tmp_path, capsys):
    manifest, _ = small_list(tmp_path, 20)
    table = pd.read_csv(manifest).drop(columns="text")
    table.to_csv(manifest, index=False)
    endpoint = Endpoint(logprobs="no")
    with serving(endpoint) as name:
        arguments = ["audit", "--dataset", str(manifest), "--target", name, "--conditions", "original"]
        assert main([*arguments, "--out", str(tmp_path / "bundle"), "--cache", str(tmp_path / "cache")]) == 2
    assert "no clip has a text to judge it by" in capsys.readouterr().err
    assert all("Transcribe" not in json.dumps(body["messages"]) for body in endpoint.requests)


def test_a_second_pass_is_refused_before_anything_is_paid_for(tmp_path, capsys):
    manifest, _ = small_list(tmp_path, 20)
    endpoint = Endpoint()
    with serving(endpoint) as name:
        arguments = ["audit", "--dataset", str(manifest), "--target", name, "--protocol", "two-pass"]
        assert main([*arguments, "--out", str(tmp_path / "bundle"), "--cache", str(tmp_path / "cache")]) == 2
    assert "leave `--protocol two-pass` out" in capsys.readouterr().err and len(endpoint.requests) == 1


def test_a_wrong_key_ends_an_audit_in_one_sentence(tmp_path, capsys, monkeypatch):
    manifest, _ = small_list(tmp_path, 20)
    monkeypatch.setenv(http.KEY, SECRET)
    with serving(Endpoint(key="sk-right")) as name:
        arguments = ["audit", "--dataset", str(manifest), "--target", name, "--conditions", "original"]
        assert main([*arguments, "--out", str(tmp_path / "bundle"), "--cache", str(tmp_path / "cache")]) == 2
    said = capsys.readouterr().err
    assert "is not accepted" in said and SECRET not in said
