"""Audiences: definitions checked against the filter catalogue, what they refer to (R4), and the SQL they mean."""

from perennial.audiences.definitions import (
    Definition,
    KnownIds,
    Reference,
    TerminalDefinitionError,
    filter_nodes,
    parse,
    unknown_ids,
)
from perennial.audiences.timestamps import timestamp

__all__ = [
    "Definition",
    "KnownIds",
    "Reference",
    "TerminalDefinitionError",
    "filter_nodes",
    "parse",
    "timestamp",
    "unknown_ids",
]
