"""A model in one page: what a browser computes there is what the engine computes."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers

import langwright as lw
from langwright.errors import BadInput, Unsupported
from langwright.lifecycle import export
from langwright.lifecycle.export import page as pages
from langwright.lifecycle.export.node import Node
from langwright.lifecycle.export.page_text import chat_frame, tokenizer_of
from langwright.lifecycle.export.probes import Probe
from langwright.lifecycle.export.proof import Unproved
from langwright.model import ModelBundle, save_folder
from langwright.store import Store
from langwright.tokens import CHATML, END_OF_TEXT, ChatTemplate, JsonTokenizer, train_tokenizer
from langwright.tokens.bpe import special_token
from langwright.tokens.gguf_splits import PATTERNS

Make = Callable[..., ModelBundle]
WINDOWED = {"sliding_window": 8, "sliding_layers": (0, 1), "local_rope_theta": 10_000.0}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"vocab_size": 384},
    "gemma3_text": {
        **WINDOWED, "attention_scale": 0.25, "rope_theta": 1_000_000.0, "logit_softcap": 9.0,
        "head_dim": 10,
    },
    "gpt2": {"num_kv_heads": 4, "head_dim": 8, "norm_eps": 1e-5},
    "llama": {
        "tie_embeddings": False,
        "rope_scaling": {"kind": "llama3", "factor": 4.0, "original_context": 32},
    },
    "qwen2": {"qkv_bias": True, "head_dim": 8},
    "smollm3": {
        "num_layers": 4, "unrotated_layers": (3,),
        "rope_scaling": {"kind": "yarn", "factor": 4.0, "original_context": 32},
    },
    "arcee": {"hidden_size": 30, "num_heads": 2, "num_kv_heads": 1},
}  # fmt: skip
PROMPTS = (
    "The quick brown fox doesn't",
    "你好，世界！ 12 345",
    "🤖 and 👨‍👩‍👧 say:\n\n\tI'LL",
    "  Über <b>&amp; <|im_end|>",
    "مرحبا हिन्दी ไทย 한국어",
)


@pytest.fixture
def folder(make_model: Make, tmp_path: Path) -> Callable[..., Path]:
    """A folder with a small model whose texts begin with a token, as ours do."""

    def write(
        template: str = CHATML, tokenizer: JsonTokenizer | None = None, **settings: Any
    ) -> Path:
        model = make_model(**settings)
        if tokenizer is not None:
            model = replace(model, tokenizer=tokenizer)
        end = model.tokenizer.special[END_OF_TEXT]
        chat = ChatTemplate(template, model.tokenizer, END_OF_TEXT)
        model = replace(model, template=chat, start_id=end)
        (tmp_path / "model").mkdir()
        save_folder(tmp_path / "model", model)
        return tmp_path / "model"

    return write


@pytest.fixture
def node() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: a page is proved in it")


class Opened:
    """A page in the browser, and what it asked for and complained of."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context = browser.new_context(offline=True)
        self.page = context.new_page()
        self.page.set_default_timeout(120_000)
        self.page.on("request", lambda one: self.requests.append(one.url))
        self.page.on("console", lambda one: self.complaints.append(f"{one.type}: {one.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.locator("#go:enabled, #state.bad").first.wait_for()
        assert self.page.inner_text("#state") == "Ready."

    def answer(self, text: str, mode: str, most: int) -> list[int]:
        """The ids that are drawn at temperature 0."""
        page = self.page
        page.check(f"[name=mode][value={mode}]")
        page.fill("#temperature", "0")
        page.fill("#most", str(most))
        page.fill("#text", text)
        page.click("#go")
        page.locator("#stop:disabled").wait_for()
        assert "bad" not in (page.get_attribute("#state", "class") or ""), page.inner_text("#state")
        drawn = ".turn:last-child .token:not(.given)"
        return list(page.eval_on_selector_all(drawn, "all => all.map(one => one.told.id)"))

    def encode(self, text: str) -> list[int]:
        return list(
            self.page.evaluate(
                """text => new Promise((resolve) => {
                  const heard = ({ data }) => resolve(data.ids);
                  worker.addEventListener("message", heard, { once: true });
                  worker.postMessage({ kind: "count", text });
                })""",
                text,
            )
        )

    def check_quiet(self, path: Path) -> None:
        assert self.complaints == []
        # The file, and the program in it that runs aside.
        assert [one.partition("/")[0] for one in self.requests] == ["file:", "blob:null"]
        assert self.requests[0] == path.as_uri()


def odd_text(count: int) -> str:
    """Characters of all planes, assigned or not, among blanks, digits, letters and apostrophes."""
    draw = random.Random(0)
    common = " \t\n\r\x0b\u00a0\u0085\u3000\ufeff''''sStTmMdDlLrReEvVſ0123456789abcXYZ<|_.,-"
    ranges = ((0, 0x250), (0x300, 0x3000), (0x3000, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000))
    pick = [
        draw.choice(common) if draw.random() < 0.6 else chr(draw.randrange(*draw.choice(ranges)))
        for _ in range(count)
    ]
    return "".join(pick)


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        pytest.param(name, dtype, marks=() if quick else pytest.mark.slow)
        for name in FAMILIES
        for dtype, quick in (
            ("f32", name in ("gemma3_text", "llama")),
            ("f16", False),
            ("q8_0", name == "gpt2"),
        )
    ],
)
@pytest.mark.usefixtures("node")
def test_a_page_computes_every_family_as_we_do(
    family: str, dtype: str, folder: Callable[..., Path], tmp_path: Path, store: Store
) -> None:
    source = folder(family=family, **FAMILIES[family])
    found = export(str(source), "html", tmp_path / "out.html", dtype=dtype, store=store)
    (proof,) = found["proofs"]
    assert proof["engine"] == "node"
    assert proof["token_ids_equal"]
    assert proof["passed"]
    # Both compute in float32 with the very weights that the page holds.
    assert proof["max_abs_logprob_diff"] < 2e-5 < proof["tolerance"] == 1e-3
    assert (proof["mean_kl"] > 1e-7) == (dtype != "f32")
    assert [Path(file).name for file in found["files"]] == ["out.html", "out.proof.json"]
    assert json.loads((tmp_path / "out.proof.json").read_text())["proofs"] == [proof]


def test_a_page_in_chromium_draws_and_cuts_as_the_engine_does(
    browser: Any, folder: Callable[..., Path], tmp_path: Path, store: Store
) -> None:
    source, path = folder(context_length=512), tmp_path / "out.html"
    export(str(source), "html", path, store=store, unproved=True)
    model = lw.load(str(source))
    opened = Opened(browser, path)
    for prompt in PROMPTS:
        ours = model.generate(prompt, max_tokens=40, temperature=0)
        assert opened.answer(prompt, "text", 40) == ours.token_ids, prompt
        opened.page.click("#clear")
    ours = model.chat(PROMPTS[0], max_tokens=30, temperature=0)
    assert opened.answer(PROMPTS[0], "chat", 30) == ours.token_ids
    turns = [
        {"role": "user", "content": PROMPTS[0]},
        {"role": "assistant", "content": ours.text},
        {"role": "user", "content": PROMPTS[1]},
    ]
    second = model.chat(turns, max_tokens=30, temperature=0)
    assert opened.answer(PROMPTS[1], "chat", 30) == second.token_ids
    text = odd_text(4000)
    assert opened.encode(text) == model.tokenizer.encode(text)
    opened.check_quiet(path)


def test_the_bars_are_the_engines_probabilities_and_text_is_never_html(
    browser: Any, folder: Callable[..., Path], make_model: Make, tmp_path: Path, store: Store
) -> None:
    evil = "<img src=x onerror=alert(1)><u>x</u>"
    plain: Any = make_model().tokenizer
    token = special_token(evil, plain.vocab_size) | {"special": False}  # a token that is all HTML
    added = [*plain.spec["added_tokens"], token]
    source = folder(tokenizer=JsonTokenizer(plain.spec | {"added_tokens": added}), vocab_size=384)
    path = tmp_path / "out.html"
    export(str(source), "html", path, store=store, unproved=True)
    opened = Opened(browser, path)
    page = opened.page
    opened.answer(evil, "chat", 1)
    assert page.locator("#answer").inner_text().startswith(evil)
    assert page.locator("#answer img, #answer u").count() == 0
    opened.answer(evil, "text", 1)
    assert page.locator("#answer").inner_text().startswith(f"{END_OF_TEXT}{evil}")
    page.locator(".token").nth(1).click()
    assert evil.replace(" ", "␣") in page.inner_text("#bars")
    assert page.locator("#answer img, #answer u, #bars img, #bars u").count() == 0
    evil += " again"
    opened.answer(evil, "text", 1)
    every = "all => all.map(({ told }) => [told.id, told.probability, told.likeliest])"
    first = page.eval_on_selector_all(".token", every)
    # Most of it need not be read again, or all of it must be: that changes nothing.
    opened.answer(evil, "text", 1)
    assert page.eval_on_selector_all(".token", every) == first
    opened.answer("other", "text", 1)
    opened.answer(evil, "text", 1)
    assert page.eval_on_selector_all(".token", every) == first
    told = page.eval_on_selector(".token:last-child", "one => one.told.likeliest")
    ours = lw.load(str(source)).next_tokens(evil, k=10)
    assert [one["id"] for one in told] == [one.id for one in ours]
    for theirs, one in zip(told, ours, strict=True):
        assert theirs["probability"] == pytest.approx(one.probability, abs=1e-6)
    # The likeliest token was drawn, which its bar says; another place has bars of its own.
    assert page.locator(".bar").count() == 10
    assert page.locator(".bar.here").count() == 1
    before = page.inner_text("#bars")
    page.locator(".token").nth(3).click()
    assert page.inner_text("#bars") != before
    opened.check_quiet(path)


def test_a_text_longer_than_the_page_holds_is_refused_with_both_numbers(
    browser: Any, folder: Callable[..., Path], tmp_path: Path, store: Store
) -> None:
    source, path = folder(), tmp_path / "out.html"
    export(str(source), "html", path, store=store, unproved=True)
    page = Opened(browser, path).page
    page.check("[name=mode][value=text]")
    page.fill("#text", "x " * 100)
    page.click("#go")
    page.locator("#state.bad").wait_for()
    count = len(lw.load(str(source)).tokenizer.encode("x " * 100)) + 1
    assert page.inner_text("#state") == f"The text has {count} tokens; this page holds 64."


def ids_in_node(tokenizer: JsonTokenizer, folder: Callable[..., Path], text: str) -> list[int]:
    source = folder(tokenizer=tokenizer, vocab_size=max(700, tokenizer.vocab_size))
    path = source.with_name("page.html")
    export(str(source), "html", path, unproved=True)
    with Node(path) as page:
        return page.ids(Probe([], 64, text=text))[1:]


@pytest.mark.usefixtures("node", "home")
@pytest.mark.parametrize("kind", ["gpt2", "llama3", "qwen2", "smollm", "phrases"])
def test_every_cutting_gives_our_ids(kind: str, folder: Callable[..., Path]) -> None:
    apostrophes = "don't I'll we'VE it'ſtand a\u0301 ＡＢ don'T\r\n  x"
    text = "\n".join((*PROMPTS, odd_text(2500), apostrophes))
    texts = [text, "the lazy dog, 12 34 56 ''\nſtand\n" * 30]
    split: Any = kind if kind in ("gpt2", "llama3") else "qwen2"
    tokenizer = train_tokenizer("bpe", texts, 700, split=split)
    spec = json.loads(json.dumps(tokenizer.spec))
    if kind == "smollm":
        cuts = [{"type": "Digits", "individual_digits": True}]
        cuts += [spec["pre_tokenizer"]["pretokenizers"][-1] | {"use_regex": True}]
        spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": cuts}
    if kind == "phrases":
        names = enumerate(("the la", "the lazy", "<a.b>"), start=len(spec["model"]["vocab"]) + 3)
        spec["added_tokens"] += [special_token(one, at) | {"special": False} for at, one in names]
        spec["normalizer"] = {"type": "NFC"}
        spec["model"]["ignore_merges"] = True
        text += " the lazy <a.b> the land"
    tokenizer = JsonTokenizer(spec)
    assert ids_in_node(tokenizer, folder, text) == tokenizer.encode(text)


@pytest.mark.slow
def test_the_classes_of_characters_are_the_librarys() -> None:
    source = (Path(pages.__file__).parent / "web" / "classes.js").read_text()
    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    for name, written in re.findall(r"^  (\w):((?:\s+\"[^\"]+\"[ +]*)+),", source, re.M):
        held: set[int] = set()
        for span in "".join(re.findall(r'"([^"]+)"', written)).split():
            first, _, last = span.partition("-")
            held |= set(range(int(first, 16), int(last or first, 16) + 1))
        pattern = rf"\{name}" if name == "s" else rf"\p{{{name}}}"
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(f"{pattern}+"), "removed")
        rest = {ord(char) for piece, _ in split.pre_tokenize_str(text) for char in piece}
        assert held == {ord(char) for char in text} - rest, name


def refused(source: Path, store: Store) -> str:
    target = source.parent / "out.html"
    with pytest.raises(Unproved) as error:
        export(str(source), "html", target, store=store)
    assert not target.exists()
    return error.value.message


@pytest.mark.usefixtures("node")
def test_a_page_that_computes_otherwise_is_refused(
    folder: Callable[..., Path], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder()
    with monkeypatch.context() as patch:
        real = pages.tokenizer_of
        patch.setattr(pages, "tokenizer_of", lambda one: real(one) | {"merges": []})
        assert "makes other tokens" in refused(source, store)
    with monkeypatch.context() as patch:
        write = pages.quantised
        patch.setattr(
            pages, "quantised", lambda name, values, dtype: write(name, values * 1.01, dtype)
        )
        assert "other probabilities" in refused(source, store)
    with monkeypatch.context() as patch:
        patch.setattr(pages, "_MODEL", ("tokenizer.js",))
        assert "node cannot read the export: " in (said := refused(source, store))
        assert "CLASSES is not defined" in said
    with monkeypatch.context() as patch:
        frame = {"first": [1, "user\n"], "answer": [2, "\n"], "next": []}
        patch.setattr(pages, "chat_frame", lambda model: frame)
        assert "makes other tokens of the same text" in refused(source, store)


def test_without_node_there_is_no_proof_and_the_page_says_so(
    folder: Callable[..., Path], tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="proved in node") as error:
        export(str(source), "html", tmp_path / "out.html", store=store)
    assert "--unproved" in error.value.remedy
    export(str(source), "html", tmp_path / "out.html", store=store, unproved=True)
    assert "nobody has compared" in (tmp_path / "out.html").read_text()
    assert not json.loads((tmp_path / "out.proof.json").read_text())["proved"]


def test_what_a_page_cannot_run_is_refused_by_name(
    folder: Callable[..., Path],
    make_model: Make,
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experts = {"num_experts": 5, "experts_per_token": 2, "expert_size": 32}
    source = folder(family="qwen3_moe", **experts)

    def refusal(**settings: Any) -> Unsupported:
        with pytest.raises(Unsupported) as error:
            export(str(source), "html", tmp_path / "a.html", store=store, unproved=True, **settings)
        assert [one.name for one in tmp_path.iterdir() if one.name not in ("model", "home")] == []
        return error.value

    assert "qwen3_moe" in refusal().message
    save_folder(source, make_model())
    monkeypatch.setattr(pages, "MAX_BYTES", 60_000)
    assert "The page would have 0 MB" in refusal().message
    assert refusal().remedy == "Give --dtype q8_0."
    with pytest.raises(BadInput):
        export(str(source), "html", tmp_path / "a.html", dtype="bf16", store=store)
    texts = ["the cat sat on the mat, the cat"]
    for kind in ("wordpiece", "sentencepiece", "character", "word"):
        with pytest.raises(Unsupported, match="is no byte-level BPE"):
            tokenizer_of(train_tokenizer(kind, texts, 300))  # type: ignore[arg-type]
    bpe = train_tokenizer("bpe", texts, 300).spec
    cut = {"type": "Split", "pattern": {"Regex": PATTERNS["gpt-4o"][0]}, "behavior": "Isolated"}
    spell = bpe["pre_tokenizer"]["pretokenizers"][-1]
    cuts = {"type": "Sequence", "pretokenizers": [cut | {"invert": False}, spell]}
    for change, why in (
        ({"pre_tokenizer": cuts}, "cuts text in another way"),
        ({"normalizer": {"type": "Lowercase"}}, "changes the text by Lowercase"),
        ({"model": bpe["model"] | {"dropout": 0.1}}, "settings beyond"),
    ):
        with pytest.raises(Unsupported, match=why):
            tokenizer_of(JsonTokenizer(bpe | change))


def test_a_page_chats_where_the_template_only_frames_the_turns(make_model: Make) -> None:
    model = make_model()

    def frame(source: str) -> Any:
        return chat_frame(replace(model, template=ChatTemplate(source, model.tokenizer)))

    start, end = (model.tokenizer.special[f"<|im_{one}|>"] for one in ("start", "end"))
    assert frame(CHATML) == {
        "first": [start, "user\n"],
        "answer": [end, "\n", start, "assistant\n"],
        "next": [end, "\n", start, "user\n"],
    }
    assert frame(CHATML.replace("message['content']", "message['content'] | trim")) is None
    thoughtless = "message['content'].split('</think>')[-1]"
    assert frame(CHATML.replace("message['content']", thoughtless)) is None
    assert frame(CHATML + "{{ strftime_now('%Y') }}") is None
    assert frame("{% for m in messages %}{{ m['content'] }}{% endfor %}") is not None


def test_the_page_says_where_its_model_comes_from(
    make_model: Make, store: Store, tmp_path: Path
) -> None:
    with store.writing("texts", "corpus", licence="CC0-1.0") as draft:
        (draft.folder / "a.txt").write_text("a")
    with store.writing("mine", "model", parents=["texts"], licence="MIT") as draft:
        save_folder(draft.folder, make_model())
    export("mine", "html", tmp_path / "out", store=store, unproved=True)
    text = (tmp_path / "out" / "model.html").read_text()
    footer = text.partition("<footer>")[2].partition("</footer>")[0]
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", footer))
    digest = store.get("texts").digest[:12]
    for part in ("Model mine", "Licence MIT", f"corpus texts {digest} CC0-1.0"):
        assert part in told, told


@pytest.mark.slow
def test_smollm2_in_chromium(
    browser: Any, smollm2_path: Path, tmp_path: Path, store: Store
) -> None:
    path = tmp_path / "out.html"
    (proof,) = export(str(smollm2_path), "html", path, dtype="q8_0", store=store)["proofs"]
    assert proof["passed"]
    assert path.stat().st_size < 200_000_000
    # What the engine makes of the same rounded weights: llama.cpp's file of them holds the same.
    export(str(smollm2_path), "gguf", tmp_path / "same.gguf", dtype="q8_0", unproved=True)
    model = lw.load(str(tmp_path / "same.gguf"))
    opened = Opened(browser, path)
    for prompt in (*PROMPTS, "def primes(n):\n    "):
        ours = model.generate(prompt, max_tokens=24, temperature=0)
        assert opened.answer(prompt, "text", 24) == ours.token_ids, prompt
    opened.page.check("[name=mode][value=chat]")
    ours = model.chat("What is gravity?", max_tokens=80, temperature=0)
    assert opened.answer("What is gravity?", "chat", 80) == ours.token_ids
    print(opened.page.inner_text("#state"))
    spelt = "".join(c for c in odd_text(4000) if spellable(model.tokenizer, c))
    assert opened.encode(spelt) == model.tokenizer.encode(spelt)
    opened.check_quiet(path)


def spellable(tokenizer: Any, char: str) -> bool:
    try:
        tokenizer.encode(char)
    except BadInput:
        return False
    return True
