"""Breaks small real runs in every way on a list, and reports what became of them."""
