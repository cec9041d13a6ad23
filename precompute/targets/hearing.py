"""Processors of models that hear and see, loaded without the parts that see.

Their image and video readers need packages that an audit of audio never uses.
"""

from __future__ import annotations

from typing import Any

from precompute.targets.loading import Source

SEEING = ("image_processor", "video_processor")


def hearing_only(kind: Any) -> Any:
    """Derive a processor class that takes None for the parts that see.

    Parameters
    ----------
    kind : type
        Processor class of transformers.

    Returns
    -------
    type
        Of the same name.
    """

    def check(processor: Any, name: str, part: Any) -> Any:
        if part is None and name in SEEING:
            return None
        return kind.check_argument_for_proper_class(processor, name, part)

    own = {"check_argument_for_proper_class": check, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), own)


def read_hearing_only(source: Source, name: str) -> Any:
    """Load a processor without the parts that see.

    Parameters
    ----------
    source : Source
    name : str
        Processor class of transformers.

    Returns
    -------
    ProcessorMixin
    """
    import transformers

    kind = hearing_only(getattr(transformers, name))
    settings, _ = kind.get_processor_dict(source.location, **source.where)
    parts = []
    for part in kind.get_attributes():
        auto = transformers.AutoTokenizer if part == "tokenizer" else transformers.AutoFeatureExtractor
        parts.append(None if part in SEEING else auto.from_pretrained(source.location, **source.where))
    processor = kind.from_args_and_dict(parts, settings)
    # Some classes do not name the template among their arguments, and so lose it; the tokenizer reads the same file.
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    return processor
