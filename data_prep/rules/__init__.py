"""Which documents are kept, and why the others are not; `filters` has the order."""
