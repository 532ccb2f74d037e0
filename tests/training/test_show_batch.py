"""The X-ray of a batch: it counts what the loop counts, and names what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langwright.errors import BadSettings, NotFound, Unsupported
from langwright.model import ModelBundle, save_folder
from langwright.model.text_parts import TextParts
from langwright.store import Run, Store
from langwright.text import Packing, TokenShards
from langwright.tokens import CHATML, END_OF_TEXT, TURN_END, ChatTemplate, Tokenizer
from langwright.training import pretrain, sft
from langwright.training.batch import Row, gather, gather_packed
from langwright.training.rebuilt import rebuild
from langwright.training.settings import LoopSettings
from langwright.training.views.show_batch import BadBatch, show_batch, xray_of
from langwright.training.views.xray import problems, xray

RECIPE = str(Path(__file__).parents[1] / "mini.toml")
SMALL: dict[str, Any] = {"context_length": 64, "tokens_per_step": 256, "steps": 4}
WORDS = ("yes", "no", "maybe", "<b>never</b>", "always", "often", "once", "twice" * 9)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Tokenizer) -> Store:
    """The runs `first` (pretraining on numbered sentences) and `second` (fine-tuning of it)."""
    folder = tmp_path_factory.mktemp("runs")
    store = Store(folder / "home")
    with store.writing("vocabulary", "tokenizer") as draft:
        small_tokenizer.save(draft.folder / "tokenizer.json")
    texts = [" ".join(f"{n} times {m} is {n * m}." for m in range(n, n + 14)) for n in range(40)]
    (folder / "tables.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    given = {"corpus": str(folder / "tables.jsonl"), "tokenizer": "vocabulary"}
    pretrain(RECIPE, name="first", store=store, **given, **SMALL)
    turns = [[("user", f"Say {word}"), ("assistant", f"{word}, as you wish.")] for word in WORDS]
    lines = [{"messages": [{"role": role, "content": text} for role, text in one]} for one in turns]
    (folder / "talk.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = {"model": "first", "data": str(folder / "talk.jsonl"), "steps": 3}
    sft(RECIPE, name="second", store=store, **given, tokens_per_step=256, micro_batch_tokens=256)
    return store


def units(run: Run) -> list[int]:
    """How many tokens each step trained, by the loop's own count."""
    counts = [0] + [line["tokens"] for line in run.read_metrics() if "loss" in line]
    return [after - before for before, after in pairwise(counts)]


def test_pretraining_rows_hold_what_the_loop_counted(store: Store) -> None:
    seen = [show_batch("first", step=step, store=store) for step in range(1, 5)]
    assert [one["counts"]["trained"] for one in seen] == units(store.run("first"))
    for row in (row for one in seen for row in one["rows"]):
        kinds = {token["document"] for token in row["tokens"]} - {None}
        # A row is 64 places, and each document has one token more: that which it is entered with.
        assert len(row["tokens"]) == 64 + len(kinds)


def test_a_document_cut_at_the_edge_goes_on_in_another_row(store: Store) -> None:
    """Its parts overlap in the token of the cut, and joined they are the text."""
    rebuilt = rebuild(store.run("first"), store)
    rows = rebuilt.stage._mixture.sources[0].rows.num_rows
    epoch = [row for window in range(rows // 4) for row in xray_of(rebuilt, window)]
    pieces = [document for row in epoch for document in row.documents]
    tokenizer = rebuilt.text.tokenizer
    shards = TokenShards(rebuilt.data[0], "train")
    texts = [shards.document(n).tolist() for n in range(shards.num_documents)]
    cut = [piece for piece in pieces if piece[-1].state == "cut"]
    assert len(cut) > 20
    for piece in pieces:
        first, *rest = piece
        assert not first.trained
        assert all(token.trained for token in rest)
        whole = tokenizer.decode([token.id for token in rest]).removesuffix(END_OF_TEXT)
        (text,) = [t for t in map(tokenizer.decode, texts) if whole in t]
        assert text.startswith(whole) == (first.state == "masked")
        assert text.endswith(whole) == (rest[-1].state == "trained")


def test_fine_tuning_rows_show_what_is_learnt(store: Store) -> None:
    seen = [show_batch("second", step=step, store=store) for step in (1, 2, 3)]
    assert [one["counts"]["trained"] for one in seen] == units(store.run("second"))
    talks = [talk for one in seen for row in one["rows"] for talk in documents_of(row)]
    talk = next(talk for talk in talks if "no, as" in text_of(talk, "trained"))
    assert text_of(talk, "trained") == "no, as you wish.<|im_end|>"
    assert text_of(talk, "masked") == (
        "<|endoftext|><|im_start|>user\nSay no<|im_end|>\n<|im_start|>assistant\n"
    )
    assert any(one["counts"]["padded"] for one in seen)


def documents_of(row: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The tokens of each conversation of a row."""
    inside = [token for token in row["tokens"] if token["document"] is not None]
    count = 1 + max(token["document"] for token in inside)
    return [[token for token in inside if token["document"] == one] for one in range(count)]


def text_of(tokens: list[dict[str, Any]], state: str) -> str:
    return "".join(token["text"] for token in tokens if token["state"] == state)


class _Page(HTMLParser):
    """The visible text, all tags and what they ask for."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", set[str](), list[str]()
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [str(value) for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_offline_and_escapes_the_text(store: Store, tmp_path: Path) -> None:
    said = []
    for step in (1, 2, 3):
        show_batch("second", step=step, html=tmp_path / "page.html", store=store)
        page = _Page((tmp_path / "page.html").read_text())
        said.append("<b>never</b>, as you wish.<|im_end|>" in page.text)
        assert not {"b", "script", "link", "img"} & page.tags
        assert page.links == []
    assert any(said)


def test_nothing_of_the_training_itself_is_read(store: Store, tmp_path: Path) -> None:
    """As of a run that has not begun: its metrics, checkpoints and weights are gone."""
    shutil.copytree(store.home, tmp_path / "home")
    other = Store(tmp_path / "home")
    run = other.run("second")
    run.update_state(status="stopped")
    run.metrics_path.unlink()
    shutil.rmtree(run.checkpoints)
    (other.path(other.get("first")) / "model.safetensors").unlink()
    assert show_batch("second", store=other) == show_batch("second", store=store)


def test_windows_that_were_left_out_are_passed_over(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.home, tmp_path / "home")
    run = Store(tmp_path / "home").run("first")
    rows = [show_batch("first", step=step, store=store)["rows"] for step in (1, 2, 3, 4)]
    # The window of step 2 was left out, then, a step later, the next one.
    run.append_metrics({"step": 2, "incident": {"number": 1, "skipped": [1, 1]}})
    seen = [show_batch("first", step=step, store=Store(tmp_path / "home")) for step in (1, 2, 3)]
    assert [one["rows"] for one in seen] == [rows[0], rows[2], rows[3]]
    run.append_metrics({"step": 2, "incident": {"number": 2, "skipped": [2, 2]}})
    again = show_batch("first", step=2, store=Store(tmp_path / "home"))
    assert again["rows"] == rows[3]


def test_settings_come_back_as_they_were() -> None:
    """Also where some keys may only be given with others."""
    given = {"steps": 9, "tokens_per_step": 64, "context_length": 64}
    given |= {"learning_rate": 1e-3, "embedding_learning_rate": 1e-3}
    for more in ({}, {"schedule": "cosine"}, {"optimizer": "muon", "adam_betas": [0.8, 0.9]}):
        settings = LoopSettings.build(given | more)
        assert LoopSettings.restored(settings.model_dump(mode="json")) == settings


def test_what_cannot_be_shown_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run 'x'"):
        show_batch("x", store=store)
    store.run("other").open({"steps": 3})
    with pytest.raises(Unsupported, match="it is no run of"):
        show_batch("other", store=store)
    for step in (0, 5):
        with pytest.raises(BadSettings, match="from 1 to 4"):
            show_batch("first", step=step, store=store)
    shutil.copytree(store.home, tmp_path / "home")
    other = Store(tmp_path / "home")
    other.remove("first-tokens")
    with pytest.raises(NotFound, match="removed"):
        show_batch("first", store=other)


Teach = Callable[[str, str], str]


@pytest.fixture
def teach(store: Store, make_model: Callable[..., ModelBundle]) -> Teach:
    """Fine-tune a model with the given name and template."""

    def teach(name: str, template: str) -> str:
        bundle = make_model(vocab_size=384, context_length=256)
        ends = frozenset({bundle.tokenizer.special[TURN_END]})
        made = ChatTemplate(template, bundle.tokenizer, bos=END_OF_TEXT)
        odd = ModelBundle(bundle.module, bundle.tokenizer, made, ends, None)
        with store.writing("odd", "model") as draft:
            save_folder(draft.folder, odd)
        data = store.run("second").settings["data"]
        sft(RECIPE, name=name, store=store, model="odd", data=data, steps=1)
        return name

    return teach


MARKED = (
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>' }}{% endfor %}"
)


def test_an_end_of_turn_outside_the_mark_is_named(
    store: Store, teach: Teach, tmp_path: Path
) -> None:
    run = teach("endless", MARKED)
    with pytest.raises(BadBatch, match=r"row 1: the end of the turn .* is not trained") as error:
        show_batch(run, html=tmp_path / "page.html", store=store)
    assert "{% generation %}" in error.value.remedy
    assert "is not trained" in (tmp_path / "page.html").read_text()
    named = error.value.to_json()["error"]["problems"]
    assert {one["row"] for one in named} == {row["row"] for row in error.value.batch["rows"]}
    inside = MARKED.replace("{% endgeneration %}", "{{ '<|im_end|>' }}{% endgeneration %}")
    assert show_batch(teach("ending", inside), store=store)["counts"]["trained"] > 0


def test_a_doubled_start_is_named(store: Store, teach: Teach) -> None:
    run = teach("doubled", "{{ bos_token }}" + CHATML)
    with pytest.raises(BadBatch, match=r"row 1: <\|endoftext\|> stands twice"):
        show_batch(run, store=store)


def test_a_row_in_which_nothing_is_trained_is_named(small_tokenizer: Tokenizer) -> None:
    template = ChatTemplate(CHATML, small_tokenizer)
    ends = frozenset({small_tokenizer.special[TURN_END]})
    text = TextParts(small_tokenizer, template, ends)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    ids, learn = template.encode_with_mask(messages)
    good, bad = Row(np.array(ids), np.array(learn)), Row(np.array(ids), np.zeros(len(ids), bool))
    rows = xray(gather([good, bad], 512), small_tokenizer, None)
    (found,) = problems(rows, text, conversations=True)
    assert found.problem == "no token is trained"
    assert rows[found.row - 1].trained == 0


def test_every_padded_place_is_told_from_a_token_of_id_0(small_tokenizer: Tokenizer) -> None:
    long, short = np.full(9, 5), np.zeros(4, dtype=np.int64)
    batches = gather([Row(long), Row(short, np.zeros(4, bool))], 512)
    rows = xray(batches, small_tokenizer, None)
    assert sorted(row.padded for row in rows) == [0, 5]


def test_an_empty_document_is_a_doubled_start(small_tokenizer: Tokenizer) -> None:
    end = small_tokenizer.special[END_OF_TEXT]
    stream = np.array([end, *small_tokenizer.encode("some text"), end])
    offsets = np.array([0, 1, len(stream)])
    packing = Packing(stream, offsets, len(stream), seed=0)
    rows = xray(gather_packed([packing.row(0)], len(stream), 64), small_tokenizer, end)
    text = TextParts(small_tokenizer, None, frozenset({end}))
    (found,) = problems(rows, text, conversations=False)
    assert "stands twice" in found.problem
