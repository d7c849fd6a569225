"""Which documents are copies: signatures, the search, and who survives."""
