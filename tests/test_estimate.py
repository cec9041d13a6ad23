"""The price of an audit: counts worked by hand, rates that are measured or given, and what the hub says of a model."""

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from precompute.clips import InputError
from precompute.corpora import find_cohorts, limited
from precompute.downloads import whereabouts
from precompute.estimate import Cell, cells_of, kept_in, price
from precompute.estimate_report import aligned, hours, printed, size
from precompute.rates import kept_share, spread
from precompute.recipes import load_recipe
from precompute.request import Request
from precompute.scores import Plan, score_clips
from precompute.store import Store
from precompute.targets import load_target

CONDITIONS = ("original", "silence", "silence_fixed", "noise", "resynthesis")
TARGET = "tiny-audio-flamingo"
NOWHERE = "http://127.0.0.1:9"
"""An address where nothing listens."""


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Neither what this machine has drawn from the hub nor what its hub cache holds decides a test."""
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def request_for(tmp_path, *datasets, targets=(TARGET,), **changes):
    plan = Plan(changes.pop("conditions", CONDITIONS))
    return Request(tuple(datasets), tuple(targets), tmp_path / "bundle", tmp_path / "cache", plan, **changes)


@pytest.fixture
def listed(tmp_path):
    """20 members of 1 s with texts of their own, 20 non-members of 2 s: 10 of one wording, 10 of none; 8 kHz."""
    rows = []
    for k in range(40):
        member = k < 20
        samples = np.random.default_rng(k).uniform(-0.5, 0.5, 8000 if member else 16000)
        soundfile.write(tmp_path / f"{k}.wav", samples, 8000)
        text = f"one {k}" if member else "the same" if k < 30 else None
        rows.append({"file_name": f"{k}.wav", "label": int(member), "text": text})
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    return str(tmp_path / "mine.csv")


def test_inputs_and_texts_of_every_condition_are_those_worked_by_hand(tmp_path, listed):
    found = price(request_for(tmp_path, listed), rate=10)
    (share,) = found.shares
    assert (share.members, share.non_members, share.clips, share.with_text) == (20, 20, 40, 30)
    assert (share.lengths, share.spoken, share.fixed) == (2, 20 + 1 + 10, 1)
    assert (share.seconds, share.sample_bytes) == (60.0, 2 * 8000 * 60)
    assert list(found.cells) == [
        Cell("mine", "original", 1, 40, 40 + 30, 40),  # generated, and the reference of 30
        Cell("mine", "silence", 1, 2, 40 + 40 + 30, 40),  # generated, carried, reference
        Cell("mine", "silence_fixed", 1, 1, 110, 40),
        Cell("mine", "noise", 1, 40, 110, 40),
        Cell("mine", "resynthesis", 3, 3 * 31, 3 * 110, 3 * 40),
    ]
    assert (found.clips, found.texts) == (40, 730)


def test_texts_are_as_many_as_the_audit_s_plan_says(tmp_path):
    request = request_for(tmp_path, "core-unseen", targets=(), limit=30)
    found = price(request)
    assert sum(cell.texts for cell in found.cells) == 60 * request.plan.texts_per_clip()


def test_time_and_tokens_follow_from_the_rate(tmp_path, listed):
    found = price(request_for(tmp_path, listed), rate=10)
    (target,) = found.targets
    assert (target.texts, target.inputs, target.seconds) == (730, 176, 73.0)
    assert target.most_tokens == 176 * 64 and target.tokens is None
    assert target.rate.how == "as given" and target.why == "" and target.kept is None
    assert found.seconds == pytest.approx(73.0 + found.blind_seconds) and found.blind_seconds > 0


def test_disk_is_that_worked_by_hand(tmp_path, listed):
    disk = price(request_for(tmp_path, listed), rate=10).disk
    # Originals 0.7 of 960,000 bytes; three voices of 60 s at 16 kHz and 16 bit, 0.6 of it.
    assert disk.audio == pytest.approx(672_000 + 3_456_000)
    # 730 texts of 165 bytes and 64 tokens of 10; 40 clips of 2,720.
    assert disk.tables == pytest.approx(730 * (165 + 640) + 40 * 2_720)
    # 730 texts of 360 bytes and 64 tokens of 36, the voices again, 40 clips' features of 6,100; 8% on top.
    assert disk.cache == pytest.approx(1.08 * (730 * (360 + 2_304) + 3_456_000 + 40 * 6_100))
    assert disk.corpora == 0 and disk.total == disk.audio + disk.tables + disk.cache


def test_a_million_clips_cost_their_share_of_everything(tmp_path, listed):
    found = price(request_for(tmp_path, listed), rate=10)
    million = found.million()
    assert million["texts"] == 730 * 25_000
    assert million["seconds"] == pytest.approx(found.seconds * 25_000)
    assert million["bytes"] == pytest.approx(found.disk.total * 25_000)


def test_clips_that_datasets_share_are_counted_once_and_listed_twice(tmp_path, listed):
    table = pd.read_csv(listed)
    both = pd.concat([table.assign(dataset="first"), table.assign(dataset="second")])
    both.to_csv(tmp_path / "both.csv", index=False)
    once, twice = (price(request_for(tmp_path, path), rate=10) for path in (listed, str(tmp_path / "both.csv")))
    assert [share.clips for share in twice.shares] == [40, 0]
    assert (twice.clips, twice.texts, twice.targets[0].inputs) == (once.clips, once.texts, once.targets[0].inputs)
    assert twice.disk.audio == once.disk.audio
    assert twice.disk.tables - once.disk.tables == pytest.approx(730 * 165 + 40 * 2_720)


def test_every_target_is_priced_the_reference_too(tmp_path, listed):
    found = price(request_for(tmp_path, listed, reference="tiny-music-flamingo"), rate=10)
    assert [target.target for target in found.targets] == [TARGET, "tiny-music-flamingo"]
    assert found.texts == 2 * 730


def test_an_endpoint_scores_what_it_writes_and_is_not_asked_for_a_rate(tmp_path, listed):
    name = f"api:some-model@{NOWHERE}/v1"
    (target,) = price(request_for(tmp_path, listed, targets=(name,))).targets
    assert target.texts == 7 * 40
    assert target.seconds is None and target.why.endswith("give --rate TEXTS_PER_S")


def test_a_list_that_an_audit_would_refuse_has_no_price(tmp_path, listed):
    table = pd.read_csv(listed)
    table.iloc[10:].to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(InputError, match="few: 10 members, at least 20 are needed"):
        price(request_for(tmp_path, str(tmp_path / "few.csv")), rate=10)
    (tmp_path / "3.wav").write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"3\.wav: cannot be read as audio"):
        price(request_for(tmp_path, listed), rate=10)
    with pytest.raises(InputError, match="no such target"):
        price(request_for(tmp_path, "core-unseen", targets=("nothing",)), rate=10)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(tmp_path, rate):
    with pytest.raises(InputError, match="is not a number of texts per second above 0"):
        price(request_for(tmp_path, "core-unseen"), rate=rate)


def test_a_target_that_is_here_is_measured_on_clips_that_are_here(tmp_path):
    request = request_for(tmp_path, "core-unseen", limit=20, conditions=("original", "silence_fixed"))
    found = price(request)
    (target,) = found.targets
    assert target.place.here and target.place.words == "here"
    assert target.rate.texts_per_second > 0
    assert target.rate.how == "measured here on 16 of the clips that are here, float32"
    assert target.seconds == pytest.approx(target.texts / target.rate.texts_per_second)
    assert 0 < target.tokens <= target.most_tokens == (40 + 1) * 64
    assert target.kept == 0.0 and not (tmp_path / "cache").exists()


def test_what_the_cache_holds_is_counted_and_left_as_it_is(tmp_path):
    target = load_target(TARGET)
    clips = limited(find_cohorts("core-unseen")[0], 8, 0).clips
    plan = Plan(("original",))
    request = dataclasses.replace(request_for(tmp_path, "core-unseen"), plan=plan)
    with Store(request.cache) as store:
        list(score_clips(target, clips[:4], plan, store, lambda _: None))
        rows = len(store)
        assert kept_share(target, clips, plan, store) == 0.25
        assert kept_in(request, target, clips) is None  # another has it open
        assert len(store) == rows
    assert kept_in(request, target, clips[:4]) == 1.0
    assert kept_in(request, target, clips[4:]) == 0.0


@given(st.lists(st.floats(0.1, 60), min_size=1, max_size=80), st.integers(2, 20))
def test_clips_to_measure_on_span_the_lengths(lengths, most):
    chosen = spread(lengths, most)
    assert len(chosen) == len(set(chosen)) == min(most, len(lengths))
    values = [lengths[position] for position in chosen]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (min(lengths), max(lengths))


def test_a_corpus_on_the_hub_is_priced_by_its_declaration(tmp_path):
    """50 + 50 clips of 9.6 s; four rows are read for each that is kept; 16 kHz FLAC of 0.7 bytes a byte."""
    found = price(request_for(tmp_path, "librispeech", targets=(), limit=50))
    (share,) = found.shares
    assert not share.here and not share.gated and "openslr/librispeech_asr" in share.where
    assert (share.members, share.non_members, share.clips) == (50, 50, 100)
    assert share.seconds == pytest.approx(960.0)
    assert share.download_bytes == pytest.approx(4 * 0.7 * 2 * 16_000 * 960)
    assert found.disk.corpora == pytest.approx(0.7 * 2 * 16_000 * 960)
    assert found.blind_seconds is None
    assert not (tmp_path / "data").exists()


def test_a_target_without_clips_here_has_an_unknown_rate(tmp_path):
    (target,) = price(request_for(tmp_path, "librispeech")).targets
    assert target.rate is None and target.seconds is None
    assert target.why == "unknown rate (no clip is here): give --rate TEXTS_PER_S"


def test_the_paper_s_recipe_is_priced_without_a_download(tmp_path):
    recipe = load_recipe("paper")
    plan = Plan(recipe.conditions, max_new_tokens=recipe.max_new_tokens)
    request = Request(recipe.corpora, recipe.models, tmp_path, tmp_path, plan, per_class=recipe.per_class)
    found = price(request, rate=50, hub_address=NOWHERE)
    # 2 x (2,000 + 2,000 + 1,100 + 1,500 + 2,000 + 1,045 + 2,000 + 2,000) clips; 8 inputs and so 23 texts each.
    assert found.clips == 27_290
    assert found.texts == 2 * 27_290 * 23
    assert found.seconds == pytest.approx(found.texts / 50)
    assert [share.dataset for share in found.shares if share.gated] == ["gigaspeech", "spgispeech"]
    text = printed(found)
    assert "27,290 clips, 1,255,340 scored texts" in text and "time: 7 h in all" in text
    assert "1,255,340" in text and "give cochlscene=FOLDER" in text
    for model in recipe.models:
        lines = [line for line in text.splitlines() if line.startswith(f"{model} ")]
        assert len(lines) == 8
        assert lines[1].split()[1:9] == ["gigaspeech", "8,000", *["12,000"] * 4, "36,000", "92,000"]
        assert "dataset, target not known" in lines[1] and lines[0].endswith("  target not known")


@pytest.fixture
def hub_server():
    """A hub that knows three models and no revision of them but the main one."""
    files = [("config.json", 1_000), ("a-00001.safetensors", 5_000_000), ("pytorch_model.bin", 9), ("onnx/x.json", 9)]
    siblings = [{"rfilename": name, "size": count} for name, count in files]
    answers = {
        "/api/models/owner/open": (200, {"id": "owner/open", "gated": False, "siblings": siblings}, {}),
        "/api/models/owner/asks": (200, {"id": "owner/asks", "gated": "manual", "siblings": siblings[:1]}, {}),
        "/api/models/owner/shut": (403, {"error": "no"}, {"X-Error-Code": "GatedRepo"}),
    }

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            code = "RevisionNotFound" if "/revision/" in self.path else "RepoNotFound"
            missing = (404, {"error": "no"}, {"X-Error-Code": code})
            status, body, headers = answers.get(self.path.partition("?")[0], missing)
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(data)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hub_says_what_is_gated_and_how_much_would_be_fetched(hub_server):
    found = whereabouts("owner/open", hub_server)
    assert (found.here, found.gated, found.download_bytes, found.words) == (False, False, 5_001_000, "on the hub")
    assert whereabouts("owner/open@v1", hub_server).words == "on the hub, which has no revision v1 of it"
    asks = whereabouts("owner/asks", hub_server)
    assert asks.gated and asks.download_bytes is None and "`hf auth login`" in asks.words
    assert whereabouts("owner/shut", hub_server).gated
    assert whereabouts("owner/gone", hub_server).words == "not on the hub, or private"


def test_a_hub_that_cannot_be_asked_leaves_things_not_known():
    found = whereabouts("owner/open", NOWHERE)
    assert (found.here, found.gated, found.download_bytes) == (False, None, None)
    assert found.words == "not here, and the hub cannot be asked from here"


def test_a_model_in_the_hub_s_cache_is_here(tmp_path):
    snapshot = tmp_path / "hub/models--owner--open/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("abc")
    (snapshot / "config.json").write_text("{}")
    assert not whereabouts("owner/open", NOWHERE).here  # the weights are missing
    (snapshot / "model.safetensors").write_bytes(b"")
    found = whereabouts("owner/open", NOWHERE)
    assert found.here and found.download_bytes == 0


def test_the_estimate_is_printed_and_given_as_plain_numbers(tmp_path, listed):
    found = price(request_for(tmp_path, listed, asr_target="tiny-music-flamingo"), rate=10)
    text = printed(found)
    for words in (
        "mine          20           20     40        2         30   0.02",
        "tiny-audio-flamingo: here; 730 texts of 176 inputs; at most 11,264 tokens written",
        "0.02 h at 10 texts/s (as given)",
        "40 clips, 730 scored texts",
        "a million clips of this kind (all of it is linear): 18,250,000 texts",
        "note: what tiny-music-flamingo reads of the resyntheses is not counted.",
    ):
        assert words in text, words
    numbers = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert numbers["texts"] == 730 and numbers["million_clips"]["texts"] == 18_250_000
    assert numbers["targets"][0]["rate"] == {"texts_per_second": 10, "how": "as given", "tokens_per_text": None}
    assert numbers["cells"][1]["inputs"] == 2


def test_without_a_target_only_the_blind_side_is_priced(tmp_path, listed):
    found = price(request_for(tmp_path, listed, targets=()))
    assert found.texts == 0 and found.seconds == found.blind_seconds
    assert found.disk.audio == pytest.approx(672_000)
    assert "0 scored texts" in printed(found)


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "not known"), (0, "0 h"), (90, "0.025 h"), (15_840, "4.4 h"), (3.6e6, "1,000 h")]
)
def test_hours_are_printed_with_two_digits_that_count(seconds, text):
    assert hours(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (5.6e9, "5.6 GB"), (1.5e12, "1.5 TB")]
)
def test_sizes_are_printed_in_decimal_units(count, text):
    assert size(count) == text


def test_columns_are_aligned_numbers_to_the_right():
    assert aligned([["name", "n"], ["a", "1,000"], ["long name", "7"]]).splitlines() == [
        "name           n",
        "a          1,000",
        "long name      7",
    ]


def test_a_declared_share_counts_every_clip_s_length_and_text_as_its_own(tmp_path):
    (share,) = price(request_for(tmp_path, "nsynth", targets=(), limit=30)).shares
    cells = {cell.condition: cell for cell in cells_of(share, Plan(("original", "silence", "silence_fixed")))}
    assert cells["silence"].inputs == 60 and cells["silence_fixed"].inputs == 1
