"""Files on S3 for pyiceberg, read and written with the role's current keys."""

from __future__ import annotations

from pyiceberg.io import (
    AWS_ACCESS_KEY_ID,
    AWS_ROLE_ARN,
    AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN,
    S3_ACCESS_KEY_ID,
    S3_ROLE_ARN,
)
from pyiceberg.typedef import Properties

from perennial.storage.s3 import ROLE_CREDENTIALS
from perennial.warehouse.shared_files import SharedFileIO

# Configured, or issued by the catalog for one table.
_OTHERS = (S3_ACCESS_KEY_ID, AWS_ACCESS_KEY_ID, S3_ROLE_ARN, AWS_ROLE_ARN)


class RoleFileIO(SharedFileIO):
    """Arrow's files. Arrow takes keys once, but a table is kept longer than a role's keys are valid."""

    def current_properties(self) -> Properties:
        """Return the properties with the role's keys, if there are no others."""
        if any(self.properties.get(name) for name in _OTHERS):
            return self.properties
        # botocore renews them a few minutes before they expire.
        keys = self.properties[ROLE_CREDENTIALS].get_frozen_credentials()
        named = {
            AWS_ACCESS_KEY_ID: keys.access_key,
            AWS_SECRET_ACCESS_KEY: keys.secret_key,
            AWS_SESSION_TOKEN: keys.token,
        }
        return {**self.properties, **named}
