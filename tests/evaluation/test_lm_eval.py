"""lm-eval as the oracle: the same prompts, and with SmolLM2 the same items right and wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from langwright.evaluation import Task, evaluate, read_task
from langwright.evaluation.item import make_items
from langwright.evaluation.rows import Rows
from langwright.model import ModelBundle

Write = Callable[..., str]

# Rows in the layouts of the published data sets, with all that their templates look at.
PUBLISHED: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "arc_easy": (
        "arc/arc_easy.yaml",
        [
            {
                "question": "Which of these is a gas?",
                "choices": {"text": ["ice", "steam", "water"], "label": ["A", "B", "C"]},
                "answerKey": "B",
            },
            {
                "question": "How many legs has a spider?",
                "choices": {"text": ["eight", "six"], "label": ["1", "2"]},
                "answerKey": "1",
            },
        ],
    ),
    "piqa": (
        "piqa/piqa.yaml",
        [
            {"goal": "open a jar", "sol1": "Turn the lid.", "sol2": "Turn the jar.", "label": 0},
            {"goal": "Boil eggs ", "sol1": "Use ice", "sol2": "use water", "label": 1},
        ],
    ),
    "copa": (
        "super_glue/copa/default.yaml",
        [
            {
                "premise": "The man broke his toe. ",
                "choice1": "He got a hole in his sock.",
                "choice2": "He dropped a hammer on his foot.",
                "question": "cause",
                "label": 1,
            },
            {
                "premise": "It began to rain.",
                "choice1": "I opened my umbrella.",
                "choice2": "I closed it.",
                "question": "effect",
                "label": 0,
            },
        ],
    ),
    "lambada_openai": (
        "lambada/lambada_openai.yaml",
        [{"text": "She called the dog \n\nand then  the cat"}, {"text": 'one two, "three" four'}],
    ),
    "hellaswag": (
        "hellaswag/hellaswag.yaml",
        [
            {
                "activity_label": "Home and Garden",
                "ctx_a": "[header] How to dig [title] Find a spade. [step] It is in the  shed.",
                "ctx_b": "then dig THERE",
                "endings": ["[substeps] Dig  deep.", "Stop. [title] Rest.", "a [x] b", " no "],
                "label": "2",
            },
            {
                "activity_label": "Baking",
                "ctx_a": "A woman bakes.",
                "ctx_b": "",
                "endings": ["she eats.", "she sleeps."],
                "label": "0",
            },
        ],
    ),
}


@pytest.fixture
def lm_eval(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    found = pytest.importorskip("lm_eval")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return found


def load(config: dict[str, Any], path: str) -> Any:
    """lm-eval's task over the rows of a file."""
    from lm_eval.api.task import ConfigurableTask

    given = {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": path}},
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
    }
    return ConfigurableTask(config={**config, **given})


def asked(task: Task, rows: list[dict[str, Any]], seed: int = 0) -> list[list[tuple[str, str]]]:
    """The (context, continuation) pairs of our items."""
    items = make_items(task, Rows(Path("rows"), rows, ""), None, seed)
    return [
        [(item.context(task), task.delimiter + one) for one in item.choices or item.answers]
        for item in items
    ]


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("num_fewshot", [0, 1])
def test_prompts_are_those_of_lm_eval(
    lm_eval: Any, write: Write, name: str, num_fewshot: int
) -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    where, rows = PUBLISHED[name]
    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / where)
    shots = {"num_fewshot": num_fewshot, "fewshot_split": "test"}
    theirs = load({**config, **shots}, write("rows.jsonl", rows))
    theirs.set_fewshot_seed(0)
    theirs.build_all_requests(rank=0, world_size=1)
    expected: list[list[tuple[str, str]]] = [[] for _ in rows]
    for instance in theirs.instances:
        expected[instance.doc_id].append(tuple(instance.args))
    task, _ = read_task(name)
    # Of two rows the one that is not asked is the only example there is.
    ours = asked(task.changed(num_fewshot=num_fewshot), rows)
    assert ours == expected
    gold = [item.gold for item in make_items(task, Rows(Path("rows"), rows, ""), None, 0)]
    if task.kind == "multiple_choice":
        docs = list(theirs.test_docs())
        told = [theirs.doc_to_target(doc) for doc in docs]
        if name == "copa":  # tells the text
            told = [
                theirs.doc_to_choice(doc).index(one) for doc, one in zip(docs, told, strict=True)
            ]
        assert gold == [int(one) for one in told]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["copa", "arc_easy", "piqa", "lambada_openai", "hellaswag"])
def test_the_same_items_are_right_and_wrong(
    lm_eval: Any, data: Path, write: Write, smollm2: ModelBundle, tmp_path: Path, name: str
) -> None:
    """A few here; benchmarks/evaluation.py takes 300 of each."""
    import json

    from lm_eval.evaluator import evaluate as lm_evaluate
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from langwright.inference import Engine
    from langwright.model import save_folder
    from langwright.providers import Model

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    save_folder(tmp_path / "hf", smollm2)
    peer = HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype="float32"),
        tokenizer=AutoTokenizer.from_pretrained(tmp_path / "hf"),
        batch_size=8,
        device="cpu",
    )
    task, _ = read_task(name)
    lines = (data / task.data).read_text().splitlines()[:25]
    path = write("rows.jsonl", "\n".join(lines) + "\n")
    choice = task.kind == "multiple_choice"
    config = {
        "task": name,
        "output_type": "multiple_choice" if choice else "loglikelihood",
        "doc_to_text": {
            "arc_easy": "{{query}}\nAnswer:",
            "piqa": "{{query}}Answer:",
            "lambada_openai": "{{context}}",
        }.get(name, "{{query}}"),
        "doc_to_target": "gold" if choice else "{{continuation}}",
        "metric_list": [{"metric": one} for one in (["acc", "acc_norm"] if choice else ["acc"])],
    }
    if choice:
        config["doc_to_choice"] = "{{choices}}"
    loaded = load(config, path)
    found = lm_evaluate(
        peer, {"tasks": {name: loaded}, "groups": {}, "group_map": {}}, bootstrap_iters=0
    )
    theirs = sorted(found["samples"][name], key=lambda one: one["doc_id"])
    log = tmp_path / "log.jsonl"
    evaluate(Model(Engine(smollm2)), name, data=path, log_samples=str(log))
    ours = [json.loads(line) for line in log.read_text().splitlines()]
    for metric in config["metric_list"]:
        key = metric["metric"]
        assert [one["metrics"][key] for one in ours] == [float(one[key]) for one in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        logprobs = [one[0] for one in other["filtered_resps"]]
        assert mine["logprobs"] == pytest.approx(logprobs, abs=2e-3)
