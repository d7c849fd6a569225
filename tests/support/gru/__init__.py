"""A second model family, a plain GRU, which the program knows by its entry point."""
