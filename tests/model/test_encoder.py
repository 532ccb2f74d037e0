"""The encoder: equal to transformers' BERT from random weights; MiniLM to sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from langwright.errors import BadInput, Damaged, Unsupported
from langwright.model.bert import Bert, BertShape, bert_weights
from langwright.model.bundle import filled
from langwright.model.encoder import load_encoder

SIZES = {
    "vocab_size": 80, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 40,
}  # fmt: skip


UPWARDS = '[{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "../1_Pooling"}]'
WIDER = transformers.BertConfig(**SIZES | {"hidden_size": 52})


@pytest.mark.parametrize("options", [{}, {"layer_norm_eps": 1e-3, "type_vocab_size": 1}])
@pytest.mark.parametrize("kind", ["BertModel", "BertForMaskedLM"])
def test_states_equal_those_of_transformers(kind: str, options: dict[str, float]) -> None:
    config = transformers.BertConfig(**SIZES, **options)
    torch.manual_seed(0)
    theirs = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    shape = BertShape.from_hugging_face(config.to_dict())
    weights = {name: one.clone() for name, one in theirs.state_dict().items()}
    ours = filled(lambda: Bert(shape), bert_weights(weights), 3)
    ids = torch.randint(1, 80, (2, 17), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0
    with torch.no_grad():
        body = theirs.bert if kind == "BertForMaskedLM" else theirs
        expected = body(ids, attention_mask=mask).last_hidden_state
        found = ours(ids, mask)
    assert (found - expected)[mask.bool()].abs().max() < 1e-5


@pytest.mark.parametrize(
    "field",
    [
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"a_new_trick": 1},
        {"model_type": "roberta"},
    ],
)
def test_what_is_not_built_is_refused(field: dict[str, object]) -> None:
    config = transformers.BertConfig(**SIZES).to_dict()
    with pytest.raises(Unsupported):
        BertShape.from_hugging_face({**config, **field})


def test_long_texts_are_cut_where_allowed_and_neighbours_change_nothing(
    small_encoder: Path,
) -> None:
    encoder = load_encoder(small_encoder)
    assert (encoder.pooling, encoder.normalised, encoder.max_tokens) == ("first", False, 6)
    texts = ["the cat", "the mat sat on the cat on the mat", "", "cat"]
    assert [len(row) for row in encoder.ids(texts, truncate=True)] == [4, 6, 2, 3]
    with pytest.raises(BadInput, match="Text 2 of 4 has 11 tokens"):
        encoder.encode(texts)
    together = encoder.encode(texts, truncate=True)
    alone = torch.cat([encoder.encode([text], truncate=True) for text in texts])
    assert (together - alone).abs().max() < 1e-5
    assert encoder.encode([]).shape == (0, 48)


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}', Unsupported),
        ("modules.json", '[{"type": "a.Transformer"}, {"type": "a.Dense"}]', Unsupported),
        ("config.json", json.dumps(transformers.LlamaConfig().to_dict()), Unsupported),
        ("config.json", json.dumps(WIDER.to_dict()), BadInput),
        ("modules.json", '{"type": "a.Transformer"}', Damaged),
        ("modules.json", "[[", Damaged),
        ("modules.json", UPWARDS, Damaged),
    ],
)  # fmt: skip
def test_folders_of_other_things_are_refused(
    small_encoder: Path, file: str, content: str, error: type[Exception]
) -> None:
    (small_encoder / file).write_text(content)
    with pytest.raises(error):
        load_encoder(small_encoder)


@pytest.mark.slow
def test_minilm_equals_sentence_transformers(minilm_path: Path) -> None:
    """The published model on texts of every length, cut ones among them."""
    SentenceTransformer = pytest.importorskip("sentence_transformers").SentenceTransformer
    theirs = SentenceTransformer(str(minilm_path), device="cpu")
    ours = load_encoder(minilm_path)
    texts = ["", "A cat.", "Ünïcode café 你好 🙂", "The cat sat on the mat. " * 7, "word " * 600]
    expected = torch.tensor(theirs.encode(texts))
    assert (ours.encode(texts, truncate=True) - expected).abs().max() < 1e-5
