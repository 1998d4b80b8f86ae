"""Where the tables of an erasure lie, as for moves: on a local disk, and for those marked with `everywhere` on S3 too."""

from tests.moves.conftest import warehouse  # noqa: F401
