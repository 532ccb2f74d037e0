"""What `inspect` tells of a text, against the engine, and against published models."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from langwright.errors import BadInput, Damaged, LangwrightError, Unsupported
from langwright.inference import Engine, Part, inspect
from langwright.inference.looking import Looks
from langwright.model import ModelBundle
from langwright.model.encoder import Encoder, load_encoder

Make = Callable[..., ModelBundle]
TEXT = "the quick fox 🙂 and the lazy dog"
FRANCE = "The capital of France is"
CAT = "The cat sat on the mat because it was tired"


@pytest.mark.parametrize("start_id", [None, 305])
def test_surprisal_is_what_the_engine_scores(make_model: Make, start_id: int | None) -> None:
    bundle = make_model(3, start_id=start_id, vocab_size=307)  # no row is beyond the vocabulary
    found = inspect(bundle, TEXT)
    (scored,) = Engine(bundle).score([TEXT])
    tokens = found.tokens if start_id is None else found.tokens[1:]
    assert [one.id for one in tokens] == list(scored.token_ids)
    for one, logprob in zip(tokens, scored.logprobs, strict=True):
        if logprob is None:
            assert one.surprisal_nats is one.entropy_nats is one.rank is one.alternatives is None
        else:
            assert one.surprisal_nats == pytest.approx(-logprob, abs=1e-5)
            assert one.surprisal_bits == pytest.approx(-logprob / math.log(2), abs=1e-5)
    if start_id is not None:
        assert (found.tokens[0].id, found.tokens[0].rank) == (start_id, None)
    assert b"".join(bytes(one.bytes) for one in tokens).decode() == TEXT
    assert [one.position for one in found.tokens] == list(range(len(found.tokens)))


def test_entropy_rank_and_alternatives_are_those_of_the_distribution(make_model: Make) -> None:
    bundle = make_model(4)
    found = inspect(bundle, TEXT, k=4)
    ids = bundle.tokenizer.encode(TEXT)
    logits = bundle.module(torch.tensor([ids]))[0, :, : bundle.tokenizer.vocab_size].double()
    for place, one in list(enumerate(found.tokens))[1:]:
        before = torch.distributions.Categorical(logits=logits[place - 1])
        order = before.probs.argsort(descending=True).tolist()
        assert one.entropy_nats == pytest.approx(float(before.entropy()), abs=1e-4)
        assert one.entropy_bits == pytest.approx(float(before.entropy()) / math.log(2), abs=1e-4)
        assert one.rank == order.index(one.id) + 1
        assert one.alternatives is not None
        assert [o.id for o in one.alternatives] == [o for o in order if o != one.id][:4]
        other = one.alternatives[0]
        assert other.probability == pytest.approx(float(before.probs[other.id]), rel=1e-4)


def test_the_next_tokens_and_the_last_lens_are_the_models_own_answer(make_model: Make) -> None:
    bundle = make_model(5)
    found = inspect(bundle, TEXT, k=4)
    best = Engine(bundle).next_tokens(TEXT, 4)
    assert found.next is not None
    assert [one.id for one in found.next] == [one.id for one in best]
    assert [one.logprob for one in found.next] == pytest.approx([one.logprob for one in best])
    assert found.logit_lens is not None
    assert found.target is not None
    assert found.logit_lens[-1].tokens == found.next
    assert (found.target.id, found.target.rank) == (found.next[0].id, 1)
    assert found.logit_lens[-1].probability == found.target.probability


def test_the_lens_is_the_answer_of_a_model_that_ends_there(make_model: Make) -> None:
    bundle = make_model(6, num_layers=3)
    found = inspect(bundle, TEXT, id=65)
    assert found.logit_lens is not None
    assert [one.depth for one in found.logit_lens] == [0, 1, 2, 3]
    for one in found.logit_lens:
        shorter = replace(bundle, module=copy.deepcopy(bundle.module))
        del shorter.module.layers[one.depth :]
        best = Engine(shorter).next_tokens(TEXT, 307)
        assert [token.id for token in one.tokens] == [token.id for token in best[:5]]
        (expected,) = [token for token in best if token.id == 65]
        assert one.probability == pytest.approx(expected.probability, rel=1e-4)
        assert best[one.rank - 1].id == 65


@pytest.mark.parametrize("scan", ["heads", "layers"])
def test_a_scan_ranks_what_each_part_alone_does(make_model: Make, scan: Any) -> None:
    bundle = make_model(7)
    found = inspect(bundle, TEXT, scan=scan, id=65, without=["0.3"])
    assert found.target is not None
    assert found.effects is not None
    assert len(found.effects) == (8 if scan == "heads" else 2)
    sizes = [abs(one.change) for one in found.effects]
    assert sizes == sorted(sizes, reverse=True)
    for one in found.effects:
        name = f"{one.layer}" if one.head is None else f"{one.layer}.{one.head}"
        alone = inspect(bundle, TEXT, id=65, without=["0.3", name])
        assert alone.target is not None
        assert alone.next is not None
        assert one.probability == pytest.approx(alone.target.probability, rel=1e-4)
        assert one.change == pytest.approx(one.probability - found.target.probability, abs=1e-6)
        assert one.likeliest.id == alone.next[0].id
        if name == "0.3":  # off already
            assert one.change == pytest.approx(0, abs=1e-7)


def test_what_comes_later_changes_nothing_that_a_decoder_saw(make_model: Make) -> None:
    """At a token it cannot have read on: its row of attention is the same whatever follows."""
    bundle = make_model(8)
    short, long = (inspect(bundle, text, query=3, keys=[1, 2]) for text in (TEXT[:15], TEXT))
    assert short.looks is not None
    assert long.looks is not None
    assert long.looks.unread == list(range(4, len(long.tokens)))
    assert long.looks.visible == 4
    size = len(short.tokens)
    for layer in range(2):
        one, other = short.trace.attention(layer), long.trace.attention(layer)
        assert (one[:, 3] - other[:, 3, :size]).abs().max() < 1e-6
        assert other[:, 3, 4:].abs().max() == 0


def test_looks_are_read_off_the_weights(make_model: Make) -> None:
    found = inspect(make_model(9), TEXT, query=6, keys=[2, 5])
    looks = found.looks
    assert looks is not None
    weights = torch.stack([found.trace.attention(layer) for layer in range(2)])[:, :, 6]
    assert [one.weights[0] for one in looks.heads] == sorted(
        weights[..., 2].flatten().tolist(), reverse=True
    )
    for one in looks.heads:
        row = weights[one.layer, one.head]
        assert [*one.weights, one.first] == row[[2, 5, 0]].tolist()
        assert one.strongest == int(row.argmax())
    assert looks.mean == pytest.approx(weights[..., [2, 5]].mean((0, 1)).tolist())
    assert looks.mean_first == pytest.approx(float(weights[..., 0].mean()))
    assert looks.first_strongest == float((weights.argmax(-1) == 0).double().mean())
    assert looks.uniform == 1 / 7


def test_the_json_holds_the_attention_that_was_asked_for(make_model: Make) -> None:
    bundle = make_model(10)
    plain = inspect(bundle, "the fox").to_json()
    assert plain["attention"] is None
    assert list(plain)[:4] == ["tokens", "next", "target", "logit_lens"]
    norms = torch.tensor(plain["hidden_norms"])
    assert norms.shape == (3, len(plain["tokens"]))

    def heads(**options: Any) -> list[tuple[int, int]]:
        found = inspect(bundle, "the fox", **options)
        told = json.loads(json.dumps(found.to_json(), allow_nan=False))["attention"]
        for one in told:
            exact = found.trace.attention(one["layer"])[one["head"]]
            assert (torch.tensor(one["weights"]) - exact).abs().max() < 1e-6
        return [(one["layer"], one["head"]) for one in told]

    assert heads(attention=True) == [(layer, head) for layer in (0, 1) for head in range(4)]
    assert heads(layer=1) == [(1, 0), (1, 1), (1, 2), (1, 3)]
    assert heads(head=2) == [(0, 2), (1, 2)]
    assert heads(layer=0, head=3) == [(0, 3)]
    off = inspect(bundle, "the fox", without="1.2", scan="layers", query=1, keys=0).to_json()
    assert off["without"] == [{"layer": 1, "head": 2}]
    json.dumps(off, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "empty"),
        ("a b " * 40, {}, "window is 64"),
        (TEXT, {"k": 0}, "k is 0"),
        (TEXT, {"layer": 2}, "no layer 2: the model has 2"),
        (TEXT, {"head": 4}, "no head 4"),
        (TEXT, {"layer": -1}, "no layer -1"),
        (TEXT, {"without": ["2"]}, "no layer 2"),
        (TEXT, {"without": ["x"]}, "LAYER.HEAD"),
        (TEXT, {"scan": "neurons"}, "heads or layers"),
        (TEXT, {"token": "obj"}, r"3 tokens, not one: 'o' \| 'b' \| 'j'"),
        (TEXT, {"token": ""}, "empty"),
        (TEXT, {"id": 10**6}, "ids run from"),
        (TEXT, {"query": " fox"}, "needs keys"),
        (TEXT, {"keys": [" fox"]}, "a query"),
        (TEXT, {"query": 1, "keys": [99]}, "no position 99"),
        (TEXT, {"query": 1, "keys": [-1]}, "no position -1"),
        (TEXT, {"query": 1, "keys": [" whale"]}, "no token of the text"),
        ("the the the", {"query": " the", "keys": [0]}, "2 times.* position: 1, 2"),
    ],
)
def test_bad_input_is_refused(make_model: Make, text: str, options: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        inspect(make_model(), text, **options)
    assert refused.value.remedy


def test_more_attention_than_an_answer_holds_is_refused(
    make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_model()
    size = len(bundle.tokenizer.encode(TEXT)) ** 2
    monkeypatch.setattr("langwright.inference.inspection.MOST_WEIGHTS", 4 * size)
    inspect(bundle, TEXT, layer=0)
    with pytest.raises(BadInput, match="8 heads"):
        inspect(bundle, TEXT, attention=True)


def test_damaged_weights_are_told(make_model: Make) -> None:
    bundle = make_model()
    bundle.module.norm.weight[0] = math.nan
    with pytest.raises(Damaged, match="no numbers"):
        inspect(bundle, TEXT)


@pytest.fixture(scope="session")
def minilm(minilm_path: Path) -> Encoder:
    return load_encoder(minilm_path)


def test_an_encoder_has_attention_and_no_forecast(minilm: Encoder) -> None:
    found = inspect(minilm, CAT, layer=5, head=11, without=["0.1"])
    assert found.next is found.target is found.logit_lens is None
    assert found.shown == [Part(5, 11)]
    assert [one.text for one in found.tokens][::11] == ["[CLS]", "[SEP]"]
    json.dumps(found.to_json(), allow_nan=False)
    for options in ({"scan": "heads"}, {"token": "cat"}, {"id": 5}):
        with pytest.raises(Unsupported, match="foresees no token"):
            inspect(minilm, CAT, **options)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=f"window is {minilm.max_tokens}"):
        inspect(minilm, "cat " * minilm.max_tokens)
    with pytest.raises(LangwrightError, match="empty"):
        inspect(minilm, "")


def test_paris_comes_late_and_hangs_on_one_head(smollm2: ModelBundle) -> None:
    found = inspect(smollm2, FRANCE, token=" Paris", scan="heads")
    assert found.logit_lens is not None
    assert found.target is not None
    assert found.effects is not None
    lens = [one.probability for one in found.logit_lens]
    assert len(lens) == 31
    assert max(lens[:27]) < 1e-4
    assert lens[28:] == pytest.approx([0.0106, 0.0703, 0.7725], abs=0.002)
    assert found.target.probability == pytest.approx(0.7725, abs=0.002)
    worst = found.effects[:2]
    assert [(one.layer, one.head) for one in worst] == [(23, 4), (0, 4)]
    assert [one.probability for one in worst] == pytest.approx([0.1411, 0.2102], abs=0.003)
    off = inspect(smollm2, FRANCE, token=" Paris", without=["23.4"]).target
    assert off is not None
    assert off.probability == pytest.approx(0.1411, abs=0.003)
    # What the head does at the last token: it looks at ' France'.
    assert float(found.trace.attention(23)[4, -1, 3]) == pytest.approx(0.90, abs=0.01)


def test_one_head_of_270_looks_from_it_to_the_cat(smollm2: ModelBundle) -> None:
    looks = inspect(smollm2, CAT, query=" it", keys=[" cat", " mat"]).looks
    assert looks is not None
    best = looks.heads[0]
    assert (len(looks.heads), best.layer, best.head) == (270, 13, 8)
    assert best.weights[0] == pytest.approx(0.804, abs=0.003)
    assert sum(one.weights[0] > 0.5 for one in looks.heads) == 1
    assert [*looks.mean, looks.mean_first] == pytest.approx([0.050, 0.040, 0.477], abs=0.003)
    assert looks.first_strongest == pytest.approx(0.55, abs=0.01)
    assert looks.unread == [8, 9]


def test_an_encoder_has_read_to_the_end_when_it_looks_at_the_cat(minilm: Encoder) -> None:
    def look(text: str) -> Looks:
        looks = inspect(minilm, text, query="it", keys=["cat", "mat"]).looks
        assert looks is not None
        assert looks.unread == []
        return looks

    tired, soft = look(CAT), look(CAT.replace("tired", "soft"))
    best, then = tired.heads[0], soft.heads[0]
    assert (best.layer, best.head) == (then.layer, then.head) == (5, 11)
    # The mat is soft, not the cat, and the head looks at the cat all the same.
    assert best.weights == pytest.approx([0.683, 0.110], abs=0.003)
    assert then.weights == pytest.approx([0.645, 0.112], abs=0.003)
    # Yet what stands behind moves what is looked at, as it cannot in a decoder.
    before, after = ({(h.layer, h.head): h.weights[0] for h in one.heads} for one in (tired, soft))
    assert max(abs(before[one] - after[one]) for one in before) > 0.2


@pytest.mark.slow
def test_hidden_states_of_smollm2_equal_those_of_transformers(
    smollm2: ModelBundle, smollm2_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(
        str(smollm2_path.parent),
        gguf_file=smollm2_path.name,
        dtype=torch.float32,
        local_files_only=True,
        attn_implementation="eager",
    ).eval()
    for text in (FRANCE, CAT):
        trace = inspect(smollm2, text).trace
        with torch.inference_mode():
            told = theirs(
                torch.tensor([trace.ids]), output_attentions=True, output_hidden_states=True
            )
        for found, expected in zip(
            [*trace.hidden[:-1], trace.states], told.hidden_states, strict=True
        ):
            # Some values of the stream are in the thousands.
            assert (found - expected[0]).abs().max() < 1e-5 * expected.abs().max()
        for layer, expected in enumerate(told.attentions):
            assert (trace.attention(layer) - expected[0]).abs().max() < 1e-5
