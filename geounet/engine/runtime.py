"""OpenVINO, for all who need it here."""

from geounet.untold import untold

with untold():
    import openvino as ov
    import openvino.opset13 as ops

__all__ = ["ops", "ov"]
