"""Later questions to stored counts: other identifiers, thresholds and parts; what changed, and how surely."""
