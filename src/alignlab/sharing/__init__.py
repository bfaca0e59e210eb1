"""Sets of neurons and counts that others can load, in a folder with a card."""
