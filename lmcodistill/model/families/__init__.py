"""The model families that come with the program, one folder each; see `registry`."""
