"""Corpora on the hub: drawn through the real `datasets` from a replica of the hub, or listed from local folders."""

import dataclasses
import json
import threading
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from precompute.clips import Clip, Cohort, InputError, read_audio
from precompute.corpora.hub import Columns, Value, describe, handles, known
from precompute.corpora.hub_draw import OVERSAMPLE, smallest
from precompute.corpora.hub_names import OPTIONS
from precompute.corpora.hub_rows import Drawn, edited_text, ranked, value_of
from precompute.corpora.paper import CORPORA
from precompute.manifest import load_manifest
from tests.hub_reader import Reader
from tests.hub_replica import GOOD_TOKEN, GROUP_ROWS, HubReplica, clip
from tests.paper_replicas import TEST, TRAIN, all_repositories

ON_THE_HUB = [name for name, corpus in CORPORA.items() if corpus.hub_id]


@pytest.fixture(scope="module")
def hub():
    with HubReplica(all_repositories()) as replica:
        yield replica


@pytest.fixture(scope="module")
def reader(hub, tmp_path_factory):
    with Reader(hub.endpoint, tmp_path_factory.mktemp("reader"), {"HF_TOKEN": GOOD_TOKEN}) as process:
        yield process


def of_class(cohort: Cohort, label: int) -> list[Clip]:
    return [one for one, own in zip(cohort.clips, cohort.labels, strict=True) if own == label]


def folder(cohort: Cohort) -> Path:
    return cohort.clips[0].path.parents[2]


def last_number(one: Clip) -> int:
    """Row of a replica of LibriSpeech that a clip is."""
    return int(one.clip_id.rpartition("-")[2])


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_corpus_is_drawn_balanced_with_its_texts_groups_and_task(reader, name):
    corpus, cohort = CORPORA[name], reader.find(name)
    assert cohort.labels.count(1) == cohort.labels.count(0) == 4
    splits = {one.clip_id.split("/")[1] for one in of_class(cohort, 1)}
    assert splits <= set(corpus.member_splits)
    assert {one.clip_id.split("/")[1] for one in of_class(cohort, 0)} <= set(corpus.non_member_splits)
    assert {one.task for one in cohort.clips} == {corpus.task}
    assert all(one.text for one in cohort.clips)
    assert cohort.licence == corpus.licence and cohort.title == corpus.title
    assert str(corpus.hub_id) in cohort.description and corpus.note in cohort.description


EXAMPLES = {
    "librispeech": ("librispeech/test.clean/100-0-0000", "chapter test sentence 0", "100"),
    "gigaspeech": ("gigaspeech/test/YOU0000000002_S0000008", "well, segment 8 of test.", "YOU0000000002"),
    "tedlium": ("tedlium/test/SpeakerB1_2008P-5.0-5.6-<o,f0,female>", "it's number 5 of test", "SpeakerB1_2008P"),
    "voxpopuli": (
        "voxpopuli/test/20180206-0900-PLENARY-16-en_20180206-16:10:16_test",
        "Mr President, test 16.",  # without a normalised text, the raw one
        "5",
    ),
    "spgispeech": ("spgispeech/test/tttttttt03/13.wav", "Revenue grew 13% in test.", "tttttttt03"),
    "clotho": ("clotho/test/12", "Caption 0 of test sound 12", None),
    "nsynth": (
        "nsynth/test/bass_synthetic_001-047-025",
        "A single synthetic bass note, MIDI pitch 47, velocity 25.",
        "bass_synthetic_001",
    ),
}


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_text_and_group_of_a_known_row_are_as_worked_out_by_hand(reader, name):
    clip_id, text, group = EXAMPLES[name]
    (one,) = [one for one in reader.find(name, per_class=18).clips if one.clip_id == clip_id]
    assert (one.text, one.group) == (text, group)


def test_rows_that_hold_no_speech_are_left_out_and_unknown_speakers_have_no_group(reader):
    texts = [one.text for one in reader.find("gigaspeech", per_class=18).clips]
    assert len(texts) == 2 * 15 and not any("music" in text for text in texts)  # 3 of 18 test rows are music
    assert len(reader.find("tedlium", per_class=18).clips) == 2 * 15
    speakers = {one.clip_id: one.group for one in reader.find("voxpopuli", per_class=18).clips}
    unknown = [group for clip_id, group in speakers.items() if "PLENARY-12-" in clip_id]
    assert unknown and set(unknown) == {None}


def test_audio_is_kept_byte_for_byte_and_can_be_read_at_16_khz(reader):
    for one in reader.find("librispeech").clips:
        split = one.clip_id.split("/")[1].partition(".")[0]
        assert one.path.suffix == ".flac"
        assert one.path.read_bytes() == clip(f"librispeech {split} {last_number(one)}")
    sound = reader.find("clotho").clips[0]
    assert soundfile.info(sound.path).samplerate == 44_100
    assert read_audio(sound).shape == (9600,)  # 0.6 s


def test_a_split_that_is_read_whole_gives_the_clips_of_smallest_hash(reader):
    cohort = reader.find("librispeech")
    ids = [
        f"librispeech/test.{'clean' if n < TEST // 2 else 'other'}/{100 + n // 3}-{n // 6}-{n:04}" for n in range(TEST)
    ]
    expected = sorted(ids, key=lambda one: ranked(0, one))[:4]
    assert {one.clip_id for one in of_class(cohort, 0)} == set(expected)


def test_of_a_large_split_only_some_row_groups_are_read_and_not_the_first(reader):
    starts = []
    for seed in range(4):
        cohort = reader.find("librispeech", seed)
        about = json.loads((folder(cohort) / "drawn.json").read_text())
        assert OVERSAMPLE * 4 <= about["usable_rows_seen"]["member"]["member"] < OVERSAMPLE * 4 + GROUP_ROWS < TRAIN
        starts.append(sorted(last_number(one) // GROUP_ROWS for one in of_class(cohort, 1)))
    assert max(map(max, starts)) > TRAIN // GROUP_ROWS // 2
    assert [0, 0, 0, 0] not in starts


def test_the_same_seed_gives_the_same_clips_and_another_seed_others(reader, tmp_path):
    first, other = reader.find("clotho", 0), reader.find("clotho", 1)
    again = reader.find("clotho", 0, AUDIT_DATA=str(tmp_path))
    assert [(one.clip_id, one.path.read_bytes()) for one in first.clips] == [
        (one.clip_id, one.path.read_bytes()) for one in again.clips
    ]
    assert first.clips[0].path != again.clips[0].path
    assert {one.clip_id for one in first.clips} != {one.clip_id for one in other.clips}


def test_a_second_run_asks_the_network_for_nothing(reader, hub):
    first = reader.find("nsynth")
    asked = len(hub.requests)
    assert reader.find("nsynth") == first
    assert len(hub.requests) == asked


def test_a_draw_is_a_list_of_clips_like_any_other(reader):
    cohort = reader.find("nsynth")
    (listed,) = load_manifest(folder(cohort))
    assert [(one.clip_id, one.text, one.group, one.task) for one in listed.clips] == [
        (one.clip_id, one.text, one.group, one.task) for one in cohort.clips
    ]
    assert listed.labels == cohort.labels
    assert set(folder(cohort).glob("audio/*/*")) == {one.path for one in cohort.clips}


def test_a_killed_draw_goes_on_where_it_was_and_ends_in_the_same_clips(reader, hub, tmp_path):
    asked = len(hub.reads())
    whole = reader.find("librispeech", 7, 6, AUDIT_DATA=str(tmp_path / "whole"))
    uninterrupted = len(hub.reads()) - asked
    reached, go_on = threading.Event(), threading.Event()
    began = len(hub.reads())

    def hold(_request: str) -> None:
        if len(hub.reads()) - began == uninterrupted - 2 and not go_on.is_set():
            reached.set()
            go_on.wait()

    hub.before = hold
    try:
        with Reader(hub.endpoint, tmp_path) as killed:
            killed.begin("librispeech", 7, 6)
            assert reached.wait(60)
    finally:
        hub.before = lambda _request: None
        go_on.set()
    (state,) = (tmp_path / "data").glob("hub/*/state.json")
    done = sum(len(one["done"]) for one in json.loads(state.read_text())["classes"].values())
    (state.parent / "audio/member").mkdir(parents=True, exist_ok=True)
    (state.parent / "audio/member/half.flac").write_bytes(b"half a cl")  # as if killed while writing
    resumed_from = len(hub.reads())
    with Reader(hub.endpoint, tmp_path) as second:
        resumed = second.find("librispeech", 7, 6)
    assert done >= 3
    assert len(hub.reads()) - resumed_from < uninterrupted
    assert [one.clip_id for one in resumed.clips] == [one.clip_id for one in whole.clips]
    assert set(state.parent.glob("audio/*/*")) == {one.path for one in resumed.clips}
    assert not state.exists()


LABELLED = "hf:somebody/labelled?split=train&label=seen&audio=sound&text=sentence&group=client"


def test_a_column_can_label_the_clips_of_one_split(reader):
    cohort = reader.find(f"{LABELLED}&task=sound&language=fr", per_class=5)
    assert Counter(cohort.labels) == {0: 5, 1: 5}
    for one, label in zip(cohort.clips, cohort.labels, strict=True):
        assert int(one.text.split()[1]) % 2 == label  # odd rows are labelled true
        assert one.group == f"client {int(one.text.split()[1]) // 2}"
        assert (one.task, one.language) == ("sound", "fr")


def test_what_cannot_be_a_clip_is_counted_by_reason_and_no_audio_is_taken_twice(reader):
    cohort = reader.find(LABELLED, per_class=30)
    sounds = [one.path.read_bytes() for one in cohort.clips]
    assert len(set(sounds)) == len(sounds)
    about = json.loads((folder(cohort) / "drawn.json").read_text())
    assert about["rows_without_a_clip"]["both"] == {
        "audio that cannot be decoded": 5,
        "no audio": 5,
        "too short or too long": 5,
        "no text that is spoken or described": 5,
    }
    assert about["per_class_wanted"] == 30 and len(sounds) == 2 * about["per_class"] < 60


def test_loose_files_are_read_from_the_hubs_own_conversion(reader):
    cohort = reader.find("hf:somebody/loose?text=transcription&name=mine", per_class=3)
    assert all(one.clip_id.startswith("mine/") and one.text for one in cohort.clips)
    assert "converted by the hub" in cohort.description


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:nobody/nothing", "no such dataset on the hub: nobody/nothing"),
        ("hf:somebody/script", "holds no Parquet files but a loading script"),
        ("hf:somebody/empty", "no files that can be read"),
        ("hf:openslr/librispeech_asr", "no split train, only train.clean.100"),
        (
            "hf:openslr/librispeech_asr?member=train.clean.100&non_member=test.clean&text=words&group=who",
            "has no column who and no column words, only file, audio, text",
        ),
        ("hf:openslr/librispeech_asr?config=clean", "no configuration clean: there are all"),
        ("hf:LIUM/tedlium?config=release9", "no configuration release9, only release1, release3"),
        ("hf:CLAPv2/Clotho?revision=v9", "no revision v9"),
        ("hf:CLAPv2/Clotho?max_seconds=0.55", "gives no non-members: too short or too long in 18 rows"),
        ("hf:somebody/labelled?split=train&label=client&audio=sound", "column client holds 'client"),
    ],
)
def test_what_cannot_be_drawn_ends_in_one_sentence(reader, name, said):
    with pytest.raises(InputError) as error:
        reader.find(name)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_gated_corpus_asks_for_access_with_no_token_and_with_one_that_may_not(hub, tmp_path):
    for token in ({}, {"HF_TOKEN": "hf_somebody"}):
        with Reader(hub.endpoint, tmp_path, token) as process:
            for name in ("gigaspeech", "spgispeech"):
                with pytest.raises(InputError, match=r"gated: ask for access at .*hf auth login"):
                    process.find(name)
            with pytest.raises(InputError, match="spgispeech=FOLDER"):
                process.find("spgispeech")


def test_an_unreachable_hub_is_said_to_be_unreachable(tmp_path):
    with HubReplica({}) as gone:
        endpoint = gone.endpoint
    with Reader(endpoint, tmp_path) as process, pytest.raises(InputError, match="the hub cannot be reached"):
        process.find("librispeech")


def test_a_corpus_says_what_is_drawn_on_this_machine(reader, monkeypatch):
    monkeypatch.setenv("AUDIT_DATA", str(reader.home / "data"))
    reader.find("nsynth", 3, 5)
    assert "not drawn on this machine yet" in describe(CORPORA["nsynth"])
    assert "drawn on this machine with seed 3" in describe(dataclasses.replace(CORPORA["nsynth"], per_class=5))


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_is_described_with_its_size_licence_and_status(name, monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path))
    corpus = CORPORA[name]
    said = describe(corpus)
    assert str(corpus.per_class) in said and corpus.licence in said
    assert ("gated" in said) == corpus.gated
    assert ("not on the hub" in said) == (corpus.hub_id is None)
    assert 2000 <= 2 * corpus.per_class <= 5000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:", "hf:OWNER/NAME"),
        ("hf:one", "hf:OWNER/NAME"),
        ("hf:a/b/c", "hf:OWNER/NAME"),
        ("hf:a b/c", "hf:OWNER/NAME"),
        ("hf:a/b?colour=red", "no such option: colour"),
        ("hf:a/b?text", "OPTION=VALUE"),
        ("hf:a/b?text=", "text needs one value"),
        ("hf:a/b?text=c&text=d", "text needs one value"),
        ("hf:a/b?per_class=none", "per_class 'none' is not a positive number"),
        ("hf:a/b?max_seconds=-1", "max_seconds '-1' is not a positive number"),
        ("hf:a/b?label=seen", "either split and label"),
        ("hf:a/b?split=train", "either split and label"),
        ("hf:a/b?split=train&label=seen&member=test", "either split and label"),
        ("hf:a/b?member=x&non_member=y,x", "cannot be both"),
        ("hf:a/b?task=smell", "task 'smell'"),
        ("commonvoice", "no such corpus: commonvoice"),
    ],
)
def test_a_name_that_cannot_be_understood_is_refused(name, said):
    with pytest.raises(InputError, match=said):
        known(name)


def test_a_name_says_columns_splits_and_size():
    corpus, no_folder = known(
        "hf:mozilla/voice-data?config=fr&member=train,validated&non_member=test&text=what%20is%20said&group=client_id&id=path"
        "&audio=sound&task=speech&language=fr&per_class=700&max_seconds=12.5&revision=v2"
    )
    assert no_folder is None
    assert corpus.member_splits == ("train", "validated") and corpus.non_member_splits == ("test",)
    assert corpus.columns == Columns("sound", (Value("what is said"),), Value("client_id"), Value("path"))
    assert (corpus.config, corpus.revision, corpus.language, corpus.per_class) == ("fr", "v2", "fr", 700)
    assert corpus.max_seconds == 12.5 and corpus.name == "mozilla-voice-data-fr"
    assert set(OPTIONS) >= {"member", "label"}


def test_only_names_of_these_corpora_are_handled():
    assert all(handles(name) for name in [*CORPORA, "librispeech=/data", "hf:a/b"])
    assert not any(handles(name) for name in ["core-clean", "list.csv", "data=x.csv", "LibriSpeech"])


def drawn_row(rank: str, digest: str, label: int = 0) -> Drawn:
    return Drawn(rank, f"c/{rank}", "train", label, "text", None, 1.0, digest, f"audio/{rank}.wav")


def test_the_smallest_ranks_of_each_class_are_kept_and_equal_audio_once():
    rows = [drawn_row("d", "1"), drawn_row("b", "2"), drawn_row("c", "2"), drawn_row("a", "3", 1), drawn_row("e", "4")]
    assert [one.rank for one in smallest(rows, 2)] == ["a", "b", "d"]
    assert [one.rank for one in smallest(reversed(rows), 2, {"2"})] == ["a", "d", "e"]


def test_a_value_is_found_in_a_column_its_path_its_first_entry_or_by_a_pattern():
    row = {"audio": {"bytes": b"", "path": "a/Bus_user07_1.wav"}, "captions": ["one", "two"], "n": 3, "none": None}
    assert value_of(row, Value("audio.path", r"_(user\d+)_")) == "user07"
    assert value_of(row, Value("captions")) == "one"
    assert value_of(row, Value("n", r"(\d)", r"number \1")) == "number 3"
    assert value_of(row, Value("none")) is None
    assert value_of(row, Value("captions", "three")) is None


def test_text_edits_apply_in_order():
    corpus = CORPORA["gigaspeech"]
    assert edited_text("AND SO <COMMA> SHE  ASKED <QUESTIONMARK>", corpus) == "and so, she asked?"
    assert edited_text("it 's {NOISE} a <unk> don 't(2)", CORPORA["tedlium"]) == "it's a don't"
