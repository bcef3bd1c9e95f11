"""Engines: the port, and what runs a bundle on this machine."""

from geounet.engine.port import CONFIDENCE_MAX, BlendEngine, Engine, ModelEngine, Prediction

__all__ = ["CONFIDENCE_MAX", "BlendEngine", "Engine", "ModelEngine", "Prediction"]
