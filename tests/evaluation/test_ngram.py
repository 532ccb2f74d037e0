"""The n-gram model against published figures, a plain implementation, and the axioms."""

import math
import os
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from langwright.errors import BadInput, BadSettings
from langwright.evaluation import WittenBell

END = 256


class Plain:
    """Witten-Bell written down as its formula, one symbol at a time."""

    def __init__(self, documents, max_order):
        self.after = defaultdict(Counter)
        for document in documents:
            for context, symbol in self.steps(document, max_order):
                for length in range(len(context) + 1):
                    self.after[context[len(context) - length :]][symbol] += 1

    @staticmethod
    def steps(document, max_order):
        symbols = (END, *document, END)
        for place in range(1, len(symbols)):
            yield symbols[max(0, place - max_order + 1) : place], symbols[place]

    def probability(self, context, symbol, order):
        if order == 0:
            return 1 / 257
        if len(context) < order - 1:
            return self.probability(context, symbol, order - 1)
        seen = self.after.get(context[len(context) - order + 1 :], Counter())
        lower = self.probability(context, symbol, order - 1)
        if not seen:
            return lower
        return (seen[symbol] + len(seen) * lower) / (seen.total() + len(seen))

    def nll(self, document, order):
        return -sum(
            math.log(self.probability(context, symbol, order))
            for context, symbol in self.steps(document, order)
        )


def noise(seed, num_documents, longest=60):
    draw = random.Random(seed)
    return [
        bytes(draw.choice(b"abc\x00\xff") for _ in range(draw.randrange(longest)))
        for _ in range(num_documents)
    ]


def test_published_figures_on_tinyshakespeare():
    home = os.environ.get("LANGWRIGHT_TEST_DATA")
    if not home:
        pytest.skip("LANGWRIGHT_TEST_DATA is not set: it names the folder of the public test data")
    text = (Path(home) / "tinyshakespeare" / "input.txt").read_bytes()
    cut = int(0.9 * len(text))
    model = WittenBell.fit([text[:cut]])
    nll = model.nll([text[cut:]])
    assert model.bits_per_byte([text[cut:]]) == pytest.approx(1.669 / np.log(2), abs=1e-3)
    np.testing.assert_allclose(
        nll[0] / len(text[cut:]), [3.347, 2.486, 2.049, 1.774, 1.669, 1.698], atol=6e-4
    )


@pytest.mark.parametrize("max_order", [1, 2, 6, 7])
def test_equals_the_plain_formula(max_order):
    train, test = noise(1, 40), [b"", *noise(2, 20), b"abcabc unseen \x01"]
    plain = Plain(train, max_order)
    expected = [
        [plain.nll(document, order) for order in range(1, max_order + 1)] for document in test
    ]
    got = WittenBell.fit(train, max_order).nll(test)
    assert got.shape == (len(test), max_order)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_probabilities_sum_to_one_after_any_context():
    train = noise(3, 30)
    model, plain = WittenBell.fit(train), Plain(train, 6)
    for context in [b"", b"a", b"ab\x00", b"never seen", *noise(4, 10)]:
        steps = (END, *context)[-5:]
        total = sum(plain.probability(steps, symbol, 6) for symbol in range(257))
        assert total == pytest.approx(1, abs=1e-12)
        # The package itself: p(byte | context) is what a document gains by one byte more, and all
        # bytes and the end together must use up the probability.
        here = model.nll([context])
        end = np.array([-math.log(plain.probability(steps, END, n)) for n in range(1, 7)])
        begun = here - end
        ends_after = [
            [-math.log(plain.probability((END, *context, byte)[-5:], END, n)) for n in range(1, 7)]
            for byte in range(256)
        ]
        longer = model.nll([context + bytes([byte]) for byte in range(256)]) - ends_after
        np.testing.assert_allclose(np.exp(begun - longer).sum(0) + np.exp(-end), 1, atol=1e-9)


def test_a_context_does_not_reach_into_the_document_before():
    model = WittenBell.fit(noise(5, 30))
    apart = [b"abcab", b"ccbba", b"", b"a"]
    together = model.nll(apart)
    for document, row in zip(apart, together, strict=True):
        np.testing.assert_allclose(model.nll([document])[0], row, rtol=1e-12)
    np.testing.assert_allclose(model.nll(apart[::-1]), together[::-1], rtol=1e-12)


def test_every_byte_is_possible():
    nll = WittenBell.fit([b"aaaa"]).nll([bytes(range(256))])
    assert np.all(np.isfinite(nll))


def test_refuses_what_it_cannot_count():
    with pytest.raises(BadSettings, match="order of 8"):
        WittenBell.fit([b"text"], max_order=8)
    with pytest.raises(BadInput, match="no documents"):
        WittenBell.fit([])
    assert WittenBell.fit([b"text"]).nll([]).shape == (0, 6)
