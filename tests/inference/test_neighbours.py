"""The neighbours of a token, against the whole table of cosines in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from langwright.errors import BadInput
from langwright.inference import neighbours, spelt, token_for
from langwright.model import ModelBundle
from langwright.tokens import Tokenizer

Make = Callable[..., ModelBundle]


def table_of(bundle: ModelBundle, name: str) -> np.ndarray:
    layer = bundle.module.embed_tokens if name == "input" else bundle.module.lm_head
    return layer.weight[: bundle.tokenizer.vocab_size].double().numpy()


@pytest.mark.parametrize("by", ["cosine", "dot"])
@pytest.mark.parametrize("name", ["input", "output"])
def test_the_nearest_are_those_of_the_whole_table(make_model: Make, name: str, by: str) -> None:
    bundle = make_model(tie_embeddings=False)
    rows = table_of(bundle, name)
    token = bundle.tokenizer.encode(" the")[0]
    dot = rows @ rows[token]
    cosine = dot / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[token])
    order = np.argsort(-(cosine if by == "cosine" else dot))
    expected = [int(index) for index in order if index != token][:7]

    found = neighbours(bundle, token, 7, name, by)  # type: ignore[arg-type]

    assert [one.id for one in found.neighbours] == expected
    np.testing.assert_allclose([one.cosine for one in found.neighbours], cosine[expected], 1e-5)
    np.testing.assert_allclose([one.dot for one in found.neighbours], dot[expected], 1e-5)
    assert found.token.norm == pytest.approx(np.linalg.norm(rows[token]))
    assert not found.tied


def test_the_two_tables_of_an_untied_model_differ(make_model: Make) -> None:
    bundle = make_model(tie_embeddings=False)
    one, other = (neighbours(bundle, 65, 5, table) for table in ("input", "output"))  # type: ignore[arg-type]
    assert [near.id for near in one.neighbours] != [near.id for near in other.neighbours]


def test_rows_beyond_the_vocabulary_are_nobodys_neighbours(make_model: Make) -> None:
    bundle = make_model(vocab_size=400)
    size = bundle.tokenizer.vocab_size
    with torch.no_grad():
        bundle.module.embed_tokens.weight[size:] = bundle.module.embed_tokens.weight[65]
    found = neighbours(bundle, 65, 1000)
    assert {one.id for one in found.neighbours} == set(range(size)) - {65}


def test_of_equals_the_smaller_id_comes_first_and_twins_are_rare(make_model: Make) -> None:
    bundle = make_model()
    with torch.no_grad():
        weight = bundle.module.embed_tokens.weight
        weight[[90, 70, 80]] = 2 * weight[65]
    found = neighbours(bundle, 65, 4)
    assert [one.id for one in found.neighbours[:3]] == [70, 80, 90]
    assert found.token.rare
    assert [one.rare for one in found.neighbours] == [True, True, True, False]


def test_a_short_vector_is_rare(make_model: Make) -> None:
    bundle = make_model()
    with torch.no_grad():
        bundle.module.embed_tokens.weight[65] *= 0.1
    found = neighbours(bundle, 65, 3)
    assert found.token.rare
    assert found.token.norm < 0.5 * found.median_norm


def test_the_text_is_one_token_or_the_error_shows_its_pieces(small_tokenizer: Tokenizer) -> None:
    (the,) = small_tokenizer.encode(" the")
    assert token_for(small_tokenizer, " the", None) == the
    assert token_for(small_tokenizer, None, the) == the
    with pytest.raises(BadInput, match=r"3 tokens, not one: 'o' \| 'b' \| 'j'"):
        token_for(small_tokenizer, "obj", None)
    with pytest.raises(BadInput, match="empty"):
        token_for(small_tokenizer, "", None)
    end = small_tokenizer.special["<|endoftext|>"]
    with pytest.raises(BadInput) as refused:
        token_for(small_tokenizer, "<|endoftext|>", None)
    assert f"{end}: give --id" in str(refused.value.remedy)
    with pytest.raises(BadInput, match="ids run from"):
        token_for(small_tokenizer, None, small_tokenizer.vocab_size)


def test_a_row_of_zeros_points_nowhere(make_model: Make) -> None:
    bundle = make_model()
    with torch.no_grad():
        bundle.module.embed_tokens.weight[65] = 0
    with pytest.raises(BadInput, match="all zeros"):
        neighbours(bundle, 65)
    # As a neighbour it is far from all, and no number is missing.
    assert all(np.isfinite(one.cosine) for one in neighbours(bundle, 66, 500).neighbours)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"k": 0}, "k is 0"), ({"table": "inputs"}, "input or output"), ({"by": "l2"}, "cosine or")],
)
def test_settings_are_checked(make_model: Make, settings: dict, named: str) -> None:
    with pytest.raises(BadInput) as refused:
        neighbours(make_model(), 65, **settings)
    assert named in f"{refused.value} {refused.value.remedy}"


def test_bytes_that_are_no_text_by_themselves_are_spelt_as_bytes() -> None:
    assert (spelt(b" cat"), spelt(b"\xe4\xbd")) == ("' cat'", r"b'\xe4\xbd'")


def test_in_smollm2_words_of_a_kind_are_near(smollm2: ModelBundle) -> None:
    (cat,) = smollm2.tokenizer.encode(" cat")
    near = [one.text for one in neighbours(smollm2, cat, 10).neighbours]
    assert {" cats", " dog"} <= set(near)
