import random

import pytest

from langwright.errors import BadInput
from langwright.evaluation import xz_bits_per_byte


def test_noise_costs_eight_bits_and_what_was_read_before_costs_nearly_none():
    noise = random.Random(0).randbytes(200_000)
    assert xz_bits_per_byte(b"", noise) == pytest.approx(8, abs=0.02)
    assert xz_bits_per_byte(noise, noise) < 0.02


def test_it_looks_back_over_all_of_the_training_text():
    # Preset 6 alone looks back over 8 MiB, and the match lies before that.
    draw = random.Random(1)
    seen, filler = draw.randbytes(50_000), bytes(9 * 1024**2)
    assert xz_bits_per_byte(seen + filler, seen) < 0.1


def test_english_is_between():
    text = b"The sum of the parts is less than the whole of the matter. " * 40
    assert 0 < xz_bits_per_byte(text, b"The whole is less than the sum of its parts.") < 5


def test_refuses_an_empty_validation_text():
    with pytest.raises(BadInput, match="no validation"):
        xz_bits_per_byte(b"train", b"")
