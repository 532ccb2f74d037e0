"""The encoder behind the protocol: its vectors are the means of the states; nothing is cut
unasked, and what an encoder cannot do is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

import langwright as lw
from langwright.backend import Backend, Request
from langwright.errors import BadInput, Unsupported
from langwright.providers import Conversation

TEXTS = ["the cat", "", "the cat sat"]


def test_vectors_are_the_mean_of_the_states_in_transformers(small_encoder: Path) -> None:
    """For MiniLM itself, see the encoder's own test."""
    (small_encoder / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}')
    model = lw.load(str(small_encoder))
    theirs = transformers.AutoModel.from_pretrained(small_encoder).eval()
    for text, vector in zip(TEXTS, model.embed(TEXTS), strict=True):
        ids = torch.tensor([model.backend.tokenize(text)])
        with torch.no_grad():
            expected = theirs(ids).last_hidden_state[0].mean(0)
        assert (torch.tensor(vector) - expected).abs().max() < 1e-5


def test_a_text_too_long_is_cut_only_where_that_is_asked_for(small_encoder: Path) -> None:
    model = lw.load(str(small_encoder))
    longest = model.backend.capabilities().context_length
    fitting, cut = "the cat sat on", "the cat sat on the mat"
    assert len(model.backend.tokenize(fitting)) == longest == 6
    with pytest.raises(BadInput, match="Text 2 of 2 has 8 tokens"):
        model.embed([fitting, cut])
    one, other = model.embed([fitting, cut], truncate=True)
    assert one == pytest.approx(other, abs=1e-6)
    told = lw.embed(model, [fitting, cut], truncate=True)
    assert told["usage"] == {"prompt_tokens": 12, "total_tokens": 12}
    assert list(told) == ["model", "embeddings", "usage"]


def test_an_encoder_refuses_what_it_cannot_do(small_encoder: Path) -> None:
    model = lw.load(str(small_encoder))
    assert isinstance(model.backend, Backend)
    assert not model.backend.capabilities().generate
    for ask in (
        lambda: model.backend.generate([Request(text="the")]),
        lambda: model.backend.likelihoods([("the", " cat")]),
        lambda: model.generate("the"),
        lambda: model.score("the cat"),
        lambda: model.next_tokens("the"),
        lambda: Conversation(model),
        lambda: model.module,
    ):
        with pytest.raises(Unsupported) as refused:
            ask()
        assert refused.value.remedy
    with pytest.raises(BadInput, match="bare"):
        model.embed("the cat")
    with pytest.raises(BadInput, match="float32"):
        lw.load(str(small_encoder), dtype="int8")
