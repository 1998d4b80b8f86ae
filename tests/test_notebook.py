"""The notebook of docs/ runs as it is, and shows what it says it shows."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.notebook import PAGE, run, said


@pytest.mark.long
def test_the_notebook_runs_and_its_outputs_are_those_of_a_run(tmp_path: Path) -> None:
    notebook, mailbox = run(tmp_path / "home")
    assert said(notebook) == said(nbformat.read(PAGE, as_version=4)), "python -m tests.notebook writes it anew"
    assert [mail.recipients for mail in mailbox.messages()] == [("you@example.com",)]
    assert "<svg" in notebook.cells[-1].outputs[0].data["image/svg+xml"]


def test_the_notebook_has_an_output_of_every_cell_of_code() -> None:
    cells = [cell for cell in nbformat.read(PAGE, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) == 7
    assert all(cell.outputs and not any(output.output_type == "error" for output in cell.outputs) for cell in cells)
