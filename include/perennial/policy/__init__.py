"""Decisions about what expires and what is kept (R2 to R7), and deletions of the previous policy (R18)."""
