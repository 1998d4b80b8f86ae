"""The exact request that brings sources back, to paste or to run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from perennial.notify.wording import visible_json

# Linux refuses one argument beyond that.
_ARGUMENT_BYTES = 128 * 1024


@dataclass(frozen=True, kw_only=True)
class RestoreAgain:
    """A request to `restore_interactions`.

    Attributes:
        conf: Its params as JSON, free of invisible characters.
        command: The shell command that triggers it.
    """

    conf: str
    command: str

    @property
    def fits_a_shell(self) -> bool:
        """Whether a shell takes the command; `conf` has to be handed over otherwise."""
        return len(self.command.encode()) < _ARGUMENT_BYTES


def restore_again(ids: Sequence[str], tags: Sequence[str], notify: Sequence[str], reason: str) -> RestoreAgain | None:
    """Build the request for these sources and tags; None when there are none."""
    if not ids and not tags:
        return None
    wanted = {"source_ids": list(ids), "tags": list(tags), "notify": list(notify) or ["you@example.com"]}
    params = {key: values for key, values in wanted.items() if values}
    conf = visible_json({**params, "reason": reason[:500] or "Needed again"})
    return RestoreAgain(
        conf=conf,
        command=f"airflow dags trigger restore_interactions --conf {shlex.quote(conf)}",
    )
