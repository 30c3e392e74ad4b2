"""The report of an evaluation as one self-contained HTML page."""

from vsalient.report.page import render, write_report

__all__ = ["render", "write_report"]
