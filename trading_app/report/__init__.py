"""Reports: figures, tables and the self-contained page of a backtested run."""

from __future__ import annotations

from trading_app.report.data import ReportData, load_report_data
from trading_app.report.page import render_report, write_report

__all__ = [
    "ReportData",
    "load_report_data",
    "render_report",
    "write_report",
]
