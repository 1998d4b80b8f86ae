"""Translates errors of a catalog and its storage into this project's errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitStateUnknownException,
    ForbiddenError,
    OAuthError,
    ServerError,
    ServiceUnavailableError,
    UnauthorizedError,
)
from requests.exceptions import RequestException
from sqlalchemy.exc import OperationalError

from perennial.errors import TerminalSettingError, TransientError
from perennial.storage import TRAILERS_REFUSED, WITHOUT_TRAILERS

_REFUSED = (AuthorizationExpiredError, ForbiddenError, OAuthError, UnauthorizedError)
_NOT_REACHED = (OperationalError, RequestException, ServerError, ServiceUnavailableError)
_NOT_KNOWN = (CommitStateUnknownException, *_NOT_REACHED)
# Of Glue and of a REST catalog that is signed for, besides what S3 says.
_DENIED = {"AccessDeniedException", "InvalidSignatureException", "UnrecognizedClientException"}
# How Arrow's file system names what S3 answered.
_S3_REFUSED = re.compile(
    r"AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH)"
)


@contextmanager
def catalog_errors(catalog: str, commit: str = "") -> Iterator[None]:
    """Raise an error that says what went wrong, where, and what to do.

    Args:
        catalog: Its name.
        commit: The table that is committed to. If the answer is lost, the commit may have been made.

    Raises:
        TerminalSettingError: The catalog or its storage refuses the credentials.
        TransientError: The catalog or its storage cannot be reached, or failed.
    """
    prefix = f"PYICEBERG_CATALOG__{catalog.upper()}__"
    try:
        yield
    except _REFUSED as error:
        raise TerminalSettingError(
            f"Catalog {catalog!r} refuses this login ({error}); check the credentials in {prefix}…"
        ) from error
    except _aws("NO_CREDENTIALS") as error:
        raise TerminalSettingError(
            f"Catalog {catalog!r} needs credentials ({error}). Give connection 'aws_default' a key, or the machine a "
            f"role, or set {prefix}…"
        ) from error
    except _aws("ANSWERED") as error:
        from perennial.storage.s3_errors import DENIED, error_code

        if error_code(error) in _DENIED | DENIED:
            raise TerminalSettingError(
                f"Catalog {catalog!r} refuses this login ({error}); check connection 'aws_default', the credentials in "
                f"{prefix}… and docs/iam.md."
            ) from error
        if commit:
            raise _not_known(catalog, commit, error) from error
        raise TransientError(f"Catalog {catalog!r} failed ({error}); try again.") from error
    except _NOT_KNOWN + _aws("NOT_ANSWERED") as error:
        said = getattr(error, "orig", error)
        if commit:
            raise _not_known(catalog, commit, said) from error
        raise TransientError(
            f"Catalog {catalog!r} does not answer, or another program has locked it ({said}); try again, and "
            f"check {prefix}URI or the region and the address of the service."
        ) from error
    except OSError as error:
        if _S3_REFUSED.search(str(error)):
            raise TerminalSettingError(
                f"The warehouse's storage refuses these credentials ({error}); check connection 'aws_default', "
                f"{prefix}S3__… and docs/iam.md."
            ) from error
        if TRAILERS_REFUSED.search(str(error)):
            raise TerminalSettingError(f"The warehouse's storage failed ({error}): {WITHOUT_TRAILERS}") from error
        if "AWS Error" in str(error):
            raise TransientError(f"The warehouse's storage failed ({error}); try again.") from error
        raise


def _aws(name: str) -> tuple[type[BaseException], ...]:
    """Return errors of AWS's library; none where nothing has imported it, for it may not be installed."""
    if "botocore" not in sys.modules:
        return ()
    from perennial.storage import s3_errors

    found = getattr(s3_errors, name)
    return found if isinstance(found, tuple) else (found,)


def _not_known(catalog: str, commit: str, said: object) -> TransientError:
    return TransientError(
        f"Catalog {catalog!r} did not say whether the commit to {commit} was made ({said}). Run it again: nothing is "
        "lost, and the next attempt checks whether it was made."
    )
