"""The page to chat, driven in Chromium over a real server."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from tests.server.conftest import started

from langwright.model import ModelBundle
from langwright.model.folder import save_folder
from langwright.server.keys import Keys

sync_api = pytest.importorskip("playwright.sync_api")

SPEAKS = "<b id=own>🙂"
"""What the model `chain` answers to everything; no token stands in it twice."""


def chain_of(model: ModelBundle) -> ModelBundle:
    """The model without its blocks, its head such that after each token of "\\n" + SPEAKS comes
    the next, and then the end."""
    module, tokenizer = model.module, model.tokenizer
    ids = [*tokenizer.encode("\n"), *tokenizer.encode(SPEAKS), min(model.end_ids)]
    assert len(set(ids)) == len(ids)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        module.norm.weight.fill_(1.0)
        module.lm_head.weight.zero_()
        for before, after in pairwise(ids):
            module.lm_head.weight[after] = 8 * module.embed_tokens.weight[before]
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., ModelBundle]) -> Any:
    """Names of folders: one with random weights, one that speaks HTML, one without a template."""
    folder = tmp_path_factory.mktemp("models")
    rows = make_model().tokenizer.vocab_size
    size = {"context_length": 256, "vocab_size": rows}
    plain = make_model(1, **size)
    plain.template = None
    made = {
        "random": make_model(**{**size, "context_length": 4096}),
        "chain": chain_of(make_model(tie_embeddings=False, **size)),
        "plain": plain,
    }
    for name, model in made.items():
        (folder / name).mkdir()
        save_folder(folder / name, model)
    return {name: str(folder / name) for name in made}


@pytest.fixture(scope="module")
def url(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started(tmp_path_factory.mktemp("home"), *models.values()) as (url, _):
        yield url


@contextmanager
def visiting(browser: Any, url: str, **more: Any) -> Iterator[Any]:
    """The page, opened; what it said to the console is in `said`, and whom it asked in `asked`."""
    context = browser.new_context(**more)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.said, page.asked = [], []
    page.on("console", lambda one: page.said.append(one.text))
    page.on("pageerror", lambda one: page.said.append(str(one)))
    page.on("request", lambda one: page.asked.append(one.url))
    page.goto(url)
    try:
        yield page
    finally:
        context.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    with visiting(browser, url) as page:
        page.locator("#model option").first.wait_for(state="attached")
        yield page
        assert all(one.startswith((url, "data:")) for one in page.asked)


def ask(page: Any, text: str, model: str, **fields: object) -> None:
    page.select_option("#model", model)
    for name, value in fields.items():
        page.fill(f"#{name}", str(value))
    page.fill("#question", text)
    page.press("#question", "Enter")


def answered(page: Any) -> list[str]:
    """The texts of the last answers, once they are whole."""
    page.wait_for_selector("#send", state="visible")
    last = page.locator(".exchange").last.locator(".answer > .text")
    return [one.text_content() for one in last.all()]


def told(url: str, path: str, **body: Any) -> Any:
    answer = httpx.post(url + path, json={"temperature": 0.7, "top_p": 0.95, **body}, timeout=60)
    return answer.json()["choices"][0]


def chat(url: str, model: str, *said: str, **more: Any) -> Any:
    roles = ("user", "assistant")
    turns = [{"role": roles[at % 2], "content": one} for at, one in enumerate(said)]
    extra = {"logprobs": True, "top_logprobs": 5, **more}
    return told(url, "/v1/chat/completions", model=model, messages=turns, **extra)


def percent(logprob: float) -> float:
    return 100 * math.exp(logprob)


def near(shown: str, logprob: float) -> bool:
    return abs(float(shown.removesuffix("%")) - percent(logprob)) <= 0.051


def test_a_conversation_reads_as_the_call_gives_it(
    page: Any, url: str, models: dict[str, str]
) -> None:
    model = models["random"]
    ask(page, "the quick fox", model, seed=5, max_tokens=16)
    first = chat(url, model, "the quick fox", seed=5, max_tokens=16)["message"]["content"]
    assert answered(page) == [first]
    assert "16 answer tokens" in page.locator(".figures").inner_text()
    ask(page, "and the dog", model)
    said = "the quick fox", first, "and the dog"
    second = chat(url, model, *said, seed=5, max_tokens=16)["message"]["content"]
    assert answered(page) == [second]
    assert second != first
    # The last is asked anew, and is no part of what the model reads then.
    page.fill("#seed", "6")
    page.get_by_role("button", name="Regenerate").click()
    again = chat(url, model, *said, seed=6, max_tokens=16)["message"]["content"]
    assert answered(page) == [again]
    assert again != second
    page.get_by_role("button", name="Edit").click()
    assert page.input_value("#question") == "and the dog"
    assert page.locator(".exchange").count() == 1
    page.get_by_role("button", name="Clear").click()
    assert page.locator(".exchange").count() == 0
    assert page.said == []


def test_what_else_was_likely_is_shown_to_pointer_and_keyboard(
    page: Any, url: str, models: dict[str, str]
) -> None:
    model = models["random"]
    ask(page, "the quick fox", model, seed=5, max_tokens=16)
    answered(page)
    tokens = chat(url, model, "the quick fox", seed=5, max_tokens=16)["logprobs"]["content"]
    cells = page.locator(".token")
    seen = []
    for cell in cells.all():
        cell.hover()
        for part in page.locator("#popover:visible .chart").all():
            bars = part.locator("li .percent").all_inner_texts()
            seen.append((part.locator(".chosen strong").inner_text(), bars))
    assert len(seen) == len(tokens) == 16
    for (chosen, bars), one in zip(seen, tokens, strict=True):
        assert near(chosen, one["logprob"])
        assert len(bars) == 5
        assert all(map(near, bars, [other["logprob"] for other in one["top_logprobs"]]))
    page.mouse.move(0, 0)
    page.wait_for_selector("#popover", state="hidden")
    cells.first.focus()
    page.keyboard.press("ArrowRight")
    assert cells.nth(1).evaluate("one => one === document.activeElement")
    assert cells.nth(1).get_attribute("aria-describedby") == "popover"
    page.wait_for_selector("#popover", state="visible")
    page.keyboard.press("Escape")
    page.wait_for_selector("#popover", state="hidden")


def test_html_is_text_and_a_character_of_several_tokens_shows_their_bytes(
    page: Any, models: dict[str, str]
) -> None:
    given = "<img src=x onerror=document.title='owned'>\n  two"
    ask(page, given, models["chain"], temperature=0)
    assert answered(page) == [SPEAKS]
    assert page.locator(".asked .text").text_content() == given
    assert page.locator("#log img, #log b").count() == 0
    assert page.title() == "Langwright"
    page.locator(".token", has_text="🙂").hover()
    codes = page.locator("#popover .chosen code").all_inner_texts()
    assert codes == ["bytes F0 9F 99", "bytes 82"]
    assert page.said == []


def test_stop_ends_the_answer_and_frees_the_server(
    page: Any, url: str, models: dict[str, str]
) -> None:
    whole = chat(url, models["random"], "the quick fox", temperature=0, max_tokens=400)
    assert whole["finish_reason"] == "length"  # of itself it does not end soon
    ask(page, "the quick fox", models["random"], max_tokens=4000, temperature=0)
    page.locator(".token").nth(3).wait_for()
    page.click("#stop")
    [text] = answered(page)
    assert text
    assert "stopped" in page.locator(".figures").inner_text()
    page.wait_for_function(
        """async () => (await (await fetch('metrics')).text()).split('\\n')
           .filter(one => one.startsWith('vllm:num_requests_running')).every(
             one => Number(one.split(' ').at(-1)) === 0)"""
    )
    assert httpx.get(f"{url}/health").status_code == 200
    assert page.said == []


def test_a_model_without_a_template_says_so_and_continues_raw_text(
    page: Any, url: str, models: dict[str, str]
) -> None:
    model = models["plain"]
    ask(page, "the quick", model, seed=3, max_tokens=20)
    assert answered(page) == [""]
    failed = httpx.post(
        f"{url}/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "the quick"}]},
    )
    assert failed.status_code == 400
    assert page.locator(".answer .fault").inner_text() == failed.json()["error"]["message"]
    page.fill("#question", "the quick")
    page.click("#raw")
    one = told(
        url, "/v1/completions", model=model, prompt="the quick", seed=3, max_tokens=20, logprobs=5
    )
    assert answered(page) == [one["text"]]
    assert page.locator(".prompt").inner_text() == "the quick"
    page.locator(".token").first.hover()
    chosen = page.locator("#popover .chosen strong").first.inner_text()
    assert near(chosen, one["logprobs"]["token_logprobs"][0])


@pytest.mark.slow
def test_two_models_answer_beside_each_other(page: Any, url: str, models: dict[str, str]) -> None:
    page.select_option("#second", models["random"])
    ask(page, "the quick fox", models["chain"], seed=5, max_tokens=16, temperature=0)
    first, second = answered(page)
    assert first == SPEAKS
    ask(page, "and then", models["chain"])
    # Each has read its own answers.
    said = "the quick fox", second, "and then"
    own = chat(url, models["random"], *said, seed=5, max_tokens=16, temperature=0)
    assert answered(page) == [SPEAKS, own["message"]["content"]]
    assert page.said == []
    left, right = (
        one.bounding_box() for one in page.locator(".exchange").last.locator(".answer").all()
    )
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]


@pytest.mark.slow
def test_on_a_narrow_screen_nothing_lies_outside(browser: Any, url: str, models: Any) -> None:
    with visiting(browser, url, viewport={"width": 360, "height": 640}) as page:
        page.locator("#model option").first.wait_for(state="attached")
        page.click("#toggle")
        page.fill("#max_tokens", "100")
        page.click("#toggle")
        ask(page, "the quick fox " * 9, models["random"])
        answered(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate("document.documentElement.scrollHeight") == 640
        box = page.locator("#send").bounding_box()
        assert box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 640
        assert page.said == []
        page.locator(".token").last.hover()
        over = page.locator("#popover").bounding_box()
        assert over["x"] >= 0
        assert over["x"] + over["width"] <= 360


@pytest.mark.slow
def test_a_server_with_keys_asks_for_one(
    browser: Any, models: dict[str, str], tmp_path: Path
) -> None:
    secret = Keys(tmp_path).add("reader", ["use"])
    with started(tmp_path, models["chain"]) as (url, _), visiting(browser, url) as page:
        page.fill("#key", secret)
        page.press("#key", "Enter")
        page.wait_for_selector("#key-form", state="hidden")
        ask(page, "hi", models["chain"], temperature=0)
        assert answered(page) == [SPEAKS]
        page.reload()
        page.locator("#model option").first.wait_for(state="attached")
        assert page.locator("#key-form").is_hidden()


def test_the_page_is_for_browsers_and_confined_to_its_server(url: str) -> None:
    browser = {"accept": "text/html,*/*;q=0.8"}
    for path in ("/", "/page/page.js", "/page/page.css"):
        answer = httpx.get(url + path, headers=browser)
        assert answer.status_code == 200
        rules = answer.headers["content-security-policy"]
        for rule in ("default-src 'none'", "script-src 'self'", "connect-src 'self'"):
            assert rule in rules
        assert "unsafe" not in rules
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert httpx.head(url + path, headers=browser).status_code == 200
    # Ollama's clients look for this.
    assert httpx.get(url).text == "Ollama is running"
    assert httpx.head(url).status_code == 200
    for path in ("/page/..%2fapp.py", "/page/", "/page/none.js"):
        assert httpx.get(url + path).status_code == 404
