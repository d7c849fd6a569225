"""Crawls by name: their lists of files, and polite downloads."""
