"""The notebook runs from its first cell to its last, on data that it makes itself."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebooks" / "first_steps.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's own packages are not ours
def test_the_first_steps_can_be_taken(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output.data for cell in code for output in cell.outputs if output.output_type == "execute_result"]
    assert sum("text/html" in data for data in shown) >= 8
    assert "did you mean 'tnews'?" in code[-1].outputs[0].text
    assert (tmp_path / "leaderboard" / "index.html").is_file()
