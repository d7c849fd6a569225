"""The quick start: a small corpus of real text, and every step on it, by itself."""
