"""Every path, every manifest and every atomic publication.

The only room that touches a file system. Other rooms ask it for paths and hand
it what is to be written; the one invariant is that a reader never sees half of
anything.
"""
