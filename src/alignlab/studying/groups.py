"""Groups of languages that a study's numbers are of, in the order in which they are shown."""

GROUPS = ("trained", "reference", "unseen", "all languages", "all")
