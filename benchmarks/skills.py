"""GRPO, RLOO and PPO teach a small model a skill that a rule can check; over-optimisation stopped.

    OMP_NUM_THREADS=1 python benchmarks/skills.py --seeds 0 1 2 --out skills.jsonl

A decoder of 170,000 parameters is pretrained on digits, then fine-tuned on data that is mostly
wrong: of two-digit sums four in five are said backwards (46 as 64), of six digits to be sorted four
in five are sorted the other way round. From there each algorithm learns from the verdict (right or
wrong) on its own answers to other problems, and is measured on problems that neither has seen.
Beside it: fine-tuning goes on, on the right answers to the same problems, for as many tokens as
were drawn in learning; and the start model's best of 8.

At last, a reward that can be cheated: that the sum is somewhere in the answer, and half as much for
an answer of four characters. What is meant, the exact sum, has the weight 0; with `gold` the run
ends where it falls.

All goes through the verbs. Settings were chosen on seed 100. Every run is one thread.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from langwright.model import load_model
from langwright.store import Store
from langwright.training import grpo, ppo, pretrain, sft
from langwright.training.rollout import draw
from langwright.training.trained import TrainedDecoder
from langwright.training.transcripts import FILE as TRANSCRIPTS

Problem = dict[str, Any]

GROUP = 8
"""Answers to a prompt in a rollout, and the n of best-of-n."""
HELD_OUT, TAUGHT, PRACTISED = 200, 1500, 3000
"""Problems to measure on, to fine-tune on beforehand, and to learn on by rewards."""

RECIPE = """
[pretrain]
vocab_size = 272
validation_fraction = 0.05
hidden_size = 64
intermediate_size = 192
num_layers = 3
num_heads = 4
num_kv_heads = 2
context_length = 64
tokens_per_step = 1024
micro_batch_tokens = 1024
steps = 60
learning_rate = 4e-3
warmup_steps = 10
checkpoint_every = 1000
eval_every = 1000

[sft]
context_length = 64
tokens_per_step = 2048
micro_batch_tokens = 2048
learning_rate = 2e-3
weight_decay = 0.01
warmup_steps = 2
decay_fraction = 0.0
checkpoint_every = 10000
eval_every = 10000
guard = false
"""
REWARDED = """
[{verb}]
context_length = 64
micro_batch_tokens = 8192
max_tokens = 10
group_size = 8
prompts_per_rollout = 16
weight_decay = 0.0
warmup_steps = 2
decay_fraction = 0.2
checkpoint_every = 1000
eval_every = 1000
validation_fraction = 0.05
"""

RIGHT = {
    "name": "right",
    "rule": {"kind": "graded", "grader": {"kind": "exact"}, "right": "answer"},
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "grpo": {"algorithm": "grpo", "learning_rate": 3e-4, "steps": 60},
    "rloo": {"algorithm": "rloo", "learning_rate": 3e-4, "steps": 60},
    "ppo": {"learning_rate": 3e-4, "epochs": 1, "beta": 0.0, "value_weight": 0.5, "steps": 60},
}
SKILLS = ("addition", "sorting")
START, CHUNK = 0.15, 50
"""The start model is fine-tuned in so many steps, again and again, until so large a share of its
answers (at temperature 1, to 200 of the problems to practise on) is right."""
SHARES = {"right": 0.2, "wrong": 0.8}
"""Of the answers that the start model is taught."""


def problems(skill: str, seed: int) -> list[Problem]:
    """All there are of a skill, or 5,000, in a random order."""
    numbers = random.Random(seed)
    if skill == "sorting":
        every = sorted({"".join(numbers.choices("0123456789", k=6)) for _ in range(5000)})
        found = [problem(one, "".join(sorted(one))) for one in every]
    else:
        both = range(10, 100)
        found = [problem(f"{a}+{b}=", str(a + b)) for a in both for b in both]
    numbers.shuffle(found)
    return found


def problem(prompt: str, answer: str) -> Problem:
    return {"prompt": prompt, "answer": answer}


def conversation(one: Problem, kind: str = "right") -> dict[str, Any]:
    """With an answer that is right, backwards (`wrong`), or right with something behind it."""
    said = {"right": one["answer"], "wrong": one["answer"][::-1], "long": one["answer"] + "000"}
    return {
        "messages": [
            {"role": "user", "content": one["prompt"]},
            {"role": "assistant", "content": said[kind]},
        ]
    }


def write_lines(path: Path, rows: Iterable[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


class Bench:
    """One seed of one skill: its problems, its store and its start model."""

    def __init__(
        self, folder: Path, skill: str, seed: int, shares: dict[str, float] = SHARES
    ) -> None:
        self.skill, self.seed = skill, seed
        self.folder = folder / f"{skill}-{seed}"
        self.folder.mkdir(parents=True)
        self.store = Store(self.folder / "home")
        self.recipe = str(self.folder / "toy.toml")
        Path(self.recipe).write_text(
            RECIPE + REWARDED.format(verb="grpo") + REWARDED.format(verb="ppo")
        )
        every = problems(skill, seed)
        cuts = (HELD_OUT, HELD_OUT + TAUGHT, HELD_OUT + TAUGHT + PRACTISED)
        self.held_out, self.taught, self.practised = (
            every[low:high] for low, high in zip((0, *cuts), cuts, strict=False)
        )
        sides = [
            {one["prompt"] for one in part} for part in (self.held_out, self.taught, self.practised)
        ]
        assert sum(map(len, sides)) == len(set().union(*sides)), "a problem is on two sides"
        self.prompts = write_lines(self.folder / "prompts.jsonl", self.practised)
        numbers = random.Random(seed + 1)
        asked = [one["prompt"] for one in every]
        # The words of the template once in so many texts, for them to be tokens.
        text = (
            {"text": "user\nassistant\n" * 8 + " ".join(numbers.choices(asked, k=8))}
            for _ in range(300)
        )
        corpus = write_lines(self.folder / "corpus.jsonl", text)
        kinds = numbers.choices(list(shares), list(shares.values()), k=TAUGHT)
        said = map(conversation, self.taught, kinds)
        data = write_lines(self.folder / "taught.jsonl", said)
        pretrain(self.recipe, name="base", store=self.store, corpus=corpus, seed=seed)
        model, self.chunks = "base", 0
        while self.chunks == 0 or self.share(model, self.practised[:HELD_OUT]) < START:
            self.chunks += 1
            name = f"start-{self.chunks}"
            sft(self.recipe, name=name, store=self.store, model=model, data=data,
                seed=seed + self.chunks, steps=CHUNK)  # fmt: skip
            model = name
        self.start = model

    def share(self, model: str, asked: Sequence[Problem]) -> float:
        """Of one answer at temperature 1 to each."""
        return statistics.mean(self.shares(model, asked, 1, 1.0))

    def shares(
        self, model: str, problems: Sequence[Problem], group: int, temperature: float
    ) -> list[float]:
        """Of the answers to each problem, those that are right."""
        trained = TrainedDecoder(load_model(self.store.path(self.store.get(model))))
        trained.module.eval()
        asked = [[{"role": "user", "content": one["prompt"]}] for one in problems]
        drawn = draw(trained, asked, group, max_tokens=10, temperature=temperature,
                     seed=10_000 + self.seed, slots=64)  # fmt: skip
        return [
            sum(one.text.strip() == one_asked["answer"] for one in own) / group
            for own, one_asked in zip(drawn, problems, strict=True)
        ]

    def success(self, model: str, answers: int) -> tuple[float, float, float]:
        """On the held-out problems: the share right at temperature 0, at 1, and of those with one
        right answer among so many at 1."""
        sampled = self.shares(model, self.held_out, answers, 1.0)
        return (
            statistics.mean(self.shares(model, self.held_out, 1, 0.0)),
            statistics.mean(sampled),
            statistics.mean(share > 0 for share in sampled),
        )

    def learn(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        """A run of `ppo` or `grpo`; its result, seconds and curve."""
        verb: Callable[..., dict[str, Any]] = ppo if settings.get("algorithm") is None else grpo
        begun = time.perf_counter()
        done = verb(
            self.recipe, name=name, store=self.store, model=self.start, data=self.prompts,
            seed=self.seed, **{"rewards": [RIGHT]} | settings,
        )  # fmt: skip
        seconds = time.perf_counter() - begun
        lines = self.store.run(name).read_metrics()
        curve = [line for line in lines if "kl" in line]
        drawn = sum(1 for _ in (self.store.run(name).folder / TRANSCRIPTS).open())
        tokens = sum(line["answer_tokens"] for line in curve) / len(curve) * drawn
        return {
            "result": done, "seconds": seconds, "kl": curve[-1]["kl"], "tokens": round(tokens),
            "curve": [
                {key: round(value, 4) for key, value in line.items()
                 if key == "kl" or key.startswith("reward") or key == "value_explained"}
                for line in curve
            ],
            "evaluations": [
                {key: line[key] for key in line if key == "step" or key.startswith("val_reward")}
                for line in lines if "val_loss" in line
            ],
        }  # fmt: skip

    def go_on(self, tokens: int) -> dict[str, Any]:
        """Fine-tuning on the right answers to the problems that were practised on, for as many
        tokens learnt."""
        data = write_lines(self.folder / "right.jsonl", map(conversation, self.practised))
        before = self.store.run(self.start).state["result"]
        steps = max(1, round(tokens / (before["tokens"] / before["steps"])))
        begun = time.perf_counter()
        done = sft(self.recipe, name="sft", store=self.store, model=self.start, data=data,
                   seed=self.seed, steps=steps)  # fmt: skip
        return {"seconds": time.perf_counter() - begun, "tokens": done["tokens"], "steps": steps}


def taught(folder: Path, skill: str, seed: int, tell: Callable[[Any], None]) -> None:
    """Every algorithm on a skill."""
    begun = time.perf_counter()
    bench = Bench(folder, skill, seed)
    seconds = time.perf_counter() - begun
    row = {"skill": skill, "seed": seed}
    greedy, sampled, best = bench.success(bench.start, GROUP)
    fits = 0.05 <= sampled <= 0.5
    tell(
        {
            **row,
            "what": "start",
            "greedy": greedy,
            "sampled": sampled,
            "best_of": best,
            "seconds": seconds,
            "sft_steps": bench.chunks * CHUNK,
            "fits": fits,
        }
    )
    tokens = 0
    for name, settings in ALGORITHMS.items():
        found = bench.learn(name, settings)
        tokens = max(tokens, found["tokens"])
        greedy, sampled, _ = bench.success(name, 2)
        tell({**row, "what": name, "greedy": greedy, "sampled": sampled}
             | {key: found[key] for key in ("seconds", "kl", "tokens", "curve")})  # fmt: skip
    found = bench.go_on(tokens)
    greedy, sampled, _ = bench.success("sft", 2)
    tell({**row, "what": "sft", "greedy": greedy, "sampled": sampled, **found})


CHEATED = [
    {"name": name, "weight": weight}
    | {"rule": {"kind": "graded", "grader": {"kind": "regex", "pattern": pattern}}}
    for name, weight, pattern in (("within", 1.0, "{{ answer }}"), ("long", 0.5, ".{4}"))
]  # fmt: skip
WATCHED: dict[str, Any] = {
    "rewards": [*CHEATED, RIGHT | {"weight": 0.0}], "algorithm": "grpo", "learning_rate": 3e-4,
    "steps": 60, "eval_every": 4,
}  # fmt: skip
LONG = {"right": 0.2, "wrong": 0.75, "long": 0.05}
"""A few of the answers that the start model is taught have "000" behind the sum: the way to cheat
that it finds."""


def cheated(folder: Path, seed: int, tell: Callable[[Any], None]) -> None:
    """A run that may cheat to its end, and one that is stopped."""
    bench = Bench(folder / "cheated", "addition", seed, LONG)
    row = {"skill": "cheated", "seed": seed}
    greedy, sampled, _ = bench.success(bench.start, 2)
    tell({**row, "what": "start", "greedy": greedy, "sampled": sampled})
    for name, gold in (("without gold", None), ("with gold", "right")):
        found = bench.learn(name.replace(" ", "-"), WATCHED | {"gold": gold})
        greedy, sampled, _ = bench.success(name.replace(" ", "-"), 2)
        ended = {
            "steps": found["result"]["steps"],
            "best_step": found["result"]["metrics"].get("best_step"),
        }
        tell({**row, "what": name, "greedy": greedy, "sampled": sampled, **ended}
             | {key: found[key] for key in ("seconds", "kl", "curve", "evaluations")})  # fmt: skip


def mean_and_range(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f} [{min(values):.2f} to {max(values):.2f}]"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over the seeds, with the lowest and the highest."""
    lines = [
        "| skill | model | greedy | sampled | KL, nats an answer | tokens | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for skill, what in dict.fromkeys((row["skill"], row["what"]) for row in rows):
        own = [row for row in rows if (row["skill"], row["what"]) == (skill, what)]
        cells = [mean_and_range([row[key] for row in own]) for key in ("greedy", "sampled")]
        cells.append(mean_and_range([row["kl"] for row in own]) if "kl" in own[0] else "")
        for key in ("tokens", "seconds"):
            known = [row[key] for row in own if key in row]
            cells.append(f"{statistics.mean(known):,.0f}" if known else "")
        lines.append(f"| {skill} | {what} | " + " | ".join(cells) + " |")
        if "best_of" in own[0]:
            best = mean_and_range([row["best_of"] for row in own])
            lines.append(f"| {skill} | best of {GROUP} of the start | | {best} | | | |")
    return "\n".join(lines)


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Reward and KL along the rollouts, a line for each run."""
    from plotly.subplots import make_subplots

    skills = list(dict.fromkeys(row["skill"] for row in rows))
    figure = make_subplots(2, len(skills), column_titles=skills, row_titles=["reward", "KL, nats"])
    names = list(dict.fromkeys(row["what"] for row in rows if "curve" in row))
    colours = ["#1b6ca8", "#d1495b", "#2e933c", "#8d6a9f", "#e1a730"]
    for row in rows:
        for place, key in enumerate(("reward", "kl"), start=1):
            if "curve" in row:
                figure.add_scatter(
                    y=[line[key] for line in row["curve"]], mode="lines",
                    name=f"{row['what']}, seed {row['seed']}", showlegend=place == 1,
                    line_color=colours[names.index(row["what"])],
                    row=place, col=skills.index(row["skill"]) + 1,
                )  # fmt: skip
    figure.write_html(path, include_plotlyjs=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--skills", nargs="*", default=[*SKILLS, "cheated"])
    parser.add_argument("--out", type=Path, default=Path("skills.jsonl"))
    parser.add_argument("--show", action="store_true", help="only tell of what --out has")
    asked = parser.parse_args()
    torch.set_num_threads(1)

    def tell(row: dict[str, Any]) -> None:
        print({key: row[key] for key in row if key not in ("curve", "evaluations")}, flush=True)
        with asked.out.open("a") as file:
            file.write(json.dumps(row) + "\n")

    for seed in () if asked.show else asked.seeds:
        for skill in asked.skills:
            with tempfile.TemporaryDirectory() as folder:
                if skill == "cheated":
                    cheated(Path(folder), seed, tell)
                else:
                    taught(Path(folder), skill, seed, tell)
    rows = [json.loads(line) for line in asked.out.read_text().splitlines()]
    print(table(rows))
    plot(rows, asked.out.with_suffix(".html"))


if __name__ == "__main__":
    main()
