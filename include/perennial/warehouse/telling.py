"""What a catalog or its storage says when it cannot be used, as this project's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    ForbiddenError,
    OAuthError,
    ServerError,
    ServiceUnavailableError,
    UnauthorizedError,
)
from requests.exceptions import RequestException
from sqlalchemy.exc import OperationalError

from perennial.errors import TerminalSettingError, TransientError
from perennial.settings import Settings

_REFUSED = (AuthorizationExpiredError, ForbiddenError, OAuthError, UnauthorizedError)
_NOT_REACHED = (OperationalError, RequestException, ServerError, ServiceUnavailableError)
# How Arrow's file system names what S3 answered.
_S3_REFUSED = re.compile(
    r"AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH)"
)


@contextmanager
def told(settings: Settings) -> Iterator[None]:
    """Tell what went wrong, where, and what to do.

    Raises:
        TerminalSettingError: The catalog or its storage refuses the credentials.
        TransientError: The catalog or its storage cannot be reached, or failed.
    """
    prefix = f"PYICEBERG_CATALOG__{settings.catalog.upper()}__"
    try:
        yield
    except _REFUSED as error:
        raise TerminalSettingError(
            f"Catalog {settings.catalog!r} refuses this login ({error}); check the credentials in {prefix}…"
        ) from error
    except _NOT_REACHED as error:
        said = getattr(error, "orig", error)
        raise TransientError(
            f"Catalog {settings.catalog!r} does not answer, or another program has locked it ({said}); try again, and "
            f"check {prefix}URI."
        ) from error
    except OSError as error:
        if _S3_REFUSED.search(str(error)):
            raise TerminalSettingError(
                f"The warehouse's storage refuses these credentials ({error}); check connection 'aws_default', "
                f"{prefix}S3__… and docs/iam.md."
            ) from error
        if "AWS Error" in str(error):
            raise TransientError(f"The warehouse's storage failed ({error}); try again.") from error
        raise
