"""Terms of the field in one sentence each, shown by hover and by tap where they first stand."""

from __future__ import annotations

from html import escape

TERMS = {
    "member": "A clip that a list claims was in the target’s training data; a non-member is one it claims was not.",
    "membership AUC": "How often a member scores higher than a non-member. 0.5 is chance, and no AUC is ever turned "
    "round after the fact. Raw: nothing is done about differences between the lists.",
    "blind AUC": "AUC of the best of the classifiers that never see the model. Above 0.5 the two lists differ by "
    "themselves.",
    "adjusted AUC": "The membership AUC once members and non-members are weighted until length, sound and wording no "
    "longer tell them apart (overlap weights). The verdict rests on it.",
    "overlap weights": "A member counts by its chance of being a non-member given what reaches the model, and the "
    "other way round: clips that could have been either count most (Li, Morgan and Zaslavsky 2018).",
    "effective sample size": "How many equally weighted clips would be as informative as the weighted ones. Under 100, "
    "or under a tenth of a class, like cannot be compared with like.",
    "balance": "AUC with which another learner still tells the weighted classes apart, beside what it finds in classes "
    "that are balanced by construction.",
    "largest difference": "Difference of class means in standard deviations, the largest over all properties that "
    "reach the model.",
    "groups and copies": "What folds, intervals and label draws keep together: speakers or sources, equal wordings, "
    "near-copies.",
    "p": "How often labels drawn by the clips’ own properties, without any memory, give an adjusted AUC at least as "
    "high; attack and weights are refitted each time.",
    "Holm": "Correction for testing several verdicts at once: the chance of even one false LEAK in the whole audit "
    "stays below 5%.",
    "detectable AUC": "The smallest adjusted AUC that this audit would have found 8 times in 10; a weaker leak may be "
    "there and stay unseen.",
    "phase 1": "Can the classes be told apart without the model? CLEAN and SHIFTED are tested, not judged by eye.",
    "TPR at 1% FPR": "Share of members caught while at most 1% of non-members are wrongly flagged. Shown from 1,000 "
    "non-members on; fewer cannot show 1%.",
    "TPR at 0.1% FPR": "Share of members caught while at most 0.1% of non-members are wrongly flagged. Shown from "
    "10,000 non-members on.",
    "added over blind": "How much higher the AUC is with the membership score beside the blind score than with the "
    "blind score alone, and a likelihood-ratio test of the same.",
    "without a score": "Clips for which the target wrote nothing. If one class has more of them, leaving them out is a "
    "leak or a shift of its own (Fisher’s exact test).",
    "controls": "Attacks where there is nothing to find. Held means that the 95% interval contains 0.5.",
    "reference target": "A target that was not trained on these members. What its score shows is no memory of them.",
    "direction": "AUC of the average surprise with its sign fixed: above 0.5 the target is surer of the members, as "
    "memory would have it.",
    "q": "Share of false finds among all that look at least as clear (Benjamini and Hochberg).",
    "pooled r": "Pearson correlation of blind and membership score over all clips, as in the paper. Two scores that "
    "both separate the classes correlate by that alone.",
    "within-class r": "The same correlation inside each class: what is left of it when membership is taken out.",
}
"""Term to its explanation."""


def term(name: str, text: str = "") -> str:
    """Mark up a term so that hovering, tapping or reaching it by keyboard explains it.

    Parameters
    ----------
    name : str
        Key of `TERMS`.
    text : str
        What the page shows; the term itself where empty.
    """
    return explained(escape(text or name), TERMS[name])


def explained(html: str, why: str) -> str:
    """Mark up ready HTML with an explanation of it."""
    return f'<abbr tabindex="0" title="{escape(why)}">{html}</abbr>'
