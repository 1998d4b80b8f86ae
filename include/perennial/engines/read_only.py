"""Analysts' statements only read: any statement that would write is refused before it is run."""

from __future__ import annotations

from itertools import pairwise

import duckdb

from perennial.errors import TerminalRequestError

_WRITES = ("COPY", "INSERT", "UPDATE", "DELETE", "MERGE")
# DuckDB splits a PIVOT into several statements.
_PIVOTS = ("SELECT", "FROM", "WITH", "PIVOT", "PIVOT_WIDER", "PIVOT_LONGER", "UNPIVOT", "(")


def refuse_writes(sql: str, asker: str) -> None:
    """Refuse everything except one query.

    No statement reaches the warehouse's tables, but COPY, EXPORT and ATTACH write files, and a DROP would seem to have
    done something.

    Args:
        sql: A statement in DuckDB's dialect. A statement that DuckDB cannot parse passes, and fails when it is run.
        asker: The name of the command or function, for the error.

    Raises:
        TerminalRequestError: It writes, or is not one statement.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error:
        return
    if len(statements) != 1:
        given = f"{len(statements)} were given, and none was run" if statements else "none was given"
        raise TerminalRequestError(f"{asker} is read only and accepts one statement: {given}. Give exactly one.")
    words, rest = _words(sql)
    if words[0] == "EXPLAIN":
        # EXPLAIN ANALYZE runs what it explains.
        refuse_writes(rest, asker)
        return
    kind = statements[0].type
    if kind == duckdb.StatementType.SELECT or (kind == duckdb.StatementType.MULTI and words[0] in _PIVOTS):
        refused = _write_within(words)
    else:
        refused = words[0]
    if refused:
        raise TerminalRequestError(
            f"{asker} is read only: {refused} was refused, and nothing was run. Use SELECT, FROM, WITH, VALUES, "
            "PIVOT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN."
        )


def _words(sql: str) -> tuple[list[str], str]:
    """Split a statement into words, without comments; the second result is the statement that an EXPLAIN explains."""
    # Positions are counted in bytes.
    text = sql.encode()
    tokens = duckdb.tokenize(sql)
    ends = [*(place for place, _ in tokens[1:]), len(text)]
    found = [place for place, kind in tokens if kind != duckdb.token_type.comment]
    words = [
        text[place:end].decode().strip().upper()
        for (place, kind), end in zip(tokens, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]
    after = 1
    if words[after : after + 1] == ["ANALYZE"]:
        after += 1
    if words[after : after + 1] == ["("]:
        after = words.index(")") + 1
    return words, text[found[after] :].decode() if after < len(found) else ""


def _write_within(words: list[str]) -> str:
    """Return the keyword with which a part of a query writes, as in WITH a AS (COPY …); empty if none does."""
    for before, (word, after) in zip(["", *words], pairwise(words), strict=False):
        # A column may have such a name too: in brackets, only a sign can follow it.
        if word in _WRITES and before in ("(", ")") and (after == "(" or after[0].isalpha() or after[0] in "\"'$"):
            return word
    return ""
