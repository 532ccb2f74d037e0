"""The report card: complete, offline, and deaf to what a model says."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from langwright.evaluation import Interval
from langwright.lifecycle.report import write_report
from langwright.lifecycle.report_data import (
    Ancestor,
    Answer,
    Baseline,
    Curve,
    KeyFigure,
    Report,
    Sample,
    Stage,
)

EVIL = "<script>alert('x')</script><img src=https://evil.example/x.png>"
VOID = {"meta", "br", "img", "link", "input", "hr", "source"}

CURVE = Curve(
    title="Bits per byte",
    unit="bits per byte",
    minutes=[0, 1, 2, 3],
    tokens=[0, 1000, 2000, 3000],
    values=[4.0, 2.0, 3.0, 1.0],
    baselines=[
        Baseline("6-gram " + EVIL, 2.5, marked=True),
        Baseline("xz", 2.8),
        Baseline("gpt-2", 0.9, marked=True),
    ],
)

REPORT = Report(
    title="small & calm",
    subtitle="grown in a test",
    figures=[
        KeyFigure(
            "Bits per byte", 1.6382, 1.9121, "6-gram", "bits", Interval(1.6382, 1.612, 1.665)
        ),
        KeyFigure("Share", 31.5, 40.25, "base", "%", Interval(31.5, 28, 33), False, "200 terms"),
        KeyFigure("Level", 2.0, 2.1, "xz", interval=Interval(2.0, 1.9, 2.2)),
        KeyFigure("Proofs", 64, 64, "all", lower_is_better=False),
    ],
    curves=[CURVE],
    samples=[
        Sample(EVIL, Answer(EVIL, False, "term, sentences"), Answer("Fine & <b>", True, "ok")),
        Sample("Who?", Answer("", False, "empty"), Answer("Me.", True, "ok")),
    ],
    samples_note="not chosen by hand",
    stages=[Stage("corpus", 8.14), Stage("pretrain", 725, "300 steps"), Stage("sft", 12000)],
    lineage=[Ancestor("corpus", "wiki", "sha256:abc", "CC BY-SA"), Ancestor("model", "m", "d9")],
    settings={"Model": {"layers": 8, "tied": True, "parameters": 11412480, "theta": EVIL}},
    commands=["langwright grow --corpus wiki", "langwright show 'a<b'"],
)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.scripts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        here = self.open[-1] if self.open else ""
        (self.scripts if here == "script" else self.texts).append(data)

    @property
    def text(self):
        return re.sub(r"[^\S\u202f]+", " ", " ".join(self.texts))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    write_report(path, REPORT)
    assert [child.name for child in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def test_nothing_is_loaded_from_outside(page):
    for tag, attributes in page.tags:
        assert not attributes.keys() & {"src", "href", "srcset", "data", "action"}, tag
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        assert not [name for name in attributes if name.startswith("on")]
    policy = [a["content"] for _, a in page.tags if "http-equiv" in a]
    assert policy == [
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    ]
    assert not re.search(r"@import|url\(", "".join(page.texts))


def test_what_a_model_said_stays_text(page):
    assert page.text.count(EVIL) >= 4  # prompt, answer, setting, sentence of the crossing
    assert not [script for script in page.scripts if "<script>alert" in script]
    # One script is plotly, and two draw the curve.
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 3


def test_plotly_is_there_once(written):
    assert written.count("plotly.js v") == 1


@pytest.mark.parametrize(
    "expected",
    [
        "small & calm",
        "1.638 bits 1.612 to 1.665",
        "1.912 bits 6-gram beats it",
        "200 terms 31.5 % 28 to 33",
        "40.25 % base misses it",
        "xz no clear difference",
        "64 exact",
        "all equals it",
        "Before ✗ term, sentences",
        "After ✓ ok Fine & <b>",
        "✗ empty (nothing)",
        "not chosen by hand",
        "corpus 8.1 s",
        "300 steps 12 min 5 s",
        "sft 3 h 20 min",
        "All 3 h 32 min",
        "corpus wiki sha256:abc CC BY-SA",
        "layers 8",
        "tied True",
        "parameters 11\u202f412\u202f480",
        "langwright show 'a<b'",
        "(2.5 bits per byte) after 2 min 15 s and 2\u202f250 tokens.",
        "It did not cross gpt-2 (0.9 bits per byte).",
    ],
)
def test_everything_is_said(page, expected):
    assert expected in page.text


def test_the_plots_hold_the_measurements(page):
    drawn = [script for script in page.scripts if "Plotly.newPlot" in script and len(script) < 1e5]
    assert len(drawn) == 2
    for script, along in zip(drawn, (CURVE.minutes, CURVE.tokens), strict=True):
        traces, _ = json.JSONDecoder().raw_decode(script[script.index("[{") :])
        assert (traces[0]["x"], traces[0]["y"]) == (along, CURVE.values)
        assert traces[1]["x"] == [2.25 * along[1]] * 3
        assert len(traces) == 2, "a baseline that is not crossed has no mark"


def test_tables_can_be_read_aloud(page):
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert headers
    assert all(attributes.get("scope") in {"row", "col"} for attributes in headers)
    assert ("html", {"lang": "en"}) in page.tags


def test_it_crosses_where_it_stays_below():
    below_later, never = CURVE.baselines[0], CURVE.baselines[2]
    assert CURVE.crossing(below_later, CURVE.minutes) == 2.25
    assert CURVE.crossing(never, CURVE.minutes) is None
    assert CURVE.crossing(Baseline("easy", 9.0), CURVE.tokens) == 0
    assert Curve("", "", [], [], []).crossing(never, []) is None


def test_the_same_report_gives_the_same_bytes_and_an_empty_one_is_a_page(tmp_path, written):
    write_report(tmp_path / "again.html", REPORT)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == written
    write_report(tmp_path / "again.html", Report("only", "a title"))
    bare = (tmp_path / "again.html").read_text(encoding="utf-8")
    assert "only" in Page(bare).text
    assert len(bare) < 20_000, "no plots, no plotly"


def test_importing_the_report_does_not_import_plotly():
    code = "import sys, langwright.lifecycle.report; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
