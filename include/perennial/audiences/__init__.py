"""Audiences: definitions checked against the filter catalogue, what they refer to (R4), and the SQL they mean."""
