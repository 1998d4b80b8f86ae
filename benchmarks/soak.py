"""500 questions, page views and restores in one process on S3: what it holds at the end and held after the tenth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Cost, Figure

ROUNDS = 500
AFTER = 10
ROOT = Path(__file__).parent.parent


def run() -> list[Figure]:
    """Let the test of the suite, tests/web/test_soak.py, go on for longer: a restore in each round."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        environment = {
            "PERENNIAL_SOAK_ROUNDS": str(ROUNDS),
            "PERENNIAL_SOAK_RESTORE_EVERY": "1",
            "PERENNIAL_SOAK_FIGURES": str(figures),
        }
        command = [sys.executable, "-m", "pytest", "-q", "tests/web/test_soak.py"]
        started = time.monotonic()
        subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True)
        seconds = time.monotonic() - started
        held = json.loads(figures.read_text())
    return [_row(what, held, seconds) for what in ("descriptors", "threads", "megabytes")]


def _row(what: str, held: list[dict[str, int]], seconds: float) -> Figure:
    figures = [round_[what] for round_ in held]
    places = (AFTER, len(figures) // 5, len(figures) // 2, len(figures))
    return Figure(
        f"soak on S3: {what} after round {len(figures)} ÷ after round {AFTER}",
        figures[-1] / figures[AFTER - 1],
        ours=Cost(seconds / len(figures)),
        detail=f"after round {', '.join(f'{place}: {figures[place - 1]}' for place in places)}; at the most "
        f"{max(figures)}; seconds: a round",
    )
