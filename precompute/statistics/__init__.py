"""Statistics on numpy arrays: ROC, intervals, correlation, one clip against known non-members."""
