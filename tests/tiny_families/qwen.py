"""What the small Qwen models share: a tokenizer, and chat turns in ChatML."""

from transformers import Qwen2Tokenizer

from tests.tiny_families.parts import byte_level_bpe, vocabulary_and_merges

ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
OMNI_TOKENS = {
    "audio_token": "<|AUDIO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
}
OMNI_3_TOKENS = {
    "audio_token": "<|audio_pad|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
}
MROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}


def qwen_tokenizer(named: dict[str, str], plain: tuple[str, ...] = ()) -> Qwen2Tokenizer:
    """Qwen's tokenizer class with the special tokens that a family names; `plain` are further tokens, not special."""
    vocabulary, merges = vocabulary_and_merges(byte_level_bpe([*ENDS, *named.values(), *plain]))
    tokenizer = Qwen2Tokenizer(
        vocabulary, merges, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=named
    )
    tokenizer.add_tokens(list(plain))
    return tokenizer


def chat_template(audio: str, system: str = "") -> str:
    """Chat turns as Qwen's templates write them.

    Parameters
    ----------
    audio : str
        What stands for a clip.
    system : str
        What the system says where the conversation has no system turn; empty adds none.
    """
    opening = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return (
        "{% for message in messages %}"
        "{% if loop.first and message['role'] != 'system' %}" + opening + "{% endif %}"
        "<|im_start|>{{ message['role'] }}\n"
        "{% for content in message['content'] %}"
        "{% if content['type'] == 'audio' %}" + audio + "{% else %}{{ content['text'] }}{% endif %}"
        "{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
