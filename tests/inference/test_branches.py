from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from langwright.errors import BadInput
from langwright.inference import Engine, branches
from langwright.inference.branches import likelihoods
from langwright.model import ModelBundle

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]


def by_hand(bundle: ModelBundle, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """Each pair in a pass of its own."""
    ids = torch.tensor([context + continuation])
    logits = bundle.module(ids[:, :-1])[0, len(context) - 1 :, : bundle.tokenizer.vocab_size]
    target = torch.tensor(continuation)
    values = logits.log_softmax(-1).gather(-1, target[:, None])[:, 0]
    return float(values.double().sum()), bool((logits.argmax(-1) == target).all())


@pytest.mark.parametrize("tokens_per_pass", [4, 40, 4096])
def test_branches_of_a_context_score_as_each_alone(
    make_model: Make, monkeypatch: pytest.MonkeyPatch, tokens_per_pass: int
) -> None:
    monkeypatch.setattr(branches, "TOKENS_PER_PASS", tokens_per_pass)
    bundle = make_model(3)
    generator = torch.Generator().manual_seed(0)

    def some(count: int) -> list[int]:
        return torch.randint(0, 300, (count,), generator=generator).tolist()

    contexts = [some(length) for length in (1, 5, 17)]
    pairs = [(one, some(n)) for one, n in itertools.product(contexts, (1, 2, 9))]
    pairs = [*pairs[::2], *pairs[1::2]]
    # A greedy one, so that both verdicts come.
    best = int(bundle.module(torch.tensor([contexts[1]]))[0, -1, :307].argmax())
    pairs.append((contexts[1], [best]))
    found = likelihoods(bundle.module, pairs, bundle.tokenizer.vocab_size)
    for pair, (logprob, greedy) in zip(pairs, found, strict=True):
        expected = by_hand(bundle, *pair)
        assert logprob == pytest.approx(expected[0], abs=2e-5)
        assert greedy == expected[1]
    assert {greedy for _, greedy in found} == {True, False}


def test_a_window_hides_the_same_keys_in_branches(make_model: Make) -> None:
    bundle = make_model(3, sliding_window=4, sliding_layers=(0,))
    assert bundle.module.shape.window(0) is not None
    pairs = [([1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 11, 12, 13, 14, 15]), ([1, 2, 3], [7] * 12)]
    found = likelihoods(bundle.module, pairs, bundle.tokenizer.vocab_size)
    for pair, (logprob, _) in zip(pairs, found, strict=True):
        assert logprob == pytest.approx(by_hand(bundle, *pair)[0], abs=2e-5)


def test_blanks_at_the_end_of_a_context_belong_to_the_continuation(make_model: Make) -> None:
    model = Engine(make_model(4))
    apart, joined = model.likelihoods([("the lazy ", "dog"), ("the lazy", " dog")])
    assert apart.logprob == joined.logprob
    assert apart.tokens == joined.tokens
    assert (apart.bytes, joined.bytes) == (3, 4)


@pytest.mark.parametrize("start_id", [None, 305])
def test_an_empty_context_is_the_start_or_the_end_token(
    make_model: Make, start_id: int | None
) -> None:
    bundle = make_model(4, start_id=start_id)
    ids = bundle.tokenizer.encode("the fox")
    first = min(bundle.end_ids) if start_id is None else start_id
    (found,) = Engine(bundle).likelihoods([("", "the fox")])
    assert found.logprob == pytest.approx(by_hand(bundle, [first], ids)[0], abs=2e-5)


def test_what_does_not_fit_or_is_nothing_is_refused(make_model: Make) -> None:
    model = Engine(make_model())
    with pytest.raises(BadInput, match="window is 64"):
        model.likelihoods([("a", "b"), ("1 " * 40, "x")])
    with pytest.raises(BadInput, match="no tokens"):
        model.likelihoods([("a", "")])


def test_a_tree_holds_what_sequences_share_once() -> None:
    tree = branches.Tree()
    sequences = [[1, 2], [1, 2], [1, 2, 3], [1, 2, 4, 5], [6]]
    paths = [tree.add(one) for one in sequences]
    assert tree.tokens == [1, 2, 3, 4, 5, 6]
    assert [[tree.tokens[place] for place in path] for path in paths] == sequences
    assert [tree.depths[place] for place in paths[3]] == [0, 1, 2, 3]
    seen = branches.Branches([[tree]], 7).mask(None)[0, 0]
    for path in paths:
        for at, place in enumerate(path):
            assert seen[place].nonzero()[:, 0].tolist() == path[: at + 1]
    assert seen[6].nonzero()[:, 0].tolist() == [6]  # padding


def test_examples_that_all_prompts_share_are_read_once() -> None:
    examples = list(range(1000, 1400))
    pairs = [([*examples, *range(n, n + 20)], [5, 6, 7]) for n in range(40)]
    rows = branches._plant(pairs, 3 * 576)
    assert sum(len(tree.tokens) for tree, _ in rows) < 400 * 2 + 40 * 22
    # Alike in little, long rows stay apart: their attention would cost more than is saved.
    apart = [([1, *range(n, n + 500)], [5, 6]) for n in range(2, 6)]
    assert len(branches._plant(apart, 3 * 576)) == 4


def test_trees_share_rows_and_none_is_lost() -> None:
    sizes = [90, 60, 50, 40, 30, 30, 8, 2] * 20
    planted = []
    for size in sorted(sizes, reverse=True):
        tree = branches.Tree()
        tree.add(list(range(size)))
        planted.append((tree, []))
    found, padded = [], 0
    while planted:
        rows, planted = branches._fill(planted)
        widths = [sum(len(tree.tokens) for tree, _ in row) for row in rows]
        assert len(rows) * max(widths) <= branches.TOKENS_PER_PASS
        padded += len(rows) * max(widths)
        found += [len(tree.tokens) for row in rows for tree, _ in row]
    assert sorted(found) == sorted(sizes)
    assert padded < 1.1 * sum(sizes)
