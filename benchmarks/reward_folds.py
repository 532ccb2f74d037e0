"""A reward model beside TF-IDF and beside length, on the same five folds of 1,156 human choices.

    LANGWRIGHT_TEST_DATA=DIR python benchmarks/reward_folds.py --only tfidf --only shorter
    LANGWRIGHT_TEST_DATA=DIR python benchmarks/reward_folds.py --model smollm2-135m-instruct \
        --context 512 --steps 60 [--out FOLDER] [learning_rate=2e-5 …]

The pairs are those of hh_rlhf/harmless_a.jsonl (Bai et al. 2022), empty answers kept. A pair's fold
is the hash of its prompt: equal prompts are on one side. Each contender says of each pair, when its
fold is held out, by how much it takes the better answer for better:

- `ours`: the verb `reward` on the other folds; the model's scores of the two answers, in logits.
- `head`: the same with `head_only`: the model as it is reads each answer once, for all folds, and
  only the head is learnt.
- `tfidf`: a Bradley-Terry model on words and pairs of words of the answers (TF-IDF, sublinear):
  logistic regression without an intercept on the differences, each pair both ways; C by inner
  folds.
- `shorter`: the number of characters that the better answer is shorter.

A tie is half right. What `ours` says of a fold is kept in `--out`, which a later call goes on from;
each fold's model is removed once it has spoken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from langwright.evaluation.calibration import calibration_error
from langwright.evaluation.interval import bootstrap_ratio
from langwright.evaluation.paired import compare, mcnemar
from langwright.training.comparisons import Comparison
from langwright.training.preference_import import read_preferences

FOLDS, INNER = 5, 4
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

Rows: TypeAlias = Sequence[Comparison]
Contender: TypeAlias = Callable[[Rows, Rows, int], list[float]]
"""Takes the pairs to learn from, those held out, and which fold that is; for each of the latter, by
how much the better answer is ahead."""


def fold_of(one: Comparison, folds: int, salt: str = "") -> int:
    key = salt + json.dumps([dict(message) for message in one.messages], sort_keys=True)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % folds


def answers(rows: Rows) -> list[tuple[str, str]]:
    """(better, worse) of each."""
    return [pair for one in rows for pair in one.pairs()]


def shorter(_: Rows, test: Rows, fold: int) -> list[float]:
    return [float(len(worse) - len(better)) for better, worse in answers(test)]


def tfidf(train: Rows, test: Rows, fold: int) -> list[float]:
    inner = [fold_of(one, INNER, "inner") for one in train]

    def right(strength: float) -> float:
        count = 0.0
        for held in range(INNER):
            learnt = [one for one, part in zip(train, inner, strict=True) if part != held]
            asked = [one for one, part in zip(train, inner, strict=True) if part == held]
            count += sum(verdicts(_bradley_terry(learnt, asked, strength)))
        return count

    best = max(STRENGTHS, key=right)
    print(f"tfidf, fold {fold + 1}: C {best:g}", flush=True)
    return _bradley_terry(train, test, best)


def _bradley_terry(train: Rows, test: Rows, strength: float) -> list[float]:
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    learnt, asked = answers(train), answers(test)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    words.fit([text for pair in learnt for text in pair])

    def apart(pairs: list[tuple[str, str]]) -> Any:
        better, worse = zip(*pairs, strict=True)
        return words.transform(better) - words.transform(worse)

    differences = apart(learnt)
    model = LogisticRegression(C=strength, fit_intercept=False, max_iter=1000)
    half = differences.shape[0]
    model.fit(vstack([differences, -differences]), [1] * half + [0] * half)
    said: list[float] = model.decision_function(apart(asked)).tolist()
    return said


def _scored(held: Any, asked: Sequence[Any]) -> list[float]:
    """Scores come in deviations of answers; sigmoid wants logits."""
    from langwright.training.learned_reward import Learned

    return [score * held.scale.deviation for score in Learned(held).each(asked)]


def reward_model(
    given: argparse.Namespace,
    others: dict[str, Any] | None = None,
    scored: Callable[[Any, Any], list[float]] = _scored,
) -> Contender:
    """`ours` with the settings of the command line."""
    settings = {"model": given.model, "context_length": given.context, "steps": given.steps}
    settings |= others or {}
    keys = dict(one.split("=", 1) for one in given.settings)

    def ours(train_rows: Rows, test_rows: Rows, fold: int) -> list[float]:
        import langwright as lw
        from langwright.evaluation.rewards import Asked
        from langwright.model.reward import load_reward
        from langwright.store import Store
        from langwright.training.preference_import import open_comparisons

        store, name = Store(), f"reward-fold-{fold + 1}"
        with tempfile.TemporaryDirectory() as folder:
            data, recipe = Path(folder) / f"{name}-pairs.jsonl", Path(folder) / f"{name}.toml"
            lines = [json.dumps(one.to_json(), ensure_ascii=False) for one in train_rows]
            data.write_text("\n".join(lines) + "\n", encoding="utf-8")
            table = _table(settings, keys)
            recipe.write_text(f"[reward]\n{table}", encoding="utf-8")
            # By its name: a run that goes on must find the settings that it was begun with.
            held_data = open_comparisons(str(data), store)
            begun = time.perf_counter()
            result = lw.reward(str(recipe), name=name, store=store, data=held_data.name)
            print(f"{name}: {time.perf_counter() - begun:.0f} s, {result['metrics']}", flush=True)
        held = load_reward(store.path(store.get(name)))
        asked = [
            Asked(one.messages, answer, {})
            for one in test_rows
            for pair in one.pairs()
            for answer in pair
        ]
        scores = scored(held, asked)
        store.remove(name)
        return [a - b for a, b in zip(scores[::2], scores[1::2], strict=True)]

    return ours


def reward_head(given: argparse.Namespace, rows: Rows) -> Contender:
    """`head`: the verb's own stage over features that are read once for all folds."""
    import torch

    from langwright.evaluation.rewards import Asked
    from langwright.model import load_model
    from langwright.model.reward import RewardBundle
    from langwright.store import Store
    from langwright.training.answers import AnswerBatch, encode_answer, gather_answers
    from langwright.training.stages.reward import Reward

    found: dict[bytes, torch.Tensor] = {}
    store = Store()
    bundle = load_model(store.path(store.get(given.model)))
    model = RewardBundle.on(bundle, 0, head_only=True).module.eval()

    def keys(asked: Sequence[Asked]) -> list[bytes]:
        ids = (encode_answer(bundle.template, one.messages, one.answer).ids for one in asked)
        return [one.astype(np.int64).tobytes() for one in ids]

    asked = [Asked(one.messages, text, {}) for one in rows for text in one.answers]
    encoded = [encode_answer(bundle.template, one.messages, one.answer) for one in asked]
    begun, done = time.perf_counter(), 0
    with torch.no_grad():
        numbers = list(range(len(encoded)))
        for chosen, part in gather_answers([[row] for row in encoded], numbers, 4096):
            batch = AnswerBatch.of(part, len(chosen), chosen)
            for row, feature in zip(part, model.features(batch.ids_BT, batch.last_B), strict=True):
                found[row.ids.astype(np.int64).tobytes()] = feature
            done += len(chosen)
            print(f"features: {done} in {time.perf_counter() - begun:.0f} s", flush=True)

    def read(stage: Reward, module: object) -> None:
        stage._features = [
            torch.stack([found[row.ids.astype(np.int64).tobytes()] for row in one.rows])
            for one in stage._all
        ]

    Reward.read = read  # type: ignore[method-assign]
    ours = reward_model(given, {"head_only": True}, lambda held, these: [
        float(held.module.of_features(found[key][None])) for key in keys(these)
    ])  # fmt: skip
    return ours


def _table(settings: dict[str, Any], keys: dict[str, str]) -> str:
    """The built-in recipe's own keys, changed."""
    from langwright.training.recipe import read_recipe

    defaults = read_recipe("smollm2", "reward", {})
    defaults |= {"validation_fraction": 0.02, "keep_checkpoints": 1}
    defaults |= {"eval_every": 10**6, "checkpoint_every": 20}
    # Written as TOML's own values are in JSON, which all of these are.
    written = {key: json.dumps(value) for key, value in (defaults | settings).items()} | keys
    return "".join(f"{key} = {value}\n" for key, value in written.items())


def kept(ours: Contender, out: Path, key: str) -> Contender:
    """What was said of a fold already is not asked again."""

    def asked(train: Rows, test: Rows, fold: int) -> list[float]:
        path = out / f"fold-{fold + 1}.json"
        if path.exists():
            held = json.loads(path.read_text(encoding="utf-8"))
            if held["key"] != key:
                raise SystemExit(f"{path} is of other settings: {held['key']}")
            found: list[float] = held["ahead"]
            return found
        ahead = ours(train, test, fold)
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"key": key, "ahead": ahead}), encoding="utf-8")
        return ahead

    return asked


def verdicts(ahead: Sequence[float]) -> list[float]:
    return [1.0 if one > 0 else 0.5 if one == 0 else 0.0 for one in ahead]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], choices=["ours", "head", "tfidf", "shorter"]
    )
    parser.add_argument("--pairs", type=int, help="so many of the pairs: a trial")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="in the store")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("reward-folds"))
    parser.add_argument("settings", nargs="*", help="keys of the recipe, key=TOML value")
    given = parser.parse_args()
    file = Path(os.environ["LANGWRIGHT_TEST_DATA"]) / "hh_rlhf" / "harmless_a.jsonl"
    read = read_preferences(file, keep_empty=True)
    read.report()
    rows = read.comparisons[: given.pairs]
    folds = [fold_of(one, FOLDS) for one in rows]
    prompts = {json.dumps([dict(message) for message in one.messages]) for one in rows}
    print(f"{len(rows)} pairs, {len(prompts)} prompts; folds of {np.bincount(folds).tolist()}")
    key = json.dumps([given.model, given.context, given.steps, sorted(given.settings), len(rows)])
    known: dict[str, Contender] = {
        "ours": kept(reward_model(given), given.out, key),
        "tfidf": tfidf,
        "shorter": shorter,
    }
    if "head" in given.only:
        known["head"] = reward_head(given, rows)
    said: dict[str, list[float]] = {}
    for name in given.only or ("ours", "tfidf", "shorter"):
        ahead = [0.0] * len(rows)
        for fold in range(FOLDS):
            train = [one for one, part in zip(rows, folds, strict=True) if part != fold]
            places = [place for place, part in enumerate(folds) if part == fold]
            found = known[name](train, [rows[place] for place in places], fold)
            for place, value in zip(places, found, strict=True):
                ahead[place] = value
            if name in ("ours", "head"):
                print(f"{name}, fold {fold + 1}: {np.mean(verdicts(found)):.3f}", flush=True)
        said[name] = ahead
    tell(said, folds)


def tell(said: dict[str, list[float]], folds: list[int]) -> None:
    ones = [1.0] * len(folds)
    right = {name: verdicts(ahead) for name, ahead in said.items()}
    each = " | ".join(f"fold {fold + 1}" for fold in range(FOLDS))
    print(f"\n| what | right [95%] | {each} | calibration error |")
    print("|---|---|" + "---|" * FOLDS + "---|")
    for name, ahead in said.items():
        whole = bootstrap_ratio(right[name], ones, seed=0, resamples=5000)
        parts = [
            np.mean([one for one, part in zip(right[name], folds, strict=True) if part == fold])
            for fold in range(FOLDS)
        ]
        shown = " | ".join(f"{part:.1%}" for part in parts)
        sure = "" if name == "shorter" else f"{_calibration(ahead):.3f}"
        print(
            f"| {name} | {whole.value:.1%} [{whole.low:.1%}, {whole.high:.1%}] | {shown} | {sure} |"
        )
    names = list(said)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            a, b = right[first], right[second]
            found = compare([(v, 1.0) for v in a], [(v, 1.0) for v in b], seed=0)
            only_first = sum(x > y for x, y in zip(a, b, strict=True))
            only_second = sum(x < y for x, y in zip(a, b, strict=True))
            print(
                f"{first} - {second}: {found.difference:+.1%} [{found.low:+.1%}, {found.high:+.1%}]"
                f"; right alone {only_first} and {only_second}, McNemar p "
                f"{mcnemar(only_first, only_second):.2g}"
            )


def _calibration(ahead: Sequence[float]) -> float:
    """Of what is said of the answer that is taken for the better one."""
    sure = 1 / (1 + np.exp(-np.abs(np.array(ahead))))
    return calibration_error(sure.tolist(), verdicts(ahead))


if __name__ == "__main__":
    main()
