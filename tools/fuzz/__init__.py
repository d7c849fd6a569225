"""Gives prep hostile and damaged files."""
