"""The explorer's words where the clips are sounds: captions and renderings, never transcripts and voices."""

import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from fake_bundle import write_fake_bundle

from explorer import evidence, grid, overview, single
from explorer.catalog import CAPTIONS, TRANSCRIPTS, Catalog
from explorer.columns import Columns
from explorer.served import Served
from explorer.site import table_of

SPEECH, SOUND = "synthetic-clean", "synthetic-shift"
HEARD = {"own_caption": 0.71, "own_caption_low": 0.66, "own_caption_high": 0.76}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Catalog:
    """One dataset of speech and one of sounds, whose captions were heard in the original and not in a rendering."""
    bundle = write_fake_bundle(tmp_path_factory.mktemp("captions") / "bundle", per_class=12)
    clips = bundle.clips.assign(task=np.where(bundle.clips["dataset"] == SOUND, "sound", "speech"))
    conditions = [
        {**row, **HEARD, "readable": row["condition"] != "resynthesis"} if row["dataset"] == SOUND else row
        for row in bundle.results["conditions"]
    ]
    return Catalog(replace(bundle, clips=clips, results={**bundle.results, "conditions": conditions}))


def test_a_dataset_of_sounds_has_captions_and_one_of_speech_transcripts(catalog):
    assert catalog.words(SPEECH) is TRANSCRIPTS and catalog.words(SOUND) is CAPTIONS
    assert (catalog.task(SPEECH), catalog.task(SOUND)) == ("speech", "sound")


def test_a_bundle_without_tasks_is_one_of_speech(catalog):
    old = Catalog(replace(catalog.bundle, clips=catalog.bundle.clips.drop(columns="task")))
    assert old.words(SOUND) is TRANSCRIPTS and old.task(SOUND) == "speech"


def test_the_selectors_buttons_and_families_follow_the_dataset(catalog):
    speech, sound = catalog.for_browser()["datasets"]
    assert (speech["word"], sound["word"]) == ("transcript", "caption")
    assert (speech["texts"]["reference"], sound["texts"]["reference"]) == ("the known transcript", "the known caption")
    assert (speech["families"]["text"], sound["families"]["text"]) == ("transcript", "caption")
    assert "another voice 2" in speech["inputs"] and "another rendering 2" in sound["inputs"]
    assert len(speech["inputs"]) == len(sound["inputs"]) == len(catalog.inputs)


def test_the_table_of_clips_is_headed_in_the_words_of_its_dataset(catalog):
    served = Served.open(catalog)
    request = {"dataset": 1, "target": 0, "input": 0, "text": "generated", "fit": "refit", "family": "text"}
    table = table_of(served, {**request, "rows": [2, 0]})
    served.close()
    assert "caption" in table and "transcript" not in table
    assert table["caption"].tolist() == served.columns.clips[1]["text"].iloc[[2, 0]].tolist()


def test_the_grid_of_captions_shows_how_often_the_own_caption_is_nearest(catalog):
    sound, speech = (grid.section(catalog, name, "synthetic-target", "refit") for name in (SOUND, SPEECH))
    assert "own caption nearer 71% [66, 76]" in sound and "cannot make out this audio" in sound
    assert "word error" in speech and "own caption" not in speech
    shown = re.sub(r'title="[^"]*"', "", sound)  # a condition's own description speaks of both
    for word in ("voice", "transcript", "cannot read"):
        assert word not in shown


def test_evidence_and_overview_name_captions(catalog):
    sound, speech = (evidence.charts(catalog, name, "synthetic-target") for name in (SOUND, SPEECH))
    assert "on the known caption" in sound and "transcript" not in sound
    assert "on the known transcript" in speech and "caption" not in re.sub(r"</?caption", "", speech)
    assert "synthetic" in overview.legend(catalog)


def test_what_separates_captions_is_said_of_captions():
    row = {
        **{"property": "metadata.character_count", "words": "characters of the transcript", "unit": "", "auc": 0.7},
        **{"q": 0.01, "member_quantiles": [1, 2, 60, 70, 80], "non_member_quantiles": [1, 2, 40, 50, 60]},
    }
    assert evidence.difference([row], CAPTIONS).startswith("Members’ captions are longer")
    assert evidence.difference([row]).startswith("Members’ transcripts are longer")


def test_rendered_sounds_are_called_synthetic_beside_real_speech(catalog):
    datasets = [
        {**row, "name": name, "title": title}
        for row, name, title in zip(
            catalog.datasets, ("core-clean", "scenes"), ("Halves", "Scenes (SYNTHETIC)"), strict=True
        )
    ]
    clips = catalog.bundle.clips.assign(
        dataset=catalog.bundle.clips["dataset"].map({SPEECH: "core-clean", SOUND: "scenes"})
    )
    renamed = Catalog(replace(catalog.bundle, audit={**catalog.bundle.audit, "datasets": datasets}, clips=clips))
    said = overview.legend(renamed)
    assert "Recorded speech is real; the sounds of scenes are SYNTHETIC and so are their captions" in said


def test_an_upload_beside_sounds_is_rendered_again_from_what_the_target_wrote(catalog, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "clip.wav", 0.1 * np.ones(16000), 16000)
    asked = []

    def score(samples, text, dataset, target):
        return {"generated_text": "A dog barks.", "score": 0.5, "refusal": "unlike", "reason": ""}

    def render(name, clip, samples, realization, text=None):
        asked.append((name, clip.task, text))
        return samples

    monkeypatch.setattr(single, "render", render)
    for dataset in (SOUND, SPEECH):
        single.score_upload(tmp_path / "clip.wav", dataset, "synthetic-target", None, catalog, score)
    assert asked == [("resynthesis", "sound", "A dog barks."), ("resynthesis", "speech", "A dog barks.")]


def test_the_columns_of_a_page_are_the_same_whatever_the_texts_are_called(catalog):
    assert Columns(catalog).texts_file(1) == Columns(catalog).clips[1]["text"].tolist()
