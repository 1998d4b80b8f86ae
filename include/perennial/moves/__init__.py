"""Moving sources between hot and archive by moving their files: plan, copy, verify, commit.

One implementation, two directions. What makes it lose nothing is M1-M9 of `docs/guarantees.md`.
"""
