"""The exact request that brings sources back, to paste or to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perennial.notify.restore_advice import restore_command
from perennial.text import visible_json

# Linux refuses commands not much longer, and nobody pastes one.
_COMMAND_BYTES = 128 * 1024


@dataclass(frozen=True, kw_only=True)
class RestoreCommand:
    """A request to bring sources back.

    Attributes:
        conf: The params of `restore_interactions` as JSON, free of invisible characters.
        command: The shell command that does the same.
    """

    conf: str
    command: str

    @property
    def fits_a_shell(self) -> bool:
        """Whether a shell accepts the command; otherwise `conf` has to be used."""
        return len(self.command.encode()) < _COMMAND_BYTES


def build_restore_command(
    ids: Sequence[str], tags: Sequence[str], notify: Sequence[str], reason: str
) -> RestoreCommand | None:
    """Build the request for these sources and tags; None when there are none."""
    if not ids and not tags:
        return None
    wanted = {"source_ids": list(ids), "tags": list(tags), "notify": list(notify) or ["you@example.com"]}
    params = {key: values for key, values in wanted.items() if values}
    shown_reason = reason[:500] or "Needed again"
    return RestoreCommand(
        conf=visible_json({**params, "reason": shown_reason}), command=restore_command(ids, tags, notify, shown_reason)
    )
