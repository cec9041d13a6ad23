"""What can be said of a target that gives its text and nothing else: how far the text is from the known one."""

from __future__ import annotations

from precompute.indicators import LABEL_ONLY
from precompute.scoring import normalise, wer


def label_indicators(reference: str | None, written: str) -> dict[str, float]:
    """Compare a written text with the known one.

    Parameters
    ----------
    reference : str or None
        Known transcript or caption.
    written : str
        What the target wrote.

    Returns
    -------
    dict of str to float
        Keys `LABEL_ONLY`, each at least 0 and lower for a text nearer to the known one. All are NaN where no text is
        known, or none was written: a target that wrote nothing has not been heard, which is not the same as wrong.
    """
    import jiwer

    known, text = normalise(reference or ""), normalise(written)
    if not known or not text:
        return dict.fromkeys(LABEL_ONLY, float("nan"))
    values = {
        "word_error": wer(reference, written),
        "character_error": float(jiwer.cer(known, text)),
        "length_error": abs(len(text) - len(known)) / len(known),
        "inexact": float(text != known),
    }
    return {name: values[name] for name in LABEL_ONLY}
