from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest


@pytest.mark.train
def test_the_training_stack_is_here():
    """Stands for the tests of this folder where they cannot even be collected."""
    if importlib.util.find_spec("torchgeo") is None:
        pytest.skip("the training stack is not installed: make test-train")


def test_inference_does_not_import_the_training_room():
    heavy = "torchgeo, lightning, kornia, sklearn, segmentation_models_pytorch, geounet.train"
    code = f"import geounet, sys; print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
