"""The notebooks run from start to end, show pictures and no warnings, and carry no outputs."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRAINING = [path for path in NOTEBOOKS if "geounet.train" in path.read_text(encoding="utf-8")]
STACK = ("lightning", "torchgeo")

pytestmark = [
    pytest.mark.notebook,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

of_each = pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=pytest.mark.train if p in TRAINING else ()) for p in NOTEBOOKS],
    ids=lambda path: path.stem,
)


@of_each
def test_notebook_runs_in_any_clone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOUNET_DATA", "nowhere")
    outputs = run(path, tmp_path, monkeypatch)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [o["text"] for o in outputs if o.get("name") == "stderr"] == []


@of_each
def test_notebook_runs_with_real_data(
    path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path not in TRAINING:
        pytest.skip("it looks at the samples alone")
    monkeypatch.setenv("GEOUNET_DATA", str(data.absolute()))
    outputs = run(path, tmp_path, monkeypatch)
    assert [o["text"] for o in outputs if o.get("name") == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path: Path) -> None:
    import nbformat

    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


def run(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a notebook shows with a tiny budget, run in a folder where nothing else is."""
    missing = [name for name in STACK if importlib.util.find_spec(name) is None]
    if path in TRAINING and missing:
        pytest.skip(f"the training stack is not installed ({missing[0]}): make notebooks-train")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("GEOUNET_NOTEBOOK_BUDGET", "tiny")
    (folder / "notebooks").mkdir()
    (folder / "sample_tiles").symlink_to(ROOT / "sample_tiles")
    shutil.copy(path, folder / "notebooks")
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": folder / "notebooks"}}
    NotebookClient(notebook, timeout=300, resources=where).execute()
    return [dict(o) for cell in notebook.cells for o in cell.get("outputs", [])]
