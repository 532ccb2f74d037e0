"""Whole journeys made of the rooms below, and the report card at their end."""

from langwright.lifecycle.export import export
from langwright.lifecycle.grow import grow
from langwright.lifecycle.plan import plan
from langwright.lifecycle.report import write_report
from langwright.lifecycle.report_data import Report

__all__ = ["Report", "export", "grow", "plan", "write_report"]
