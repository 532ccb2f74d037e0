"""The runs behind the law of `langwright plan`, and its fit.

    OMP_NUM_THREADS=1 python benchmarks/laws.py run HOME CORPUS WIDTH TOKENS [--seed S]
    python benchmarks/laws.py fit HOME

`run` trains the plan's size of that width on so many tokens, with the settings that a plan would
give, and keeps it in HOME; `fit` reads all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import langwright as lw
from langwright.lifecycle.ladder import ladder, pace
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
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    sys.exit(main())
