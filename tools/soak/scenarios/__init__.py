"""The scenarios of the soak test: one function for each fault."""
