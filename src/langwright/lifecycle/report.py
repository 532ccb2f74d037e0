"""The report card: one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from langwright.lifecycle.report_data import Baseline, Curve, Report

# Baselines are told apart by their dashes, so that the plots are read in print and without colour.
_DASHES = ("dash", "dot", "longdashdot")


def write_report(path: Path, report: Report) -> None:
    """Write `report` to `path` as one HTML file of about 5 MB, most of it plotly's own script.

    The page asks for nothing from outside, and its content security policy forbids it to. The same
    report gives the same bytes. The file appears whole or not at all.
    """
    from plotly.offline import get_plotlyjs

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, duration=duration)
    source = files("langwright.lifecycle").joinpath("report.html.jinja").read_text("utf-8")
    plots = [_plots(curve, index) for index, curve in enumerate(report.curves)]
    page = environment.from_string(source).render(
        report=report, plots=plots, plotly=get_plotlyjs() if plots else ""
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(page, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def number(value: object) -> str:
    """A value for people: four significant digits, thousands set apart."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """8.1 s, 12 min 5 s, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _plots(curve: Curve, index: int) -> dict[str, Any]:
    """The two plots of a curve as HTML, and in words where it crosses its marked baselines."""
    axes = (("minutes", curve.minutes), ("tokens", curve.tokens))
    return {
        "html": [_plot(curve, name, along, f"plot-{index}-{name}") for name, along in axes],
        "sentences": [
            _crossing_sentence(curve, baseline) for baseline in curve.baselines if baseline.marked
        ],
    }


def _crossing_sentence(curve: Curve, baseline: Baseline) -> str:
    minutes = curve.crossing(baseline, curve.minutes)
    tokens = curve.crossing(baseline, curve.tokens)
    if minutes is None or tokens is None:
        return f"It did not cross {baseline.name} ({number(baseline.value)} {curve.unit})."
    return (
        f"It crossed {baseline.name} ({number(baseline.value)} {curve.unit}) after "
        f"{duration(60 * minutes)} and {number(float(f'{tokens:.3g}'))} tokens."
    )


def _plot(curve: Curve, name: str, along: Sequence[float], div_id: str) -> str:
    """One plot as a `div` with its script; the colours are the page's style sheet's."""
    import plotly.graph_objects as go
    from plotly.io import to_html

    unit = escape(curve.unit)  # plotly reads its labels as a small HTML
    figure = go.Figure()
    figure.add_scatter(
        x=list(along),
        y=list(curve.values),
        mode="lines" if len(along) > 60 else "lines+markers",
        hovertemplate=f"%{{y:.4g}} {unit}<br>%{{x:,.4~s}} {name}<extra></extra>",
    )
    for baseline, dash in zip(curve.baselines, cycle(_DASHES), strict=False):
        label = escape(baseline.name)
        figure.add_hline(
            baseline.value,
            line={"dash": dash, "width": 1.5},
            annotation={"text": label, "font_size": 12},
            annotation_position="top right",
        )
        place = curve.crossing(baseline, along) if baseline.marked else None
        if place is not None:
            reach = [*curve.values, *(other.value for other in curve.baselines)]
            figure.add_scatter(
                x=[place] * 3,
                y=[min(reach), baseline.value, max(reach)],
                mode="lines+markers",
                marker={"size": [0, 9, 0]},
                hovertemplate=f"crosses {label}<br>%{{x:,.4~s}} {name}<extra></extra>",
            )
    figure.update_layout(
        height=320,
        margin={"l": 48, "r": 12, "t": 12, "b": 44},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
        xaxis={"title": {"text": name}, "rangemode": "tozero", "zeroline": False},
        yaxis={"title": {"text": unit}, "zeroline": False},
    )
    html: str = to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=div_id,
        config={"displayModeBar": False, "responsive": True, "scrollZoom": False},
    )
    return html
