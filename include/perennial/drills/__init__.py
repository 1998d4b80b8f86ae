"""Drills: a sample of the archive is read in full, and one restore is rehearsed (R8, R17)."""
