"""Reports: figures, a pure function each, and the self-contained page made from them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trading_app.report.data import ReportData as ReportData
    from trading_app.report.data import load_report_data as load_report_data
    from trading_app.report.page import render_report as render_report
    from trading_app.report.page import write_report as write_report

_HOMES = {
    "ReportData": "trading_app.report.data",
    "load_report_data": "trading_app.report.data",
    "render_report": "trading_app.report.page",
    "write_report": "trading_app.report.page",
}

__all__ = ["ReportData", "load_report_data", "render_report", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trading_app.report' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
