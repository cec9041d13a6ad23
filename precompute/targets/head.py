"""Output heads that give float32 logits from weights of a half type.

A head of a half type rounds each logit to it: a bfloat16 logit z is off by up to 2^-8 |z|, so one between 16 and 32 by
up to 0.06 nats. Here the hidden states and the weights keep their type, but products and sums are those of float32.

The product of two half numbers is exact in float32 (short of underflow), so only the H additions round, and whatever
their order the logit z of hidden state h and row w differs from the exact h . w by at most

    gamma_H * sum_i |h_i w_i|,    gamma_n = n u / (1 - n u),    u = 2^-24

(Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, equation 3.5); a bias is one more term. Tensor
cores cut off where a CPU rounds to nearest, so for them u = 2^-23 (Fasi, Higham, Mikaitis and Pranesh, "Numerical
behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021). A log-probability is a logit less a log-sum-exp,
which moves by no more than the largest of its terms: it differs by at most twice the largest bound over the vocabulary.
Soft caps, and scales that logits are divided by, add no more than a few roundings of a logit to that. It is the worst
case: errors that do not all have one sign grow like the root of H (Higham and Mary, "A new approach to probabilistic
rounding error analysis", SIAM Journal on Scientific Computing 41(5), 2019).

This is about the head alone. What half weights and activations do before it has no such bound; it is measured by
``python -m precompute bench --only precision``.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

from precompute.clips import InputError

if TYPE_CHECKING:
    import torch

WEIGHTS_AT_ONCE = 2**20
"""Numbers of a weight matrix that are taken to float32 together: few enough to stay in the cache of a CPU."""
TO_NEAREST, CUT_OFF = 2.0**-24, 2.0**-23
"""Largest relative error of one float32 addition, by how its result is rounded."""


def float32_head(model: Any, name: str) -> None:
    """Let a model's output head give float32 logits; what is not of a half type stays as it is.

    An adapter on the head is taken with it. Weights may be tied, spread over devices, or lie elsewhere until they are
    needed: nothing is copied, and only what the head computes is replaced.

    Parameters
    ----------
    model : PreTrainedModel
        With its hooks, where `accelerate` has put some.
    name : str
        Of the model, for people.

    Raises
    ------
    InputError
        If the head has weights of a half type that are no plain matrix.
    """
    import torch

    halves = (torch.bfloat16, torch.float16)
    for part in model.get_output_embeddings().modules():
        if not any(weight.dtype != torch.float32 for weight in part.parameters(recurse=False)):
            continue
        if not isinstance(part, torch.nn.Linear) or part.weight.dtype not in halves:
            raise InputError(
                f"{name}: its output head has a {type(part).__name__} of a type shorter than float32, and no float32 "
                "logits can be had of it; try --dtype float32"
            )
        # accelerate's hooks set the module's own forward aside under this name, and call it from there.
        forward = "_old_forward" if hasattr(part, "_old_forward") else "forward"
        setattr(part, forward, MethodType(float32_logits, part))


def float32_logits(head: torch.nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    """Multiply hidden states by the weights of a head, exact products added up in float32.

    Parameters
    ----------
    head : torch.nn.Linear
        Of a half type.
    hidden : torch.Tensor [shape=(..., H)]
        Of the same type; of another, it is taken to float32.

    Returns
    -------
    torch.Tensor [shape=(..., V)], float32
    """
    import torch

    rows, weight = hidden.reshape(-1, hidden.shape[-1]), head.weight
    if rows.is_cuda and rows.dtype == weight.dtype and torch.version.hip is None:
        logits = torch.mm(rows, weight.T, out_dtype=torch.float32)  # torch has this for CUDA only
    else:
        logits = _in_slices(rows.float(), weight)
    if head.bias is not None:
        logits = logits + head.bias.float()
    return logits.reshape(*hidden.shape[:-1], len(weight))


def logit_bound(head: torch.nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    """Bound what `float32_logits` differs by from the exact product.

    Parameters
    ----------
    head : torch.nn.Linear
        Of a half type.
    hidden : torch.Tensor [shape=(..., H)]
        Of the same type.

    Returns
    -------
    torch.Tensor [shape=(..., V)], float64
        gamma * (sum_i |h_i w_i| + |b|), as the module says.
    """
    sizes = hidden.double().abs() @ head.weight.double().abs().T
    if head.bias is not None:
        sizes = sizes + head.bias.double().abs()
    error = (hidden.shape[-1] + (head.bias is not None)) * (CUT_OFF if hidden.is_cuda else TO_NEAREST)
    return error / (1 - error) * sizes


def _in_slices(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiply float32 rows [shape=(n, H)] by a half matrix [shape=(V, H)], a slice of it in float32 at a time."""
    vocabulary, width = weight.shape
    logits = rows.new_empty(len(rows), vocabulary)
    at_once = max(1, WEIGHTS_AT_ONCE // width)
    for first in range(0, vocabulary, at_once):
        part = slice(first, first + at_once)
        logits[:, part] = rows @ weight[part].float().T
    return logits
