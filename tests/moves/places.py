"""Marks of tests: rules that hold wherever the tables lie, and long tests that are run once, on S3."""

from __future__ import annotations

import pytest

everywhere = pytest.mark.parametrize("warehouse", ["local", "lake"], indirect=True)
on_s3 = pytest.mark.parametrize("warehouse", ["lake"], indirect=True)
