"""The runs behind the law of `langwright plan`, and its fit.

    OMP_NUM_THREADS=1 python benchmarks/laws.py run HOME CORPUS WIDTH TOKENS [--seed S]
    python benchmarks/laws.py fit HOME

`run` trains the plan's size of that width on so many tokens, with the settings that a plan would
give, and keeps it in HOME; `fit` reads all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import langwright as lw
from langwright.lifecycle.ladder import ladder, pace
from langwright.lifecycle.law import Law
from langwright.store import Store


def run(given: argparse.Namespace) -> None:
    rung = next(one for one in ladder(4096, 256) if one.hidden_size == given.width)
    settings = rung.settings() | pace(rung.shape, given.tokens)
    if given.batch:
        settings["tokens_per_step"] = given.batch
        settings["steps"] = round(given.tokens / given.batch)
    settings |= {"eval_every": settings["steps"], "corpus": given.corpus, "seed": given.seed}
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as recipe:
        recipe.write("[pretrain]\n")
        recipe.flush()
        name = f"w{given.width}-t{given.tokens}-s{given.seed}-b{given.batch}"
        store = Store(Path(given.home))
        result = lw.pretrain(recipe.name, name=name, store=store, **settings)
    told = {"width": given.width, "matrices": rung.shape.matrices, "tokens": result["tokens"]}
    told |= {"steps": result["steps"], **result["metrics"]}
    with (Path(given.home) / "laws.jsonl").open("a") as file:
        file.write(json.dumps(told) + "\n")
    print(json.dumps(told))


def fit(given: argparse.Namespace) -> None:
    """E and alpha are Besiroglu et al.'s (2024), which small runs do not tell; A, B, beta and D0
    those with the least squares of the logarithms."""
    from scipy.optimize import minimize

    rows = [json.loads(line) for line in (Path(given.home) / "laws.jsonl").read_text().splitlines()]
    unique = statistics.median(row["tokens"] / row["epochs"] for row in rows)
    alpha, floor = 0.3478, 1.8172 / math.log(2) / 4.3

    def law(values: Sequence[float]) -> Law:
        a, b, start = (math.exp(one) for one in values[:3])
        return Law(floor, a, alpha, b, float(values[3]), start)

    def expected(values: Sequence[float], row: dict[str, float]) -> float:
        return law(values).bits(row["matrices"], row["tokens"], unique)

    def missed(values: Sequence[float]) -> float:
        found = (math.log(expected(values, row) / row["val_bits_per_byte"]) for row in rows)
        return sum(one**2 for one in found)

    starts = [[2.0, 3.0, 10.0, 0.2], [2.0, 6.0, 12.0, 0.4], [2.0, 8.0, 13.0, 0.6]]
    options = {"maxiter": 10_000, "maxfev": 10_000, "xatol": 1e-7, "fatol": 1e-12}
    fits = [minimize(missed, start, method="Nelder-Mead", options=options) for start in starts]
    best = min(fits, key=lambda one: one.fun).x
    print(f"{law(best)}; {unique:,.0f} tokens an epoch")
    print("| width | N | tokens | steps | bits per byte | the law |\n|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["width"], row["tokens"])):
        value, ours = row["val_bits_per_byte"], expected(best, row)
        print(
            f"| {row['width']} | {row['matrices']:,} | {row['tokens']:,} | {row['steps']} "
            f"| {value:.4f} | {ours:.4f} ({ours / value - 1:+.1%}) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("run")
    one.add_argument("home")
    one.add_argument("corpus")
    one.add_argument("width", type=int)
    one.add_argument("tokens", type=int)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--batch", type=int, default=0, help="tokens of a step; 0: the plan's")
    one.set_defaults(do=run)
    all_ = verbs.add_parser("fit")
    all_.add_argument("home")
    all_.set_defaults(do=fit)
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    sys.exit(main())
