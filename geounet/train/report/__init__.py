"""The report of a training or an evaluation, as a page."""

from geounet.train.report.page import TrainingReport, curves, write_report

__all__ = ["TrainingReport", "curves", "write_report"]
