"""The families of audio language models that can be audited: what each is, and the class that reads it.

A family is a row here; a file of its own beside this one holds only what differs from `precompute.targets.base`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from precompute.targets.base import PROMPTS


@dataclass(frozen=True)
class Family:
    """One model type of transformers.

    Parameters
    ----------
    model_type : str
        As in ``config.json``.
    title : str
        For people.
    example : str
        Hub id of a published model of the family.
    target : str
        ``module:Class`` of the `ChatTarget` that reads it.
    auto_class : str
        transformers' auto class that lists it, or the class itself.
    prompts : mapping of str to str
        What to ask per task.
    chat : bool
        Whether its processor needs a chat template.
    part : str
        Beginning of the names of the weights that are loaded, where checkpoints may hold more than these.
    """

    model_type: str
    title: str
    example: str
    target: str = "precompute.targets.base:ChatTarget"
    auto_class: str = "AutoModelForMultimodalLM"
    prompts: Mapping[str, str] = field(default_factory=lambda: PROMPTS)
    chat: bool = True
    part: str = ""


_NO_PROMPT = dict.fromkeys(PROMPTS, "")
"""Of models that do one thing and are asked nothing."""
_TRANSCRIBE = dict.fromkeys(PROMPTS, "transcribe")
_ENGLISH = dict.fromkeys(PROMPTS, "en")
"""Of models that are asked for a language."""
_ENCODER_DECODER = "precompute.targets.encoder_decoder"

# The caption prompt of the Qwen2-Audio repository's README; it has none for Instruct's transcripts.
_QWEN2_AUDIO = {**PROMPTS, **dict.fromkeys(("sound", "music"), "Generate the caption in English:")}
# From the Qwen3-Omni repository: README ("Transcribe the <source_language> audio into text."), cookbooks audio_caption
# and music_analysis. The cookbook of Qwen2.5-Omni asks for transcripts in the same words.
_QWEN_OMNI = {
    "speech": "Transcribe the audio into text.",
    "sound": "Give the detailed description of the audio.",
    "music": "Describe the style, rhythm, dynamics, and expressed emotions of this piece of music.",
}
_QWEN = "precompute.targets.qwen"

_GEMMA4 = {
    **PROMPTS,
    "speech": "Transcribe the following speech segment in its original language. "
    "Only output the transcription, with no newlines.",
}
"""The first lines of the prompt for transcripts that Gemma 4 is published with."""

_LISTED = (
    # transformers lists the Flamingos among encoder-decoders, although their text models are decoder-only.
    Family(
        "audioflamingo3",
        "Audio Flamingo 3",
        "nvidia/audio-flamingo-3-hf",
        "precompute.targets.flamingo:FlamingoTarget",
        "AutoModelForSeq2SeqLM",
    ),
    Family(
        "musicflamingo",
        "Music Flamingo",
        "nvidia/music-flamingo-2601-hf",
        "precompute.targets.flamingo:FlamingoTarget",
        "AutoModelForSeq2SeqLM",
    ),
    Family(
        "qwen2_audio",
        "Qwen2-Audio",
        "Qwen/Qwen2-Audio-7B-Instruct",
        f"{_QWEN}:Qwen2AudioTarget",
        prompts=_QWEN2_AUDIO,
    ),
    # The auto classes would load the whole Omni models, which can speak too, and with them a pickle of voices.
    Family(
        "qwen2_5_omni",
        "Qwen2.5-Omni (thinker)",
        "Qwen/Qwen2.5-Omni-7B",
        f"{_QWEN}:QwenOmniTarget",
        "Qwen2_5OmniThinkerForConditionalGeneration",
        _QWEN_OMNI,
        part="thinker.",
    ),
    Family(
        "qwen2_5_omni_thinker",
        "Qwen2.5-Omni's thinker alone",
        "Tevatron/Qwen2.5-Omni-7B-Thinker",
        f"{_QWEN}:QwenOmniTarget",
        prompts=_QWEN_OMNI,
    ),
    Family(
        "qwen3_omni_moe",
        "Qwen3-Omni (thinker)",
        "Qwen/Qwen3-Omni-30B-A3B-Instruct",
        f"{_QWEN}:Qwen3OmniTarget",
        "Qwen3OmniMoeThinkerForConditionalGeneration",
        _QWEN_OMNI,
        part="thinker.",
    ),
    Family(
        "qwen3_asr",
        "Qwen3-ASR",
        "Qwen/Qwen3-ASR-1.7B-hf",
        f"{_QWEN}:Qwen3AsrTarget",
        prompts=_NO_PROMPT,
    ),
    Family(
        "voxtral",
        "Voxtral",
        "mistralai/Voxtral-Mini-3B-2507",
        "precompute.targets.voxtral:VoxtralTarget",
        prompts={**PROMPTS, "speech": "[TRANSCRIBE]"},  # its own transcription request
        chat=False,
    ),
    Family(
        "granite_speech",
        "Granite Speech",
        "ibm-granite/granite-4.0-1b-speech",
        "precompute.targets.granite:GraniteSpeechTarget",
        # Of its model cards; it was trained to transcribe and translate only.
        prompts=dict.fromkeys(PROMPTS, "can you transcribe the speech into a written format?"),
        chat=False,
    ),
    Family(
        "granite_speech_plus",
        "Granite Speech Plus",
        "ibm-granite/granite-speech-4.1-2b-plus",
        "precompute.targets.granite:GraniteSpeechPlusTarget",
        # With the space, of the examples in transformers' documentation.
        prompts=dict.fromkeys(PROMPTS, " can you transcribe the speech into a written format?"),
        chat=False,
    ),
    Family(
        "phi4_multimodal",
        "Phi-4-multimodal",
        "microsoft/Phi-4-multimodal-instruct@refs/pr/70",  # the main branch needs code from the hub
        "precompute.targets.phi4:Phi4MultimodalTarget",
        # Of the Open ASR Leaderboard's evaluation of it.
        prompts={**PROMPTS, "speech": "Transcribe the audio clip into text."},
    ),
    Family(
        "gemma3n",
        "Gemma 3n",
        "google/gemma-3n-E4B-it",
        "precompute.targets.gemma:Gemma3nTarget",
        prompts={**PROMPTS, "speech": "Transcribe this audio."},  # its publisher names no wording
    ),
    Family(
        "gemma4",
        "Gemma 4",
        "google/gemma-4-E4B-it",
        "precompute.targets.gemma:Gemma4Target",
        prompts=_GEMMA4,
    ),
    Family(
        "gemma4_unified",
        "Gemma 4 without encoders",
        "google/gemma-4-12B-it",
        "precompute.targets.gemma:Gemma4UnifiedTarget",
        prompts=_GEMMA4,
    ),
    Family(
        "glmasr",
        "GLM-ASR",
        "zai-org/GLM-ASR-Nano-2512",
        "precompute.targets.glmasr:GlmAsrTarget",
        # The default of its processor; it was trained to transcribe only.
        prompts=dict.fromkeys(PROMPTS, "Please transcribe this audio into text"),
    ),
    Family(
        "fun_asr_nano",
        "Fun-ASR-Nano",
        "FunAudioLLM/Fun-ASR-Nano-2512-hf",
        "precompute.targets.funasr:FunAsrTarget",
        prompts=_NO_PROMPT,
    ),
    Family(
        "vibevoice_asr",
        "VibeVoice-ASR",
        "microsoft/VibeVoice-ASR-HF",
        "precompute.targets.vibevoice:VibeVoiceTarget",
        prompts=_NO_PROMPT,
    ),
    Family(
        "whisper",
        "Whisper",
        "openai/whisper-large-v3",
        "precompute.targets.whisper:WhisperTarget",
        "AutoModelForSpeechSeq2Seq",
        _TRANSCRIBE,
        chat=False,
    ),
    Family(
        "moonshine",
        "Moonshine",
        "UsefulSensors/moonshine-base",
        f"{_ENCODER_DECODER}:MoonshineTarget",
        "AutoModelForSpeechSeq2Seq",
        _NO_PROMPT,
        chat=False,
    ),
    Family(
        "moonshine_streaming",
        "Moonshine Streaming",
        "UsefulSensors/moonshine-streaming-medium",
        f"{_ENCODER_DECODER}:MoonshineStreamingTarget",
        "AutoModelForSpeechSeq2Seq",
        _NO_PROMPT,
        chat=False,
    ),
    Family(
        "speech_to_text",
        "Speech2Text",
        "facebook/s2t-large-librispeech-asr",
        f"{_ENCODER_DECODER}:SpeechToTextTarget",
        "AutoModelForSpeechSeq2Seq",
        _NO_PROMPT,
        chat=False,
    ),
    Family(
        "seamless_m4t",
        "SeamlessM4T",
        "facebook/hf-seamless-m4t-medium",
        f"{_ENCODER_DECODER}:SeamlessTarget",
        "AutoModelForSpeechSeq2Seq",
        dict.fromkeys(PROMPTS, "eng"),
        chat=False,
    ),
    Family(
        "seamless_m4t_v2",
        "SeamlessM4T v2",
        "facebook/seamless-m4t-v2-large",
        f"{_ENCODER_DECODER}:SeamlessTarget",
        "AutoModelForSpeechSeq2Seq",
        dict.fromkeys(PROMPTS, "eng"),
        chat=False,
    ),
    Family(
        "cohere_asr",
        "Cohere Transcribe",
        "CohereLabs/cohere-transcribe-03-2026",
        f"{_ENCODER_DECODER}:CohereAsrTarget",
        "AutoModelForSpeechSeq2Seq",
        _ENGLISH,
        chat=False,
    ),
    Family(
        "canary",
        "Canary",
        "nvidia/canary-1b-v2",
        f"{_ENCODER_DECODER}:CanaryTarget",
        "AutoModelForSpeechSeq2Seq",
        _ENGLISH,
    ),
)

_RECURRENT = "their text model keeps recurrent states, and transformers cannot select rows of them for a batch of clips"

FAMILIES: dict[str, Family] = {family.model_type: family for family in _LISTED}
"""Model type to family."""

_IN_STEP = (
    "they hear and write in step, one token for every 80 ms, so a given transcript would have to say when each of its "
    "words is due"
)
NOT_AUDITED: dict[str, str] = {
    "voxtral_realtime": _IN_STEP,
    "kyutai_speech_to_text": _IN_STEP,
    "moss_transcribe_diarize": "they write time stamps and speakers between the words, which a given transcript lacks, "
    "so it could not be scored as they were trained to write it",
    "nemo_speechlm": _RECURRENT,
    "nemotron_h_omni": _RECURRENT,
    "phi4mm": "they need code from the hub; revision refs/pr/70 of microsoft/Phi-4-multimodal-instruct is the same "
    "model for transformers' own classes",
}
"""Model types that read audio and write text and are refused, each with the reason, as an ending of a sentence."""
