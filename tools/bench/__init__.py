"""Measures speed, memory and predictions, beside what is possible and beside rivals."""
