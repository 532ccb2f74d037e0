"""Artifacts: content-addressed, whole or absent, with their lineage, by many processes at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

import langwright.store
from langwright.errors import BadInput, Damaged, NotFound
from langwright.store import Artifact, Store

from .conftest import StartChild, add, files_under, together

WRITE = """
with store.writing("half", "corpus") as draft:
    (draft.folder / "text.txt").write_text("x" * 100_000)
    ready()
"""


def test_what_is_written_is_read_back(store: Store) -> None:
    with store.writing("a", "corpus", settings={"sizes": (1, 2)}, licence="MIT") as draft:
        (draft.folder / "deep").mkdir()
        (draft.folder / "deep" / "text.txt").write_text("hello")
        draft.metrics["documents"] = 1
        draft.settings["late"] = True
    artifact = store.get("a")
    assert artifact == draft.artifact
    assert artifact.public() == {
        "name": "a",
        "kind": "corpus",
        "digest": artifact.digest,
        "bytes": 5,
        "licence": "MIT",
        "parents": [],
        "settings": {"sizes": [1, 2], "late": True},
        "metrics": {"documents": 1},
        "created": artifact.created,
        "dropped": False,
    }
    assert (store.path(artifact) / "deep" / "text.txt").read_text() == "hello"
    store.verify(artifact)
    assert store.get(artifact.digest[:8]).digest == artifact.digest
    assert Store(store.home).artifacts("corpus") == [artifact]
    assert store.artifacts("model") == []


def test_an_artifact_is_not_there_before_its_block_ends(store: Store) -> None:
    with store.writing("a", "corpus") as draft:
        with pytest.raises(NotFound):
            store.get("a")
        with pytest.raises(RuntimeError):
            _ = draft.artifact


def test_a_killed_writer_leaves_nothing(store: Store, child: StartChild) -> None:
    add(store, "before")
    child(WRITE).end(signal.SIGKILL)
    assert files_under(store.home / "tmp") != []
    again = Store(store.home)
    assert [artifact.name for artifact in again.artifacts()] == ["before"]
    assert list((store.home / "tmp").iterdir()) == []
    again.verify(again.get("before"))


def test_ctrl_c_leaves_nothing(store: Store, child: StartChild) -> None:
    child(WRITE).end(signal.SIGINT)
    assert list((store.home / "tmp").iterdir()) == []
    assert store.artifacts() == []


def test_a_living_writer_is_left_in_peace(store: Store, child: StartChild) -> None:
    writer = child(WRITE)
    Store(store.home)
    writer.go()
    store.verify(store.get("half"))


def test_drafts_come_and_go_only_under_the_lock_of_sweeping(
    store: Store, child: StartChild
) -> None:
    starting = child("ready()\n" + WRITE.replace("ready()", "pass"))
    ending = child(WRITE.replace("ready()", "ready(); sys.exit()"))
    (draft,) = (store.home / "tmp").iterdir()
    with FileLock(store.home / "lock"):
        for one in (starting, ending):
            assert one.process.stdin is not None
            one.process.stdin.write("go\n")
            one.process.stdin.flush()
            with pytest.raises(subprocess.TimeoutExpired):  # a process too slow passes, too
                one.process.wait(0.5)
        assert list((store.home / "tmp").iterdir()) == [draft]
    for one in (starting, ending):
        one.process.communicate(timeout=120)
        assert one.process.returncode == 0
    assert list((store.home / "tmp").iterdir()) == []
    assert [artifact.name for artifact in store.artifacts()] == ["half"]


def test_what_a_crash_left_between_two_steps_is_swept(store: Store) -> None:
    kept = add(store, "kept")
    shutil.copytree(store.path(kept), store.home / "artifacts" / ("0" * 64))
    (store.home / "records" / ".x.json.1234.aside").write_text('{"na')
    (store.home / "names" / ".x.json.1234.aside").write_text('{"na')
    before = files_under(store.home)
    again = Store(store.home)
    assert len(files_under(store.home)) == len(before) - 3
    assert again.artifacts() == [kept]


def test_processes_may_add_and_remove_at_once(store: Store, child: StartChild) -> None:
    old = [f"old-{i}" for i in range(15)]
    base = add(store, "base", "base")
    for name in old:
        add(store, name, f"text of {name}", parents=[base])
    adding = """
ready()
for name in {names}:
    with Store(store.home).writing(name, "corpus") as draft:
        (draft.folder / "text.txt").write_text({text!r})
"""
    mine = ["same", "mine"] * 10
    yours = ["same", "yours"] * 10
    together(
        [
            child(adding.format(names=mine, text="one text")),
            child(adding.format(names=mine, text="one text")),
            child(adding.format(names=yours, text="another text")),
            child(f"ready()\nfor name in {old}:\n    Store(store.home).remove(name)\n"),
        ]
    )
    artifacts = store.artifacts()
    assert {artifact.name for artifact in artifacts} == {"base", "same", "mine", "yours"}
    assert store.get("mine").digest != store.get("yours").digest
    for artifact in artifacts:
        store.verify(artifact)
    digests = {artifact.digest for artifact in artifacts}
    assert len(digests) == 3
    assert {path.name for path in (store.home / "artifacts").iterdir()} == digests
    assert list((store.home / "tmp").iterdir()) == []


def test_the_digest_is_what_the_artifact_is_and_nothing_else(store: Store) -> None:
    parent = add(store, "parent", "parent")
    first = add(store, "first")
    same = [
        add(store, "second"),
        add(store, "first", metrics={"loss": 1.0}),
        add(Store(store.home.parent / "elsewhere"), "first"),
    ]
    assert {artifact.digest for artifact in same} == {first.digest}
    other = [
        add(store, "first", "other text"),
        add(store, "first", parents=[parent]),
        add(store, "first", settings={"seed": 1}),
        add(store, "first", licence="MIT"),
    ]
    with store.writing("first", "tokens") as kind:
        (kind.folder / "text.txt").write_text("text")
    with store.writing("first", "corpus") as path:
        (path.folder / "other.txt").write_text("text")
    digests = {first.digest, kind.artifact.digest, path.artifact.digest}
    assert len(digests | {artifact.digest for artifact in other}) == 7


def _generations(store: Store) -> tuple[Artifact, Artifact, Artifact]:
    corpus = add(store, "corpus", "corpus")
    tokens = add(store, "tokens", "tokens", parents=["corpus"])
    return corpus, tokens, add(store, "model", "model", parents=[tokens.digest, corpus])


def test_lineage_goes_through_a_removed_parent(store: Store) -> None:
    corpus, tokens, model = _generations(store)
    removed = store.remove("tokens")
    assert [(a["name"], a["digest"]) for a in removed["artifacts"]] == [("tokens", tokens.digest)]
    lineage = store.lineage("model")
    assert [(node["name"], node["dropped"]) for node in lineage["nodes"]] == [
        ("model", False),
        ("tokens", True),
        ("corpus", False),
    ]
    assert lineage["edges"] == [
        {"from": tokens.digest, "to": model.digest},
        {"from": corpus.digest, "to": model.digest},
        {"from": corpus.digest, "to": tokens.digest},
    ]
    assert not (store.home / "artifacts" / tokens.digest).exists()
    with pytest.raises(NotFound, match="removed"):
        store.path(store.get(tokens.digest))
    with pytest.raises(NotFound):
        store.get("tokens")


def test_records_go_with_the_last_thing_made_from_them(store: Store) -> None:
    _generations(store)
    for name in ("corpus", "tokens"):
        store.remove(name)
    assert len(store.artifacts()) == 3
    store.remove("model")
    assert store.artifacts() == []
    assert files_under(store.home / "records") == []
    assert list((store.home / "artifacts").iterdir()) == []


def test_a_dropped_artifact_made_again_is_whole_again(store: Store) -> None:
    corpus, _, _ = _generations(store)
    store.remove("corpus")
    assert add(store, "corpus", "corpus").digest == corpus.digest
    store.verify(store.get("corpus"))
    assert not any(node["dropped"] for node in store.lineage("model")["nodes"])


def test_a_parent_removed_meanwhile_stays_in_the_lineage(store: Store) -> None:
    parent = add(store, "parent", "parent")
    with store.writing("child", "corpus", parents=[parent]) as draft:
        (draft.folder / "text.txt").write_text("child")
        Store(store.home).remove("parent")
    names = [(node["name"], node["dropped"]) for node in store.lineage("child")["nodes"]]
    assert names == [("child", False), ("parent", True)]


def test_bytes_with_two_names_stay_until_the_second_goes(store: Store) -> None:
    one, two = add(store, "one"), add(store, "two")
    assert one.digest == two.digest
    assert [a.name for a in store.artifacts()] == ["one", "two"]
    store.remove("two")
    store.verify(store.get("one"))
    store.remove(one.digest[:10])
    assert store.artifacts() == []


def test_a_second_name_means_the_same_artifact(store: Store) -> None:
    first, second = add(store, "a", text="1"), add(store, "b", text="2")
    store.point("best", first)
    assert store.get("best").digest == first.digest
    store.point("best", second)
    assert store.get("best").digest == second.digest
    store.remove("b")
    assert store.path(store.get("best")).is_dir()
    store.remove("a")
    with pytest.raises(NotFound):
        store.point("best", first)
    with pytest.raises(BadInput):
        store.point("../best", second)


def test_a_name_moves_and_the_older_stays_known_by_its_digest(store: Store) -> None:
    old, new = add(store, "a", "old"), add(store, "a", "new")
    assert store.get("a").digest == new.digest
    assert {a.digest for a in store.artifacts()} == {old.digest, new.digest}
    store.remove("a")
    with pytest.raises(NotFound, match=old.digest[:12]):
        store.get("a")
    store.verify(store.get(old.digest))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda file: file.write_text("texT"), "text.txt has other bytes"),
        (lambda file: file.write_text("longer"), "text.txt has 6 bytes instead of 4"),
        (lambda file: file.unlink(), "text.txt is missing"),
        (lambda file: (file.parent / "more").write_text(""), "more was added"),
        (lambda file: shutil.rmtree(file.parent), "are missing"),
    ],
)
def test_damage_is_found_named_and_mended(
    store: Store, harm: Callable[[Path], object], words: str
) -> None:
    artifact = add(store, "a")
    harm(store.path(artifact) / "text.txt")
    with pytest.raises(Damaged, match=words) as caught:
        store.verify(artifact)
    assert "langwright remove a" in caught.value.remedy
    add(store, "a")
    store.verify(artifact)


def test_a_torn_record_is_named(store: Store) -> None:
    artifact = add(store, "a")
    (store.home / "records" / f"{artifact.digest}.json").write_text('{"name": "a"')
    with pytest.raises(Damaged, match=artifact.digest):
        store.get("a")


LONG = "a" * 101


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "-option",
        "a/b",
        "../a",
        "a\\b",
        "a@3",
        "a+b",
        "a b",
        "ä",
        "a\n",
        LONG,
    ],
)
def test_names_that_could_be_paths_or_options_are_refused(store: Store, name: str) -> None:
    with pytest.raises(BadInput), store.writing(name, "corpus"):
        pass
    with pytest.raises(BadInput):
        store.run(name)
    for act in (store.get, store.remove, store.lineage):
        with pytest.raises(NotFound):
            act(name)


@pytest.mark.parametrize("name", ["a", "A.b_c-3", "_", "a" * 100])
def test_plain_names_are_good(store: Store, name: str) -> None:
    assert add(store, name).name == store.get(name).name == name


def test_an_unknown_name_comes_with_a_remedy(store: Store) -> None:
    add(store, "shakespeare")
    for wrong, remedy in (("shakespear", "'shakespeare'"), ("kjv", "`langwright pull kjv`")):
        with pytest.raises(NotFound) as caught:
            store.get(wrong)
        assert remedy in caught.value.remedy
    with pytest.raises(NotFound), store.writing("child", "corpus", parents=["nobody"]):
        pass


def test_half_a_digest_must_mean_one_artifact(store: Store) -> None:
    digest = add(store, "a").digest
    record = store.home / "records" / f"{digest}.json"
    shutil.copy(record, record.with_name(f"{digest[:10]}{'0' * 54}.json"))
    with pytest.raises(BadInput, match="2 digests"):
        store.get(digest[:8])
    with pytest.raises(NotFound):
        store.get(digest[:7])
    assert store.get(digest).name == "a"


def test_links_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="link"), store.writing("a", "corpus") as draft:
        (draft.folder / "link").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="JSON"):
        add(store, "a", settings={"loss": float("nan")})
    assert store.artifacts() == []


def test_the_verbs_answer_with_the_promised_shapes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGWRIGHT_HOME", str(store.home))
    artifact = add(store, "a")
    run = store.run("r").open({"steps": 1})
    assert langwright.store.home() == store.home
    assert langwright.store.artifacts() == {
        "artifacts": [artifact.public()],
        "runs": [run.public()],
    }
    assert langwright.store.artifacts("model") == {"artifacts": [], "runs": []}
    assert langwright.store.show("a") == {"artifacts": [artifact.public()], "runs": []}
    assert langwright.store.show("r") == {"artifacts": [], "runs": [run.public()]}
    assert langwright.store.lineage("a") == {"nodes": [artifact.public()], "edges": []}
    assert langwright.store.remove("a") == {"artifacts": [artifact.public()], "runs": []}
    with pytest.raises(NotFound):
        langwright.store.show("a")


def test_reading_an_empty_store_makes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert store.artifacts() == []
    assert store.runs() == []
    assert not store.home.exists()


def test_the_import_is_light() -> None:
    code = "import sys, langwright.store; print(*{'torch', 'numpy', 'rich'} & sys.modules.keys())"
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "\n"
