"""The move of half of all sources to an archive and back: ours beside what other systems do it with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.figures import Figure


def run() -> list[Figure]:
    """Measure all peers; what compares them is imported here, for the peers' own environments lack it."""
    from benchmarks.peers.compare import compare

    return compare()
