"""The mark of tests whose rules hold wherever the tables lie."""

from __future__ import annotations

import pytest

everywhere = pytest.mark.parametrize("warehouse", ["local", "lake"], indirect=True)
