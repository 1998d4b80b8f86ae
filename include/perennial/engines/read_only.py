"""Statements of analysts are questions: whatever would write something is refused before it is run."""

from __future__ import annotations

from itertools import pairwise

import duckdb

from perennial.errors import TerminalRequestError

_WRITES = ("COPY", "INSERT", "UPDATE", "DELETE", "MERGE")
# A PIVOT is several statements to DuckDB, and so is what writes the answer of one.
_PIVOTS = ("SELECT", "FROM", "WITH", "PIVOT", "PIVOT_WIDER", "PIVOT_LONGER", "UNPIVOT", "(")


def refuse_writes(sql: str, asker: str) -> None:
    """Refuse everything but one question.

    No statement reaches the warehouse's tables, but COPY, EXPORT and ATTACH write files, and a DROP would seem to have
    done something.

    Args:
        sql: In DuckDB's dialect. What DuckDB cannot read passes: whoever runs it says what is wrong.
        asker: Who takes it, as the error calls it.

    Raises:
        TerminalRequestError: It writes, or is not one statement.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error:
        return
    if len(statements) != 1:
        given = f"{len(statements)} were given, and none was run" if statements else "none was given"
        raise TerminalRequestError(f"{asker} is read only and takes one statement: {given}. Give exactly one.")
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
            f"{asker} is read only: {refused} was refused, and nothing was run. Ask with SELECT, FROM, WITH, VALUES, "
            "PIVOT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN."
        )


def _words(sql: str) -> tuple[list[str], str]:
    """Cut a statement into words without its comments; the second is what an EXPLAIN at its beginning explains."""
    # Places are counted in bytes.
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
    """Return the word with which a part of a question writes, as in WITH a AS (COPY …); empty where none does."""
    for before, (word, after) in zip(["", *words], pairwise(words), strict=False):
        # A column may have such a name, too: nothing can follow it inside a bracket but a sign.
        if word in _WRITES and before in ("(", ")") and (after == "(" or after[0].isalpha() or after[0] in "\"'$"):
            return word
    return ""
