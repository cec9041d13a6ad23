"""Text blind features: TF-IDF of transcript words and word pairs, with the vocabulary learned inside the fold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

MIN_CLIPS = 2
"""A term of the vocabulary occurs in at least this many training clips; one seen once cannot generalise."""


def terms(text: str) -> list[str]:
    """Lower-case words of a text and its pairs of neighbouring words.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str
        Unigrams first, then bigrams joined by a space.
    """
    words = re.findall(r"\w+", text.casefold())
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def vocabulary(texts: Sequence[str]) -> list[str]:
    """Sort the terms that occur in at least `MIN_CLIPS` of the texts."""
    counts = Counter(term for text in texts for term in set(terms(text)))
    return sorted(term for term, count in counts.items() if count >= MIN_CLIPS)


def vectorizer(texts: Sequence[str]) -> Any:
    """Fit a TF-IDF vectorizer on training texts.

    Parameters
    ----------
    texts : sequence of str

    Returns
    -------
    sklearn.feature_extraction.text.TfidfVectorizer or None
        None where no term repeats, for instance where there are no transcripts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = vocabulary(texts)
    return TfidfVectorizer(analyzer=terms, vocabulary=known).fit(texts) if known else None


def text_logit(model: Mapping[str, Any], text: str) -> float:
    """Centred logit of one text under a stored fold, without scikit-learn.

    Parameters
    ----------
    model : mapping
        `vocabulary, idf, coef, intercept, centre` as in ``models.json``.
    text : str

    Returns
    -------
    float
    """
    index = {term: i for i, term in enumerate(model["vocabulary"])}
    weights = np.zeros(len(index))
    for term in terms(text):
        if term in index:
            weights[index[term]] += 1.0
    weights *= np.asarray(model["idf"], dtype=float)
    length = float(np.linalg.norm(weights))
    raw = float(weights @ np.asarray(model["coef"], dtype=float)) / (length or 1.0) + model["intercept"]
    return round(raw - model["centre"], 9)
