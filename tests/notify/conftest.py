"""Airflow reads its environment once, when it is imported: give it a home that no other work uses."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-"))
