"""The report of a run: harm and helpfulness before and after, side by side, as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from langwright.store import write_atomic
from langwright.training.constitutional.measuring import METRICS, Measured, figures
from langwright.training.constitutional.transcript import Transcript

SMALLEST_PUBLISHED = 7_000_000_000
"""Parameters of the smallest models for which an effect is published (arXiv 2503.17365)."""
SHOWN = 8


def caveats(
    result: Mapping[str, Any], measured: Sequence[str], parameters: int | None
) -> list[str]:
    """What must be known before the figures are believed; the first says where a run shows the
    mechanics alone."""
    found = []
    if parameters is not None and parameters < SMALLEST_PUBLISHED:
        found.append(
            f"Mechanics demo: the model has {parameters / 1e6:,.0f} million parameters, and the "
            "smallest for which an effect of this method is published have 7 billion. The figures "
            "show that every part runs, not that the method works."
        )
    judged = result["feedback"]
    bias = judged["first_place"]
    if judged["labels"] == "rules":
        found.append("The judge is a list of rules, which sees words and no meaning.")
    elif bias is not None and (judged["consistency"] < 0.6 or abs(bias - 0.5) > 0.2):
        found.append(
            f"The judge looks at the place more than at the reply: it judges "
            f"{judged['consistency']:.0%} of the pairs alike in both orders, and gives "
            f"{bias:.0%} to whatever is shown first. Its labels are mostly noise."
        )
    if judged["labels"] == "said":
        found.append("The judge tells no probabilities, so its labels are the letters it said.")
    if judged["mass"] is not None and judged["mass"] < 0.5:
        found.append(
            f"The judge gives {judged['mass']:.1%} of its probability to the two letters: it would "
            "rather say something else."
        )
    if "harm" not in measured:
        found.append("Harm was not measured (scorer=none).")
    else:
        found.append(
            "The scorer of harm knows offensive language alone; dangerous advice in polite words "
            "is harmless to it."
        )
    found.append(
        "Helpfulness counts expected words: it sees whether an answer keeps to the question, not "
        "whether it is right."
    )
    return found


def write_report(
    path: Path,
    result: Mapping[str, Any],
    measured: Mapping[str, Measured],
    transcripts: Sequence[Transcript],
    parameters: int | None,
    seed: int,
) -> dict[str, Any]:
    """Write the page; returns {"evaluation", "mechanics_demo", "caveats", "report"}, its path last.
    `measured` begins with the model as it was. The page asks for nothing from outside."""
    base = next(iter(measured.values()))
    found = {stage: figures(one, base, seed) for stage, one in measured.items()}
    told = caveats(result, list(base.scores), parameters)
    sound = [one for one in transcripts if one.revised is not None]
    aside = [one for one in transcripts if one.revised is None]
    answers = [
        {"prompt": base.answers[n][0], "said": [one.answers[n][1] for one in measured.values()]}
        for n in range(min(SHOWN, len(base.answers)))
    ]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("langwright.training.constitutional").joinpath("report.html.jinja")
    page = environment.from_string(source.read_text("utf-8")).render(
        result=result,
        stages={stage: one.model for stage, one in measured.items()},
        figures=found,
        metrics={name: METRICS[name] for name in base.scores},
        caveats=told,
        sound=sound[:SHOWN],
        aside=aside[:SHOWN],
        answers=answers,
    )
    write_atomic(path, page)
    small = parameters is not None and parameters < SMALLEST_PUBLISHED
    return {
        "evaluation": found,
        "mechanics_demo": small,
        "caveats": told,
        "report": str(path),
    }
