"""Speaks with CosyVoice2 in CosyVoice's own environment; started by the audit, not by people.

Usage: PYTHON cosyvoice_worker.py [--identify] --model DIR_OR_ID [--repo CHECKOUT]

A request holds ``text``, ``reference`` (WAV file), ``reference_text`` (or null), ``seed`` and ``out``. Read in the
source of FunAudioLLM/CosyVoice: since commit 622a3a1 (December 2025) a reference is handed over as a file's path,
before as a tensor at 16 kHz; and `AutoModel` came later than `CosyVoice2`.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

from line_protocol import identify, serve


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identify", action="store_true")
    parser.add_argument("--model", required=True)
    parser.add_argument("--repo", default="")
    return parser.parse_args()


def find_repository(repo):
    """Put a checkout, and the submodule that it needs, on the path: CosyVoice is no installable package."""
    if repo:
        sys.path[:0] = [repo, str(Path(repo) / "third_party" / "Matcha-TTS")]


def load(model):
    """Load the model; returns a function of a request."""
    import torch
    from cosyvoice.cli import cosyvoice
    from cosyvoice.utils.file_utils import load_wav

    opened = cosyvoice.AutoModel if hasattr(cosyvoice, "AutoModel") else cosyvoice.CosyVoice2
    speaker = opened(model_dir=model)

    def render(request):
        text = bool(request["reference_text"])
        method = speaker.inference_zero_shot if text else speaker.inference_cross_lingual
        named = inspect.signature(method).parameters
        path = request["reference"]
        arguments = {"tts_text": request["text"], "stream": False}
        if text:
            arguments["prompt_text"] = request["reference_text"]
        if "prompt_wav" in named:
            arguments["prompt_wav"] = path
        else:
            arguments["prompt_speech_16k"] = load_wav(path, 16000)
        if "text_frontend" in named:
            arguments["text_frontend"] = (
                False  # as in the repository's example: needed to reproduce CosyVoice2's results
            )
        torch.manual_seed(request["seed"])
        with torch.no_grad():
            spoken = [part["tts_speech"].cpu() for part in method(**arguments)]
        return torch.cat(spoken, dim=1).numpy(), speaker.sample_rate

    return render


def main():
    """Identify, or serve."""
    options = parse()
    find_repository(options.repo)
    if options.identify:
        identify("cosyvoice")
    else:
        serve(lambda: load(options.model))


if __name__ == "__main__":
    main()
