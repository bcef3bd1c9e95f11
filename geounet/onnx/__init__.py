"""Models of others: ONNX files, what is said about them, and our own models as such files."""

from geounet.onnx.export import export_onnx, save_onnx
from geounet.onnx.load import DESCRIPTION, SUFFIX, load_onnx

__all__ = ["DESCRIPTION", "SUFFIX", "export_onnx", "load_onnx", "save_onnx"]
