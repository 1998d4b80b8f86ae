"""What can go wrong, in two families: `Terminal…` (a person must act) and `Transient…` (trying again may help)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class PerennialError(Exception):
    """Base of every error this package raises on purpose. The text says what was wrong, where, and what to do.

    Attributes:
        details: What programs need to know of it, by name: the text is for people, and nothing is decided from it.
    """

    details: Mapping[str, str] = MappingProxyType({})


class TerminalError(PerennialError):
    """Trying again gives the same result: a person has to change something first."""


class TransientError(PerennialError):
    """Trying again later may succeed; nothing was lost."""


class TerminalSettingError(TerminalError):
    """A setting has a value that cannot be used."""


class TerminalUnsetError(TerminalSettingError):
    """A setting that has no default here is not set."""


class TerminalRequestError(TerminalError):
    """A request cannot be carried out: wrong params, unknown ids or tags."""


class TerminalCancelledError(TerminalError):
    """Somebody has cancelled the run, or has not approved it: nothing more of it is done."""


class TerminalMetadataError(TerminalError):
    """The platform's metadata cannot be trusted (missing, stale, unreadable): nothing may be decided from it."""


class TerminalDataError(TerminalError):
    """Data files are damaged, missing, or of a kind that cannot be moved."""


class TransientConflictError(TransientError):
    """Other writers changed the same files during every attempt to commit."""


class TerminalDeliveryError(TerminalError):
    """A message cannot be sent until something changes: no connection, or the server refuses login or recipient."""


class TransientDeliveryError(TransientError):
    """The mail server could not be reached, or is temporarily unable to accept the message."""


class TerminalEngineError(TerminalError):
    """The engine of PERENNIAL_ENGINE_URL refuses a statement or a login."""


class TransientEngineError(TransientError):
    """The engine of PERENNIAL_ENGINE_URL could not be reached, or gave up."""
