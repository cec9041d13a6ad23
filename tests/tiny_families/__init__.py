"""One module per model type of `precompute.targets.families.FAMILIES`, named like it: a small model to test with.

A module has ``build(path) -> path``, which saves the real model class with random weights and the real processor class
as the hub originals are saved. Where the plain way of `parts` does not fit a family, its module also has
``plain_inputs(processor, audio, prompt)``, ``plain_ids(model, inputs, steps)`` or ``plain_logits(model, inputs, ids)``:
what transformers itself makes of one clip, the reference that the adapter is compared with.
``OTHER_PROMPT`` is a prompt that a family which does not take every text can be asked besides its own.
"""
