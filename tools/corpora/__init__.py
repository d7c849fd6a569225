"""Writes corpora to prepare, out of books or of an archive."""
