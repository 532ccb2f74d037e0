"""transformers behind the protocol: equal to the own engine where both have the family, and to
transformers' own `generate` where we have none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

import langwright as lw
from langwright.backend import Backend, Constraint, Event, Request, Sampling
from langwright.errors import BadInput, Unsupported
from langwright.inference import Engine
from langwright.model import ModelBundle, save_folder
from langwright.providers.transformers_ import Transformers
from langwright.tokens import Tokenizer

TEXTS = ["the quick fox", "Über 12 Höhen", "你好，世界 🙂🤖", "the quick dog"]


@pytest.fixture(scope="module")
def own(make_model: Callable[..., ModelBundle]) -> ModelBundle:
    return make_model(3, vocab_size=384, context_length=128)


@pytest.fixture(scope="module")
def theirs(own: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Transformers:
    folder = tmp_path_factory.mktemp("hf")
    save_folder(folder, own)
    return Transformers(folder, "tiny")


@pytest.fixture(scope="module")
def unknown(small_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the family gpt_neox, which is not one of ours."""
    folder = tmp_path_factory.mktemp("neox")
    torch.manual_seed(0)
    config = transformers.GPTNeoXConfig(
        vocab_size=384, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, eos_token_id=304, bos_token_id=304,
    )  # fmt: skip
    model = transformers.GPTNeoXForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(folder)
    small_tokenizer.save(folder / "tokenizer.json")
    return folder


def said(
    backend: Backend, *requests: Request
) -> dict[tuple[str, int], tuple[str, list[int], Event]]:
    found: dict[tuple[str, int], tuple[str, list[int], Event]] = {}
    for event in backend.generate(requests):
        text, ids, _ = found.get((event.request_id, event.index), ("", [], None))
        found[event.request_id, event.index] = (text + event.text, [*ids, *event.token_ids], event)
    return found


def test_answers_are_the_own_engines(theirs: Transformers, own: ModelBundle) -> None:
    """Prompts of different and of equal length, with every option that there is."""
    assert isinstance(theirs, Backend)
    penalties = Sampling(temperature=0, repetition_penalty=1.3, frequency_penalty=0.5,
                         presence_penalty=0.5, logit_bias={70: 2.0})  # fmt: skip
    chat = [{"role": "user", "content": "fox"}]
    greedy, warm = Sampling(temperature=0), Sampling(1.0, seed=5, top_k=9, min_p=0.01)
    fox_or_dog = Constraint(choice=("fox", "dog"))
    requests = [
        *(Request(text=text, max_tokens=12, sampling=greedy, id=text) for text in TEXTS),
        Request(messages=chat, max_tokens=8, sampling=penalties, id="chat"),
        Request(text="the", max_tokens=8, sampling=warm, n=2, id="two"),
        Request(text="the", max_tokens=8, min_tokens=8, sampling=greedy, logprobs=2, id="told"),
        Request(text="the", max_tokens=8, constraint=fox_or_dog, sampling=greedy, id="choice"),
    ]
    found, ours = said(theirs, *requests), said(Engine(own), *requests)
    assert found.keys() == ours.keys()
    for key, (text, ids, last) in ours.items():
        assert found[key][:2] == (text, ids), key
        assert found[key][2].finish_reason == last.finish_reason
    assert found["choice", 0][0] in ("fox", "dog")


def test_probabilities_are_the_own_engines(theirs: Transformers, own: ModelBundle) -> None:
    engine = Engine(own)
    for text in TEXTS:
        for one, other in zip(
            theirs.next_tokens(text, 4), engine.next_tokens(text, 4), strict=True
        ):
            assert (one.id, one.text) == (other.id, other.text)
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
    for one, other in zip(
        theirs.score(TEXTS, window=6, stride=2),
        engine.score(TEXTS, window=6, stride=2),
        strict=True,
    ):
        assert (one.token_ids, one.bytes) == (other.token_ids, other.bytes)
        assert one.logprobs[1:] == pytest.approx(other.logprobs[1:], abs=1e-4)
    pairs = [("the quick", " fox"), ("the quick ", "dog"), ("", "the"), ("12", " 🙂")]
    for mine, ref in zip(theirs.likelihoods(pairs), engine.likelihoods(pairs), strict=True):
        assert mine.logprob == pytest.approx(ref.logprob, abs=1e-4)
        assert (mine.greedy, mine.tokens, mine.bytes) == (ref.greedy, ref.tokens, ref.bytes)


def test_a_family_that_we_do_not_have(unknown: Path, small_tokenizer: Tokenizer) -> None:
    with pytest.raises(Unsupported) as refused:
        lw.load(str(unknown))
    assert "--backend transformers" in refused.value.remedy
    model = lw.load(str(unknown), backend="transformers")
    ids = small_tokenizer.encode("the lazy dog")
    reference = transformers.AutoModelForCausalLM.from_pretrained(unknown).eval()
    expected = reference.generate(
        torch.tensor([ids]), max_new_tokens=10, min_new_tokens=10, do_sample=False,
        suppress_tokens=list(range(small_tokenizer.vocab_size, 384)), pad_token_id=304,
    )  # fmt: skip
    answer = said(model.backend, Request(token_ids=ids, max_tokens=10, min_tokens=10,
                                         sampling=Sampling(temperature=0)))  # fmt: skip
    ((_, found, _),) = answer.values()
    assert found == expected[0, len(ids) :].tolist()


def test_abort_and_deadline(theirs: Transformers) -> None:
    events = []
    for event in theirs.generate([Request(text="the", max_tokens=90, min_tokens=90, id="gone")]):
        events.append(event)
        if len(events) == 3:
            theirs.abort("gone")
    assert events[-1].finish_reason == "abort"
    late = said(theirs, Request(text="the", max_tokens=90, min_tokens=90, deadline_s=1e-6))
    assert [last.finish_reason for *_, last in late.values()] == ["deadline"]


def test_what_is_refused(theirs: Transformers, own: ModelBundle, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="adapter"):
        said(theirs, Request(text="a", adapter="tuned"))
    with pytest.raises(BadInput, match="128"):
        said(theirs, Request(text="a b " * 100))
    save_folder(tmp_path, own)
    with pytest.raises(BadInput, match="nf4"):
        Transformers(tmp_path, dtype="nf4")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(Unsupported, match="safetensors"):
        Transformers(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "none", "auto_map": {"A": "code.B"}}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(Unsupported, match="does not read"):
        Transformers(tmp_path)
