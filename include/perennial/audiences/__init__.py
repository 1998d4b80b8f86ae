"""Audiences: checks definitions against the filter catalogue, tracks references (R4), and compiles them to SQL."""
