"""The hub: pinned to a commit, checked to the byte, fetched once; the real client, a local hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from langwright.errors import (
    BadInput,
    BadSettings,
    Damaged,
    LangwrightError,
    NetworkMissing,
    NoSpace,
    NotFound,
    Unsupported,
)
from langwright.providers.open import place_of
from langwright.store import Store, pull
from langwright.store.repository import Repository, members
from langwright.text import open_corpus
from langwright.text.reader import read_documents

from .conftest import files_under
from .hub_stand_in import StandIn, stand_in

MODEL = {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "README.md": b"---\nlicense: apache-2.0\n---\n",
    "config.json": b'{"model_type": "tiny"}',
    "model.safetensors": bytes(range(256)) * 400,
    "pytorch_model.bin": b"pickle",
    "tokenizer.json": b"{}",
}
ROWS = [{"text": "One.", "licence": "CC0-1.0"}, {"text": "Two."}]
DATASET = {
    "README.md": b"A card, not a document.",
    "data/train.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "other/more.jsonl": b'{"text": "Three."}\n',
    "load.py": b"raise SystemExit('was run')",
}
GGUF = b"GGUF" + bytes(60)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """A hub on this machine, which no stored login of the person who runs the tests reaches."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hf/token"))
    with stand_in() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield served


def assert_nothing_left(store: Store) -> None:
    assert store.artifacts() == []
    assert [path for path in files_under(store.home) if not path.startswith("lock")] == []


def test_a_model_is_pinned_and_pulled_once(
    store: Store, hub: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    commit = hub.add("model", "lab/Tiny-1", MODEL, {"license": "apache-2.0"})
    model = pull("hf:lab/Tiny-1", store=store)
    assert (model.name, model.kind, model.licence) == ("Tiny-1", "model", "apache-2.0")
    assert model.settings == {"source": "hf:lab/Tiny-1", "commit": commit, "revision": "main"}
    taken = ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(model.files) == taken
    for name in taken:
        assert (store.path(model) / name).read_bytes() == MODEL[name]
    assert "Not taken: .gitattributes, pytorch_model.bin." in capfd.readouterr().err
    fetched = len(hub.downloads())
    assert fetched >= len(taken)
    assert pull("hf:lab/Tiny-1", store=store) == model
    assert pull(f"hf:lab/Tiny-1@{commit}", store=store) == model
    assert len(hub.downloads()) == fetched
    assert not [line for line in hub.requests if "pytorch_model.bin" in line]


def test_a_branch_that_moved_is_pulled_anew(store: Store, hub: StandIn) -> None:
    first = hub.add("model", "lab/tiny", MODEL)
    older = pull("hf:lab/tiny", store=store)
    second = hub.add("model", "lab/tiny", {**MODEL, "model.safetensors": b"new"})
    newer = pull("hf:lab/tiny", store=store)
    assert (older.settings["commit"], newer.settings["commit"]) == (first, second)
    assert (store.path(store.get("tiny")) / "model.safetensors").read_bytes() == b"new"
    assert store.path(store.get(older.digest)).is_dir()  # kept, known by its digest
    hub.add("model", "else/tiny", MODEL)
    with pytest.raises(BadSettings, match="another artifact"):
        pull("hf:else/tiny", store=store)


def test_a_revision_may_have_slashes(store: Store, hub: StandIn) -> None:
    hub.add("model", "lab/tiny", MODEL)
    commit = hub.add("model", "lab/tiny", {**MODEL, "config.json": b"{}"}, revision="refs/pr/1")
    model = pull("hf:lab/tiny@refs/pr/1", store=store)
    assert model.settings["commit"] == commit
    assert (store.path(model) / "config.json").read_bytes() == b"{}"


def test_a_data_set_becomes_a_corpus(store: Store, hub: StandIn) -> None:
    hub.add("dataset", "lab/texts", DATASET, {"license": ["mit", "cc-by-4.0"]})
    corpus = open_corpus("hf:datasets/lab/texts", store)
    dataset = store.get("texts")
    assert (dataset.kind, dataset.licence) == ("dataset", "mit, cc-by-4.0")
    assert sorted(dataset.files) == ["data/train.jsonl", "other/more.jsonl"]
    assert (corpus.kind, corpus.name) == ("corpus", "corpus-texts")
    assert (corpus.parents, corpus.licence) == ([dataset.digest], "mit, cc-by-4.0")
    found = [(one.text, one.licence) for one in read_documents(store.path(corpus))]
    given = "mit, cc-by-4.0"
    assert found == [("One.", "CC0-1.0"), ("Two.", given), ("Three.", given)]
    assert open_corpus("hf:datasets/lab/texts", store) == corpus
    assert open_corpus("texts", store) == corpus  # by its name in the store


def test_one_folder_or_file_of_a_data_set(store: Store, hub: StandIn) -> None:
    hub.add("dataset", "lab/texts", DATASET)
    for path, name in (("other", "texts-other"), ("other/more.jsonl", "texts-other-more")):
        part = pull(f"hf:datasets/lab/texts:{path}", store=store)
        assert (part.name, list(part.files)) == (name, ["other/more.jsonl"])
    with pytest.raises(NotFound, match="no othre") as caught:
        pull("hf:datasets/lab/texts:othre", store=store)
    assert "'other'" in caught.value.remedy


def test_one_gguf_file_of_several(store: Store, hub: StandIn) -> None:
    hub.add("model", "lab/tiny-GGUF", {"tiny-q4.gguf": GGUF, "tiny-q8.gguf": GGUF + b"8"})
    with pytest.raises(BadInput, match=r"2 GGUF files: tiny-q4\.gguf, tiny-q8\.gguf") as caught:
        pull("hf:lab/tiny-GGUF", store=store)
    assert "hf:lab/tiny-GGUF:tiny-q4.gguf" in caught.value.remedy
    assert_nothing_left(store)
    model = pull("hf:lab/tiny-GGUF:tiny-q8.gguf", store=store)
    assert (model.name, list(model.files)) == ("tiny-q8", ["model.gguf"])
    assert (store.path(model) / "model.gguf").read_bytes() == GGUF + b"8"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_announced_are_refused(store: Store, hub: StandIn, name: str) -> None:
    hub.add("model", "lab/tiny", MODEL)
    hub.spoilt = {name}  # of the same length
    with pytest.raises(Damaged, match=f"{name} has the"):
        pull("hf:lab/tiny", store=store)
    assert_nothing_left(store)


def test_a_cut_connection_goes_on_where_it_was_cut(store: Store, hub: StandIn) -> None:
    weights = bytes(range(256)) * 48_000  # 12 MB: the client writes pieces of 10 MiB
    hub.add("model", "lab/tiny", {**MODEL, "model.safetensors": weights})
    hub.cuts = [11_000_000]
    model = pull("hf:lab/tiny", store=store)
    assert (store.path(model) / "model.safetensors").read_bytes() == weights
    assert hub.ranges == [f"bytes={10 * 2**20}-"]


def test_a_torn_connection_begins_the_file_again(store: Store, hub: StandIn) -> None:
    hub.add("model", "lab/tiny", MODEL)
    hub.tears = [70_000, 0]
    model = pull("hf:lab/tiny", store=store)
    assert (store.path(model) / "model.safetensors").read_bytes() == MODEL["model.safetensors"]
    assert hub.tears == []


@pytest.mark.parametrize(
    ("refuse", "error", "words"),
    [
        ((401, "GatedRepo"), NetworkMissing, "gated"),
        ((403, "GatedRepo"), NetworkMissing, "HF_TOKEN"),
        ((401, ""), NotFound, "HF_TOKEN"),
        ((404, "RepoNotFound"), NotFound, "hf:datasets/lab/tiny"),
        ((500, ""), NetworkMissing, "status 500"),
    ],
)
def test_refusals_say_what_to_do(
    store: Store, hub: StandIn, refuse: tuple[int, str], error: type[LangwrightError], words: str
) -> None:
    hub.add("model", "lab/tiny", MODEL)
    hub.refuse = refuse
    with pytest.raises(error, match=words):
        pull("hf:lab/tiny", store=store)
    assert_nothing_left(store)


def test_its_name_on_the_hub_opens_it(store: Store, hub: StandIn) -> None:
    hub.add("model", "lab/tiny", MODEL)
    with pytest.raises(NotFound) as error:
        place_of("hf:lab/tiny", store, ("model",))
    assert "langwright pull hf:lab/tiny" in error.value.remedy
    pulled = pull("hf:lab/tiny", store=store)
    assert place_of("hf:lab/tiny", store, ("model",)).path == store.path(pulled)


def test_what_is_not_there_says_so(store: Store, hub: StandIn) -> None:
    hub.add("model", "lab/pickled", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    hub.add("dataset", "lab/scripted", {"load.py": b"", "README.md": b""})
    hub.add("model", "lab/tiny", MODEL)
    wrong: list[tuple[str, type[LangwrightError], str]] = [
        ("hf:lab/none", NotFound, "Check the name"),
        ("hf:lab/tiny@none", NotFound, "no revision 'none'"),
        ("hf:lab/tiny:none.gguf", NotFound, "no none.gguf"),
        ("hf:lab/tiny:config.json", BadInput, "Choose a GGUF file"),
        ("hf:lab/pickled", Unsupported, "pickles"),
        ("hf:datasets/lab/scripted", Unsupported, "@refs/convert/parquet"),
        ("hf:tiny", BadInput, "hf:OWNER/NAME"),
        ("hf:lab/ti--ny", BadInput, "cannot be a repository"),
        ("hf:datasets/lab/texts:../x", BadInput, "outside its folder"),
    ]
    for name, error, words in wrong:
        with pytest.raises(error, match=words):
            pull(name, store=store)
    assert_nothing_left(store)


@pytest.mark.parametrize("path", ["../evil.json", "/evil.json", "a/../../evil.json", "C:evil.json"])
def test_a_file_that_leaves_its_folder_is_refused(store: Store, hub: StandIn, path: str) -> None:
    hub.add("model", "lab/tiny", {**MODEL, path: b"evil"})
    with pytest.raises(BadInput, match="outside its folder"):
        pull("hf:lab/tiny", store=store)
    assert_nothing_left(store)
    assert not [file for file in files_under(store.home.parent) if "evil" in file]
    assert hub.downloads() == []


def test_more_than_the_disk_holds_is_not_begun(store: Store, hub: StandIn) -> None:
    hub.add("model", "lab/tiny", MODEL)
    hub.sizes = {"model.safetensors": 2**62}
    with pytest.raises(NoSpace, match="are free"):
        pull("hf:lab/tiny", store=store)
    assert hub.downloads() == []
    assert_nothing_left(store)


def test_without_its_package_the_remedy_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Unsupported) as caught:
        pull("hf:lab/tiny", store=store)
    assert caught.value.remedy == "`pip install 'langwright[hub]'`"


def test_out_of_reach_what_was_pulled_before_is_used(
    store: Store, hub: StandIn, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add("model", "lab/tiny", MODEL)
    model = pull("hf:lab/tiny", store=store)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    capfd.readouterr()
    assert pull("hf:lab/tiny", store=store) == model
    assert pull(f"hf:lab/tiny@{commit}", store=store) == model
    assert "Only what was pulled before" in capfd.readouterr().err
    for name in ("hf:lab/tiny@other", "hf:lab/else"):
        with pytest.raises(NetworkMissing, match="cannot be reached"):
            pull(name, store=store)


def test_offline_by_choice_asks_nobody(store: Store, hub: StandIn) -> None:
    hub.add("model", "lab/tiny", MODEL)
    model = pull("hf:lab/tiny", store=store)
    asked = len(hub.requests)
    code = (
        "import sys; from pathlib import Path; from langwright.store import Store, pull\n"
        "print(pull('hf:lab/tiny', store=Store(Path(sys.argv[1]))).digest)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(store.home)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == model.digest + "\n"
    assert "HF_HUB_OFFLINE" in ran.stderr
    assert len(hub.requests) == asked


def test_which_files_of_a_model_are_taken() -> None:
    parts = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    index = "model.safetensors.index.json"
    paths = [*parts, index, "config.json", "consolidated.safetensors", "tiny.gguf", "code.py"]
    model = Repository("model", "lab/tiny", "main", None)
    assert set(members(model, paths)) == {*parts, index, "config.json"}
    whole = ["config.json", "model.safetensors", "model.fp16.safetensors"]
    assert set(members(model, whole)) == {"config.json", "model.safetensors"}
    with pytest.raises(Unsupported, match="one part"):
        members(model, ["tiny-00001-of-00002.gguf"])


def test_which_files_of_a_data_set_are_taken() -> None:
    data = ["a/x.parquet", "b.csv", "c.json.gz", "d.jsonl.zst", "e.txt"]
    other = ["LICENSE.txt", "dataset_infos.json", ".git/f.json", "load.py", "g.tar.gz", "h.pkl"]
    dataset = Repository("dataset", "lab/texts", "main", None)
    assert list(members(dataset, [*other, *data])) == data
    with pytest.raises(BadInput, match="no data"):
        members(dataset, ["h.pkl"])
