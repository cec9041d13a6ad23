"""Renders captions with TangoFlux in TangoFlux's own environment; started by the audit, not by people.

Usage: PYTHON tangoflux_worker.py [--identify] --model HUB_ID --seconds S --steps N --guidance G

A request holds ``text``, ``seed`` and ``out``. `TangoFluxInference.generate` has no seed and always draws with seed 0,
so that three calls give one and the same sound (declare-lab/TangoFlux, commit 164420f): what it does is done here with
the seed passed on. `inference_flow` also seeds torch's global generators and makes cuDNN deterministic; both are put
back.
"""

from __future__ import annotations

import argparse
import contextlib

from line_protocol import identify, serve


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identify", action="store_true")
    parser.add_argument("--model", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--guidance", type=float, required=True)
    return parser.parse_args()


def model_revision(model):
    """Commit of a hub model; fetches what is not on this machine yet, as `TangoFluxInference` itself would."""
    from huggingface_hub import snapshot_download

    return snapshot_download(repo_id=model).rstrip("/").split("/")[-1]


@contextlib.contextmanager
def random_state_kept():
    """Leave torch's global random state as it was."""
    import torch

    state, deterministic = torch.get_rng_state(), torch.backends.cudnn.deterministic
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        torch.set_rng_state(state)
        torch.backends.cudnn.deterministic = deterministic
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)


def load(options):
    """Load the model; returns a function of a request."""
    import torch
    from tangoflux import TangoFluxInference

    whole = TangoFluxInference(name=options.model)

    def render(request):
        tokenizer = whole.model.tokenizer
        count = len(tokenizer(request["text"]).input_ids)
        if count > tokenizer.model_max_length:
            raise ValueError(f"the caption has {count} tokens, more than {tokenizer.model_max_length}")
        with torch.no_grad(), random_state_kept():
            latents = whole.model.inference_flow(
                request["text"],
                duration=options.seconds,
                num_inference_steps=options.steps,
                guidance_scale=options.guidance,
                seed=request["seed"],
                disable_progress=True,
            )
            wave = whole.vae.decode(latents.transpose(2, 1)).sample.cpu()[0]
        rate = whole.vae.config.sampling_rate
        return wave[:, : int(options.seconds * rate)].float().numpy(), rate

    return render


def main():
    """Identify, or serve."""
    options = parse()
    if options.identify:
        identify("tangoflux", model=model_revision(options.model))
    else:
        serve(lambda: load(options))


if __name__ == "__main__":
    main()
