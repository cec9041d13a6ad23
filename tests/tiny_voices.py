"""Speech and sound models of the real classes with tiny random weights, in the layout that the hub has them in."""

import warnings

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PocketTTSAudioTokenizerConfig,
    PocketTTSAudioTokenizerModel,
    PocketTTSConfig,
    PocketTTSFeatureExtractor,
    PocketTTSForConditionalGeneration,
    PocketTTSProcessor,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
    VibeVoiceAcousticTokenizerFeatureExtractor,
    VibeVoiceConfig,
    VibeVoiceForConditionalGeneration,
    VibeVoiceProcessor,
)

POCKET_TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] if c['type'] == 'audio' %}<voice_bos><voice>{% endfor %}"
    "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}{% endfor %}<audio_bos>"
)
"""Voice, text, first audio position: the layout that transformers' processor documents."""

VIBE_TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] if c['type'] == 'audio' %} Speaker {{ m['role'] }}:"
    "<|vision_start|><|vision_pad|><|vision_end|>\n{% endfor %}{% endfor %} Text input:\n"
    "{% for m in messages %}{% for c in m['content'] if c['type'] == 'text' %} Speaker {{ m['role'] }}: "
    "{{ c['text'] }}\n{% endfor %}{% endfor %} Speech output:\n<|vision_start|>"
)


def byte_tokenizer(special, **roles):
    """A tokenizer of single bytes with special tokens in front."""
    raw = Tokenizer(models.BPE(unk_token=special[0]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator([], trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet))
    return PreTrainedTokenizerFast(tokenizer_object=raw, padding_side="left", **roles)


def pocket_tts(folder):
    """Pocket TTS in small, its audio tokenizer in a folder of its own as on the hub."""
    torch.manual_seed(0)
    codec = PocketTTSAudioTokenizerModel(
        PocketTTSAudioTokenizerConfig(
            hidden_size=16,
            num_filters=4,
            upsampling_ratios=[4, 4, 4],
            latent_stride=30,
            upsample_groups=16,
            num_hidden_layers=1,
            intermediate_size=32,
            num_attention_heads=2,
            num_key_value_heads=2,
            latent_dim=8,
        )
    )
    codec.save_pretrained(folder / "codec")
    special = ["<unk>", "<pad>", "<voice>", "<latent>", "<voice_bos>", "<audio_bos>"]
    named = {"audio_prompt": "<voice>", "audio_latent": "<latent>", "audio_prompt_bos": "<voice_bos>"}
    extra = {f"{key}_token": token for key, token in {**named, "audio_bos": "<audio_bos>"}.items()}
    tokenizer = byte_tokenizer(special, unk_token="<unk>", pad_token="<pad>", extra_special_tokens=extra)
    codec = PocketTTSAudioTokenizerModel.from_pretrained(folder / "codec")
    processor = PocketTTSProcessor(
        PocketTTSFeatureExtractor(), tokenizer, audio_tokenizer=codec, chat_template=POCKET_TEMPLATE
    )
    config = PocketTTSConfig(
        flow_head_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "latent_dim": 8,
            "condition_dim": 32,
            "frequency_embedding_size": 16,
        },
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        latent_dim=8,
        pad_token_id=1,
        **{f"{key}_id": tokenizer.convert_tokens_to_ids(token) for key, token in extra.items()},
    )
    model = PocketTTSForConditionalGeneration(config)
    for matrix in (weight for weight in model.parameters() if weight.ndim > 1):  # large enough for a voice to be heard
        matrix.data.mul_(5)
    model.generation_config.do_sample = True
    model.generation_config.temperature = 0.7
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    return folder / "model"


def vibevoice(folder):
    """VibeVoice in small; it never ends by itself, so that its budget of frames decides how long it speaks."""
    torch.manual_seed(0)
    special = ["<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"]
    tokenizer = byte_tokenizer(
        special, eos_token=special[0], pad_token=special[0], additional_special_tokens=special[1:]
    )
    codec = {"num_filters": 2, "depths": [1] * 7}
    config = VibeVoiceConfig(
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "pad_token_id": 0,
            "eos_token_id": 0,
            "bos_token_id": None,
        },
        audio_config={"model_type": "vibevoice_acoustic_tokenizer", "hidden_size": 8, **codec},
        semantic_model_config={"model_type": "vibevoice_acoustic_tokenizer_encoder", "hidden_size": 12, **codec},
        diffusion_head_config={"num_hidden_layers": 1, "intermediate_size": 64, "frequency_embedding_size": 16},
        pad_token_id=0,
        eos_token_id=0,
        audio_bos_token_id=1,
        audio_eos_token_id=2,
        audio_token_id=3,
    )
    model = VibeVoiceForConditionalGeneration(config)
    for matrix in (weight for weight in model.parameters() if weight.ndim > 1):
        matrix.data.mul_(5)
    model.model.latent_scaling_factor.data.fill_(0.2)
    model.model.latent_bias_factor.data.fill_(0.0)
    settings = model.generation_config
    settings.guidance_scale = 1.3
    settings.max_new_tokens = 40_500
    settings.suppress_tokens = [0, 1, 2]
    settings.noise_scheduler_class = "DPMSolverMultistepScheduler"
    settings.noise_scheduler_config = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    model.save_pretrained(folder)
    VibeVoiceProcessor(
        VibeVoiceAcousticTokenizerFeatureExtractor(), tokenizer, chat_template=VIBE_TEMPLATE
    ).save_pretrained(folder)
    return folder


def stable_audio(folder):
    """Stable Audio in small, at 16 kHz."""
    from diffusers import (
        AutoencoderOobleck,
        CosineDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
        StableAudioProjectionModel,
    )

    torch.manual_seed(0)
    letters = [(letter, -2.0) for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,'"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *letters]
    tokenizer = T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=40)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        autoencoder = AutoencoderOobleck(
            encoder_hidden_size=4,
            downsampling_ratios=[2, 4, 4, 8, 8],
            decoder_channels=4,
            decoder_input_channels=8,
            channel_multiples=[1] * 5,
            sampling_rate=16_000,
        )
    pipeline = StableAudioPipeline(
        vae=autoencoder,
        text_encoder=T5EncoderModel(
            T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
        ),
        projection_model=StableAudioProjectionModel(32, 32, 0, 32),
        tokenizer=tokenizer,
        transformer=StableAudioDiTModel(
            sample_size=32,
            in_channels=8,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            num_key_value_attention_heads=2,
            out_channels=8,
            cross_attention_dim=32,
            time_proj_dim=16,
            global_states_input_dim=64,
            cross_attention_input_dim=32,
        ),
        scheduler=CosineDPMSolverMultistepScheduler(sigma_data=1.0, sigma_schedule="exponential"),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
