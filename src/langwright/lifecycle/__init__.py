"""Whole journeys made of the rooms below, and the report card at their end."""

from langwright.lifecycle.compare import compare
from langwright.lifecycle.comparing import Choice, Question
from langwright.lifecycle.export import export
from langwright.lifecycle.finetune import finetune
from langwright.lifecycle.grow import grow
from langwright.lifecycle.plan import plan
from langwright.lifecycle.report import write_report
from langwright.lifecycle.report_data import Report

__all__ = [
    "Choice",
    "Question",
    "Report",
    "compare",
    "export",
    "finetune",
    "grow",
    "plan",
    "write_report",
]
