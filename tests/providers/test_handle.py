"""What the handle answers, and that it equals what the model says."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import pytest
import torch

import langwright as lw
from langwright.errors import BadInput, Damaged, Unsupported
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.providers import Conversation, Generation, Model
from langwright.store import Store

from .conftest import VOCAB_ROWS, random_model

TEXT = "The quick fox: 你好 🙂.\r\nAnd then the lazy dog."


@pytest.fixture
def model(model_a: ModelBundle) -> Model:
    return Model(Engine(model_a, "a"), model_a)


def test_generate_is_the_same_for_the_same_seed(model: Model) -> None:
    one = model.generate("the", seed=3, max_tokens=12)
    other = model.generate("the", seed=3, max_tokens=12)
    assert (one.text, one.token_ids) == (other.text, other.token_ids)
    assert one.token_ids != model.generate("the", seed=4, max_tokens=12).token_ids
    assert 0 < one.timings.first_token_s <= one.timings.total_s


def test_the_json_of_an_answer(model: Model) -> None:
    answer = model.generate("the", temperature=0, max_tokens=5).to_json()
    assert list(answer) == ["text", "token_ids", "finish_reason", "usage", "timings", "logprobs"]
    assert list(answer["usage"]) == ["prompt_tokens", "completion_tokens", "total_tokens"]
    assert list(answer["timings"]) == ["first_token_s", "total_s"]
    assert answer["usage"]["completion_tokens"] == len(answer["token_ids"]) == 5
    assert answer["finish_reason"] == "length"


def test_the_stream_is_the_answer_in_pieces(model: Model) -> None:
    streamed = Generation.collect(model.stream("the", seed=1, max_tokens=20))
    whole = model.generate("the", seed=1, max_tokens=20)
    assert (streamed.text, streamed.token_ids) == (whole.text, whole.token_ids)


def test_chat_reads_the_template_and_a_text_is_a_user_turn(model: Model) -> None:
    assert model.template is not None
    messages = [{"role": "user", "content": "hello"}]
    prompt = model.template.encode(messages, add_generation_prompt=True)
    answer = model.chat("hello", seed=1, max_tokens=4)
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.token_ids == model.chat(messages, seed=1, max_tokens=4).token_ids


def test_a_misspelt_option_is_refused(model: Model) -> None:
    with pytest.raises(TypeError, match="temprature"):
        model.generate("the", temprature=0.5)  # type: ignore[call-arg]


def test_next_tokens_are_the_softmax_of_the_last_logits(model: Model) -> None:
    tokens = model.next_tokens("the", 4)
    start = model.backend.tokenize("")  # the model's start token is the engine's to add
    assert start == []
    ids = [model._inside().start_id or 0, *model.backend.tokenize("the")]
    logits = model.module(torch.tensor([ids]))[0, -1, : model.tokenizer.vocab_size]
    expected = logits.double().softmax(-1).topk(4)
    assert [token.id for token in tokens] == expected.indices.tolist()
    assert [token.probability for token in tokens] == pytest.approx(expected.values.tolist())
    with pytest.raises(BadInput, match="k is 0"):
        model.next_tokens("the", 0)


@pytest.mark.parametrize(("window", "stride"), [(None, None), (16, 5), (8, 7)])
def test_score_is_the_sum_over_the_scored_tokens(
    model: Model, window: int | None, stride: int | None
) -> None:
    score = model.score(TEXT, window, stride)
    (scored,) = model.backend.score([TEXT], window=score.window, stride=score.stride)
    logprobs = [value for value in scored.logprobs if value is not None]
    assert score.nll_nats_sum == pytest.approx(-sum(logprobs))
    assert score.tokens == score.scored_tokens == len(scored.token_ids)  # a start token is there
    assert score.bytes == len(TEXT.encode())
    assert score.bits_per_byte * score.bytes * math.log(2) == pytest.approx(score.nll_nats_sum)
    assert math.log(score.perplexity) * score.scored_tokens == pytest.approx(score.nll_nats_sum)
    expected = (window, stride) if window else (64, 32)
    assert (score.window, score.stride) == expected


def test_the_first_token_counts_only_with_a_start_token(model_a: ModelBundle) -> None:
    bare = ModelBundle(model_a.module, model_a.tokenizer, None, model_a.end_ids, None)
    score = Model(Engine(bare), bare).score(TEXT)
    assert score.scored_tokens == score.tokens - 1
    first = len(bare.tokenizer.token_bytes(bare.tokenizer.encode(TEXT)[0]))
    assert score.bytes == len(TEXT.encode()) - first
    for text in ("", "a"):
        with pytest.raises(BadInput, match="none of them can be scored"):
            Model(Engine(bare), bare).score(text)


def test_an_empty_text_has_no_score(model: Model) -> None:
    with pytest.raises(BadInput, match="none of them can be scored"):
        model.score("")


def test_weights_that_are_no_numbers_have_no_score(model_a: ModelBundle) -> None:
    bundle = random_model(model_a.tokenizer, 3)
    bundle.module.requires_grad_(False).norm.weight.fill_(float("nan"))
    with pytest.raises(Damaged, match="no numbers"):
        Model(Engine(bundle), bundle).score(TEXT)


def test_the_inside_of_a_distant_model_is_out_of_reach(model_a: ModelBundle) -> None:
    with pytest.raises(Unsupported, match="out of reach"):
        _ = Model(Engine(model_a)).tokenizer


def test_a_conversation_remembers_its_turns(model: Model) -> None:
    talk = Conversation(model, temperature=0, max_tokens=3)
    first = Generation.collect(talk.say("one"))
    assert talk.messages == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": first.text},
    ]
    talk.reset()
    assert talk.messages == []


def test_an_answer_broken_off_stays_and_one_refused_leaves_no_trace(model: Model) -> None:
    talk = Conversation(model, temperature=0)
    with closing(talk.say("one")) as events:
        said = next(event.text for event in events if event.text)
    assert [turn["content"] for turn in talk.messages] == ["one", said]
    before = list(talk.messages)
    with pytest.raises(BadInput, match="window"):
        list(talk.say("too long " * 64))
    assert talk.messages == before


def test_a_model_without_a_template_cannot_converse(model_a: ModelBundle) -> None:
    bare = ModelBundle(model_a.module, model_a.tokenizer, None, model_a.end_ids)
    with pytest.raises(Unsupported, match="chat template"):
        Conversation(Model(Engine(bare), bare))


def test_the_verbs_answer_for_a_name_as_for_a_model(store: Store) -> None:
    model = lw.load("tiny", store=store)
    assert lw.next_tokens("tiny", "the", 2) == lw.next_tokens(model, "the", 2)
    assert lw.neighbours("tiny", " ", 2) == lw.neighbours(model, " ", 2)
    assert lw.score("tiny", TEXT) == lw.score(model, TEXT)
    by_name = lw.generate("half@10", "the", seed=1, max_tokens=3)
    assert by_name["token_ids"] == lw.generate("tiny", "the", seed=1, max_tokens=3)["token_ids"]
    assert lw.chat("tiny", "hi", max_tokens=2)["usage"]["completion_tokens"] <= 2


def test_pieces_of_a_text_are_its_bytes(store: Store) -> None:
    found = lw.tokens(TEXT, ["words", "tiny"], store=store)["encodings"]
    assert [one["name"] for one in found] == ["words", "tiny"]
    for one in found:
        rates = ["per_word", "per_character"]
        assert list(one) == ["name", "count", "bytes", *rates, "ids", "pieces", "piece_bytes"]
        assert one["per_character"] == one["count"] / len(TEXT)
        assert one["per_word"] == one["count"] / 9
        assert b"".join(map(bytes, one["piece_bytes"])) == TEXT.encode()
        assert one["bytes"] == len(TEXT.encode())
        assert one["count"] == len(one["ids"]) == len(one["pieces"]) == len(one["piece_bytes"])
        assert all(0 <= token < VOCAB_ROWS for token in one["ids"])


def test_tokens_needs_an_encoding(store: Store) -> None:
    with pytest.raises(BadInput, match="done, tiny, words"):
        lw.tokens(TEXT, [], store=store)
    with pytest.raises(BadInput, match="surrogate"):
        lw.tokens("\udcff", ["words"], store=store)


def test_inspect_is_the_glass_box_by_name_and_by_handle(store: Store, model: Model) -> None:
    told = lw.inspect("tiny", TEXT, layer=0)
    assert told.pop("model") == "tiny"
    assert told == model.inspect(TEXT, layer=0).to_json()
    assert lw.inspect(model, TEXT)["model"] == "a"
    fewer = lw.inspect("tiny", TEXT, dtype="bfloat16")
    assert fewer["target"]["probability"] != told["target"]["probability"]
    with pytest.raises(BadInput, match="loaded already"):
        lw.inspect(model, TEXT, dtype="bfloat16")


def test_inspect_opens_an_encoder_too(minilm_path: Path, store: Store) -> None:
    told = lw.inspect(str(minilm_path), "The cat sat.", head=0)
    assert told["logit_lens"] is None
    assert len(told["attention"]) == 6
    with pytest.raises(BadInput, match="float32"):
        lw.inspect(str(minilm_path), "The cat sat.", dtype="int8")
