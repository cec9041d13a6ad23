r"""The eight corpora of arXiv 2603.28378 as data: members are official train, non-members official test.

The paper says "balanced cohorts of 2,000 to 5,000" and no more; how many of each, from which mirror and in what
spelling is ours. ``verified`` says of each entry what was read in copies of its hub pages or in public code, and what
was not; a draw checks splits and columns itself and names what there is instead.
"""

from __future__ import annotations

from precompute.corpora.hub import Columns, HubCorpus, Value

LIBRISPEECH = HubCorpus(
    name="librispeech",
    title="LibriSpeech",
    hub_id="openslr/librispeech_asr",
    config="all",
    member_splits=("train.clean.100", "train.clean.360", "train.other.500"),
    non_member_splits=("test.clean", "test.other"),
    columns=Columns(group=Value("speaker_id"), id=Value("id")),
    per_class=2000,
    lowercase=True,
    mean_seconds=9.6,
    seconds_source="961 h in 281,241 train rows and 10.5 h in 5,559 test rows, the mean of both",
    licence="CC-BY-4.0",
    attribution="LibriSpeech (Panayotov, Chen, Povey, Khudanpur 2015), read by volunteers of LibriVox",
    homepage="https://www.openslr.org/12",
    verified="dataset card: configuration, splits, their row counts, columns and types, licence; that main is "
    "Parquet: from a copy of the repository. Hours: the corpus paper.",
    note="Groups are speakers. Train clips are longer than test clips (12 s against 7 s), and the text is in "
    "capitals: it is set in lower case here.",
    local_layout="LibriSpeech/train-*/SPEAKER/CHAPTER/*.flac and *.trans.txt, the same under LibriSpeech/test-*",
)

GIGASPEECH = HubCorpus(
    name="gigaspeech",
    title="GigaSpeech",
    hub_id="speechcolab/gigaspeech",
    config="xl",
    member_splits=("train",),
    non_member_splits=("test",),
    columns=Columns(group=Value("audio_id"), id=Value("segment_id")),
    per_class=2000,
    skip_text=r"\s*<(SIL|MUSIC|NOISE|OTHER)>\s*",
    text_edits=(
        (r"\s*<COMMA>", ","),
        (r"\s*<PERIOD>", "."),
        (r"\s*<QUESTIONMARK>", "?"),
        (r"\s*<EXCLAMATIONPOINT>", "!"),
    ),
    lowercase=True,
    mean_seconds=5.0,
    seconds_source="40 h in 25,619 test rows (5.6 s); about 4 s a train segment, an estimate",
    licence="Apache-2.0 (labels); audio for non-commercial research, its copyright with its owners",
    attribution="GigaSpeech (Chen et al. 2021), SpeechColab; audiobooks, podcasts and videos of many owners",
    homepage="https://huggingface.co/datasets/speechcolab/gigaspeech",
    gated=True,
    verified="page: gated, Parquet, licence tag, terms; columns and types: card of a copy with the same columns; "
    "number of test rows: public evaluation code. Not verified from here: that configuration xl has splits named "
    "train and test.",
    note="Groups are recordings (audio_id). Segments that hold no speech are left out; punctuation tags are written "
    "as punctuation, capitals in lower case.",
)

TEDLIUM = HubCorpus(
    name="tedlium",
    title="TED-LIUM 3",
    hub_id="LIUM/tedlium",
    config="release3",
    member_splits=("train",),
    non_member_splits=("test",),
    columns=Columns(group=Value("speaker_id"), id=Value("id")),
    per_class=1100,
    skip_text=r"\s*(ignore_time_segment_in_scoring|inter_segment_gap)\s*",
    text_edits=((r"<unk>|<sil>|\{[A-Z]+\}|\(\d+\)", " "), (r"\s+'", "'")),
    mean_seconds=7.0,
    seconds_source="452 h of train talks and about 2.6 h of test, an estimate",
    licence="CC-BY-NC-ND-3.0",
    attribution="TED-LIUM 3 (Hernandez et al. 2018), LIUM and Ubiqus; all talks and text are property of TED "
    "Conferences LLC",
    homepage="https://www.openslr.org/51",
    verified="the repository is a loading script, which is no longer run; the hub's conversion has "
    "release3/partial-train (10 files) and release3/partial-test (1 file); columns: the script and its card. 1,469 "
    "test rows: public evaluation code; with those not scored left out, over 1,100 remain.",
    note="Groups are talks. The hub's conversion holds the first 5 GB of train only, and members are drawn from that.",
    local_layout="TEDLIUM_release-3/legacy/train/{sph,stm} and legacy/test/{sph,stm}",
)

VOXPOPULI = HubCorpus(
    name="voxpopuli",
    title="VoxPopuli (English)",
    hub_id="facebook/voxpopuli",
    config="en",
    member_splits=("train",),
    non_member_splits=("test",),
    columns=Columns(
        text=(Value("normalized_text"), Value("raw_text")), group=Value("speaker_id"), id=Value("audio_id")
    ),
    per_class=1500,
    mean_seconds=10.0,
    seconds_source="543 h of English, about 10 s a row, an estimate",
    licence="CC0-1.0, and the European Parliament's legal notice",
    attribution="VoxPopuli (Wang et al. 2021), Meta AI; recordings of the European Parliament",
    homepage="https://huggingface.co/datasets/facebook/voxpopuli",
    verified="columns and types: the repository's loading script; licence: its page; 1,842 English test rows: public "
    "evaluation code. The hub's conversion was seen for other configurations (en_accented, et, sk, sl), not for en.",
    note="Groups are speakers; members of parliament speak in many sessions.",
)

SPGISPEECH = HubCorpus(
    name="spgispeech",
    title="SPGISpeech",
    hub_id="kensho/spgispeech",
    config="L",
    member_splits=("train",),
    non_member_splits=("test",),
    columns=Columns(
        text=(Value("transcript"),), group=Value("wav_filename", r"([^/]+)/[^/]+$"), id=Value("wav_filename")
    ),
    per_class=2000,
    mean_seconds=9.2,
    seconds_source="5,000 h of slices of 5 to 15 s; 100 h in 39,341 test rows",
    licence="Kensho's user agreement: non-commercial research",
    attribution="SPGISpeech (O'Neill et al. 2021), Kensho; S&P Global transcripts of earnings calls",
    homepage="https://datasets.kensho.com/datasets/spgispeech",
    gated=True,
    verified="gated; configuration L, splits and the column transcript: public evaluation code; wav_filename "
    "FOLDER/N.wav and the layout of the original: public recipes. Not verified from here: that the repository is "
    "Parquet today (it was a loading script over archives); where it is not, the folder is the way.",
    note="Groups are the folders of the file names (one call or speaker each).",
    local_layout="train.csv and test.csv (or val.csv) with wav_filename|wav_filesize|transcript, beside folders "
    "train/ and test/ (or val/)",
)

CLOTHO = HubCorpus(
    name="clotho",
    title="Clotho 2.1",
    hub_id="CLAPv2/Clotho",
    member_splits=("train",),
    non_member_splits=("test",),
    columns=Columns(text=(Value("raw_text"), Value("text")), id=Value("index")),
    task="sound",
    per_class=1045,
    mean_seconds=22.5,
    seconds_source="clips of 15 to 30 s, the middle",
    licence="Creative Commons licences of the clips' authors on Freesound; see the corpus",
    attribution="Clotho (Drossos, Lipping, Virtanen 2020), Tampere University; sounds by the users of Freesound",
    homepage="https://zenodo.org/records/4783391",
    verified="splits and their sizes (3.84k, 1.05k, 1.05k): its viewer page; columns and types: card of mteb/Clotho, "
    "which has 1,045 rows of the same form. Not verified from here: the columns of the train split, and that it is "
    "Parquet.",
    note="Members are the development part, non-members the evaluation part, the first of five captions each. No "
    "group is known: a Freesound user may have recorded several clips.",
    local_layout="clotho_captions_development.csv and clotho_captions_evaluation.csv beside folders development/ and "
    "evaluation/",
)

COCHLSCENE = HubCorpus(
    name="cochlscene",
    title="CochlScene",
    hub_id=None,
    member_splits=("train",),
    non_member_splits=("test",),
    columns=Columns(
        text=(Value("scene", r"(.+)", r"Ambient sound of a place: \1."),),
        group=Value("audio.path", r"_(user\d+)_"),
        id=Value("audio.path", r"([^/]+)\.wav$"),
    ),
    task="sound",
    per_class=2000,
    mean_seconds=10.0,
    seconds_source="every clip is 10 s",
    licence="see the corpus",
    attribution="CochlScene (Jeong, Park 2022), Cochl; recorded by 831 participants",
    homepage="https://arxiv.org/abs/2211.02289",
    verified="no copy with the official split was found on the hub. Number of clips and participants: the corpus "
    "paper; file names SCENE_userNNNN_RECORDING_PART.wav: the part that AIR-Bench republishes. Not verified from "
    "here: the names of the split folders, and the licence.",
    note="Groups are participants. There are no captions: the text says the scene's name, one of 13.",
    local_layout="CochlScene/Train/SCENE/*.wav and CochlScene/Test/SCENE/*.wav",
)

NSYNTH = HubCorpus(
    name="nsynth",
    title="NSynth",
    hub_id="confit/nsynth-parquet",
    config="instrument",
    member_splits=("train",),
    non_member_splits=("test",),
    columns=Columns(
        text=(
            Value(
                "audio.path",
                r"([a-z]+)(?:_lead)?_(acoustic|electronic|synthetic)_\d+-0*(\d+)-0*(\d+)",
                r"A single \2 \1 note, MIDI pitch \3, velocity \4.",
            ),
            Value("instrument", r"(.+)", r"A single \1 note."),
        ),
        group=Value("audio.path", r"([a-z_]+_\d{3})-\d+-\d+"),
        id=Value("audio.path", r"([^/]+?)(?:\.\w+)?$"),
    ),
    task="music",
    language="en",
    per_class=2000,
    mean_seconds=4.0,
    seconds_source="every note is 4 s",
    licence="CC-BY-4.0",
    attribution="NSynth (Engel et al. 2017), Google Magenta",
    homepage="https://magenta.tensorflow.org/datasets/nsynth",
    verified="Parquet, configurations instrument and pitch, splits of 289k, 12.7k and 4.1k rows: its pages; columns "
    "audio, instrument, label: the script that made it; licence: card of jg583/NSynth. Not verified from here: that "
    "the audio column keeps the notes' file names; where it does not, groups are unknown.",
    note="Groups are instruments, and the test notes are of other instruments than the train notes: what tells the "
    "classes apart may be the instrument. Captions are put together from the notes' names.",
    local_layout="nsynth-train/examples.json and nsynth-train/audio/*.wav, the same under nsynth-test",
)

CORPORA: dict[str, HubCorpus] = {
    corpus.name: corpus
    for corpus in (LIBRISPEECH, GIGASPEECH, TEDLIUM, VOXPOPULI, SPGISPEECH, CLOTHO, COCHLSCENE, NSYNTH)
}
"""The paper's corpora by name."""
