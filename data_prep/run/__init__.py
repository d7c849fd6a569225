"""A run from top to bottom: the stages in order, and the data folder they leave."""
