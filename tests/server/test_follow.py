"""A run that is served while it trains: every answer is of one checkpoint alone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from tests.server.conftest import serving
from tests.server.test_server import until

from langwright.backend import Request, Sampling
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.model.folder import save_folder
from langwright.store import Store

SWAPS = 6


def test_checkpoints_take_over_between_answers(
    make_model: Callable[..., ModelBundle], tmp_path: Path
) -> None:
    rows = make_model().tokenizer.vocab_size
    run = Store(tmp_path / "home").run("growing").open({})
    messages = [{"role": "user", "content": "the quick fox"}]
    expected = {}
    for step in range(1, SWAPS + 1):
        bundle = make_model(step, context_length=256, vocab_size=rows)
        folder = tmp_path / f"step-{step:08}" / "model"
        folder.mkdir(parents=True)
        save_folder(folder, bundle)
        request = Request(messages=messages, max_tokens=60, sampling=Sampling(temperature=0))
        events = Engine(bundle).generate([request])
        expected[f"growing@{step}"] = "".join(event.text for event in events)
    assert len(set(expected.values())) == SWAPS

    def publish(step: int) -> None:
        (tmp_path / f"step-{step:08}").rename(run.checkpoints / f"step-{step:08}")

    publish(1)
    answers: list[tuple[int, str, str]] = []
    over = threading.Event()
    home = tmp_path / "home"
    with serving(bundle, Path("growing"), "--follow", home=home) as server:

        def ask() -> None:
            while not over.is_set():
                answer = server.chat(max_tokens=60)
                told = answer.json()
                text = told["choices"][0]["message"]["content"]
                answers.append((answer.status_code, told["model"], text))

        callers = [threading.Thread(target=ask) for _ in range(3)]
        for one in callers:
            one.start()
        for step in range(2, SWAPS + 1):
            publish(step)
            name = f"growing@{step}"
            until(lambda name=name: any(one[1] == name for one in answers), f"{name} never came")
            if step == 4:  # as retention does
                shutil.rmtree(run.checkpoints / "step-00000001")
        over.set()
        for one in callers:
            one.join()
        beside = server.chat(model="growing@3", max_tokens=60).json()
    assert {status for status, _, _ in answers} == {200}
    assert all(text == expected[model] for _, model, text in answers)
    assert beside["model"] == "growing@3"
    assert beside["choices"][0]["message"]["content"] == expected["growing@3"]
