"""The audit: from clips and targets to a bundle of scores, statistics and verdicts."""
