"""Cleaning end to end: nothing is lost without being counted, on any engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from langwright.errors import BadInput, BadSettings
from langwright.store import Store
from langwright.text import Document, read_documents
from langwright.text.clean import clean
from langwright.text.cleaning import C4, Dropped, GopherQuality
from langwright.text.dedup import ExactDedup, MinHashDedup
from langwright.text.engines import LocalEngine, RayEngine
from langwright.text.normalise import Normalise
from langwright.text.pipeline import run_pipeline


@dataclass(frozen=True)
class Shorter:
    """Drops texts of `limit` characters or more."""

    limit: int
    name: str = "shorter"
    source: str = "this test"

    def __call__(self, document: Document) -> Document | Dropped:
        length = len(document.text)
        return document if length < self.limit else Dropped("too_long", f"{length}")


@dataclass(frozen=True)
class Upper:
    name: str = "upper"
    source: str = "this test"

    def __call__(self, document: Document) -> Document | Dropped:
        return replace(document, text=document.text.upper())


def _corpus(path: Path, count: int) -> list[Document]:
    """Every fifth text is one that came before, every seventh is long."""
    documents = []
    for index in range(count):
        text = f"text {index - 4 if index % 5 == 4 else index}" + "!" * (100 * (index % 7 == 6))
        documents.append(Document(text, f"d{index}", licence="CC0-1.0"))
    path.write_bytes(b"".join(document.to_line() + b"\n" for document in documents))
    return documents


def _kept(documents: list[Document]) -> list[str]:
    """What the pipeline below must keep, by a loop over a set."""
    seen: set[str] = set()
    kept = []
    for document in documents:
        text = document.text.upper()
        if len(document.text) < 50 and text not in seen:
            seen.add(text)
            kept.append(document.source)
    return kept


def test_a_pipeline_keeps_what_a_loop_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langwright.text.pipeline.SPAN_BYTES", 700)
    documents = _corpus(tmp_path / "in.jsonl", 200)
    target = tmp_path / "out.jsonl"
    steps = [Shorter(50), Upper(), ExactDedup(), Shorter(10**9)]
    with LocalEngine(1) as engine:
        funnel = run_pipeline([tmp_path / "in.jsonl"], steps, target, tmp_path, engine)
    found = [Document.from_line(line) for line in target.read_bytes().splitlines()]
    assert [document.source for document in found] == _kept(documents)
    assert {document.licence for document in found} == {"CC0-1.0"}

    for before, after in pairwise(funnel):
        assert (before.documents_out, before.bytes_out) == (after.documents_in, after.bytes_in)
    for count in funnel:
        taken = sum(loss.documents for loss in count.losses.values())
        assert count.documents_in == count.documents_out + taken
        assert all(1 <= len(loss.examples) <= 10 for loss in count.losses.values())
    assert funnel[0].documents_in == 200
    assert funnel[-1].bytes_out == sum(len(document.text) for document in found)
    exact = funnel[2].losses["exact"]
    of = {document.source: document for document in documents}
    for example in exact.examples:
        original = of[example.detail.removeprefix("like ")]
        assert original.text.upper() == of[example.source].text.upper()
        assert original.source != example.source


@pytest.mark.parametrize("engine", ["two processes", "ray"])
def test_every_engine_writes_the_same_bytes(
    tmp_path: Path, data: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    monkeypatch.setattr("langwright.text.pipeline.SPAN_BYTES", 20_000)
    rows = (data / "llamafactory_demo" / "c4_demo.jsonl").read_text("utf-8").splitlines()[:100]
    texts = [json.loads(row)["text"] for row in rows]
    lines = [Document(text, f"d{i}").to_line() for i, text in enumerate([*texts, *texts[::3]])]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    steps = [Normalise(), GopherQuality(), ExactDedup(), C4(), MinHashDedup()]
    other = LocalEngine(2) if engine == "two processes" else RayEngine()
    written, funnels = [], []
    for number, made in enumerate((LocalEngine(1), other)):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        target = tmp_path / f"out-{number}.jsonl"
        with made as running:
            funnel = run_pipeline([tmp_path / "in.jsonl"], steps, target, scratch, running)
        written.append(target.read_bytes())
        funnels.append([count.to_json() for count in funnel])
    assert written[0] == written[1]
    assert funnels[0] == funnels[1]
    assert all(count["documents_in"] > count["documents_out"] for count in funnels[0][1:4])


def test_clean_writes_a_corpus_with_its_funnel(tmp_path: Path, store: Store, data: Path) -> None:
    pytest.importorskip("ftfy", reason="the extra 'text' is not installed")
    pile = tmp_path / "pile.jsonl"
    rows = (data / "llamafactory_demo" / "c4_demo.jsonl").read_text("utf-8").splitlines()[:60]
    texts = [json.loads(row)["text"] for row in rows]
    texts += texts[:5]  # exact duplicates, and:
    texts.append(texts[7] + " One more sentence stands here now.")
    pile.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    found = clean([str(pile)], "tidy", processes=1, store=store)

    assert [step["name"] for step in found["funnel"]][-2:] == ["minhash", "pii"]
    artifact = store.get("tidy")
    documents = list(read_documents(store.path(artifact)))
    assert len(documents) == found["documents"] < 60
    assert Counter(document.digest for document in documents).most_common(1)[0][1] == 1
    lost = sum(step["documents_in"] - step["documents_out"] for step in found["funnel"])
    assert found["documents_in"] - lost == found["documents"]
    parent = store.get("corpus-pile")
    assert artifact.parents == [parent.digest]
    page = Path(found["report"]).read_text("utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")[:2000]
    for step in found["funnel"]:
        for rule in step["rules"]:
            assert rule["rule"] in page
            assert 1 <= len(rule["examples"]) <= 10


def test_nothing_left_is_an_error_and_leaves_nothing(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.txt").write_text("Too short.")
    with pytest.raises(BadInput, match="took 1 of 1"):
        clean([str(tmp_path / "a.txt")], "none", steps=["gopher_quality"], store=store, processes=1)
    assert all(artifact.name != "none" for artifact in store.artifacts())


def test_a_misspelt_step_is_named(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.txt").write_text("Text.")
    with pytest.raises(BadSettings, match="minhsh"):
        clean([str(tmp_path / "a.txt")], "x", steps=["minhsh"], store=store)


def test_peak_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """Four times the corpus, the same peak: within a fifth."""
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from langwright.text.pipeline import run_pipeline\n"
        "from langwright.text.engines import LocalEngine\n"
        "from langwright.text.dedup import ExactDedup\n"
        "from langwright.text.normalise import Normalise\n"
        "here = Path(sys.argv[1])\n"
        "with LocalEngine(1) as engine:\n"
        "    run_pipeline([here / 'in'], [Normalise(), ExactDedup()], here / 'o', here, engine)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for megabytes in (16, 64):
        with (tmp_path / "in").open("wb") as file:
            for index in range(megabytes * 2**20 // 2000):
                file.write(Document(f"{index} " + "word " * 400, f"d{index}").to_line() + b"\n")
        ran = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        peaks.append(int(ran.stdout))
    assert peaks[1] < 1.2 * peaks[0], peaks
