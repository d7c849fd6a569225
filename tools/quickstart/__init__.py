"""The whole program in a few minutes, and a page that says what came out."""
