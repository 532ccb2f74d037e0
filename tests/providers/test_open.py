"""A name finds exactly the model that it says, or an error that helps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from langwright.backend import Request, Sampling
from langwright.errors import BadInput, Damaged, LangwrightError, NotFound, Unsupported
from langwright.model import Adapters, LoRASettings, ModelBundle, save_adapter, save_folder
from langwright.providers import load_tokenizer, open_model
from langwright.store import Store
from langwright.tokens import Tokenizer


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("name", "exact", "which"),
    [
        ("tiny", "tiny", "a"),
        ("done", "done", "a"),  # the final model goes before the checkpoints
        ("half", "half@20", "b"),
        ("half@10", "half@10", "a"),
        ("half@020", "half@20", "b"),
        ("done@30", "done@30", "b"),
    ],
)
def test_names_of_the_store(
    store: Store, model_a: ModelBundle, model_b: ModelBundle, name: str, exact: str, which: str
) -> None:
    model = open_model(name, store=store)
    assert model.name == exact
    assert same_weights(model.module, {"a": model_a, "b": model_b}[which].module)


def test_where_it_computes_is_chosen(store: Store) -> None:
    module = open_model("tiny", device="auto", store=store).module
    assert {one.device.type for one in (*module.parameters(), *module.buffers())} == {"cpu"}
    with pytest.raises(Unsupported, match="no device here"):
        open_model("tiny", backend="transformers", device="cuda", store=store)


def test_a_gpu_that_is_not_there_is_no_reason_to_compute_elsewhere(store: Store) -> None:
    with pytest.raises(Unsupported, match="no CUDA device") as raised:
        open_model("tiny", device="cuda", store=store)
    assert "device=cpu" in (raised.value.remedy or "")


def test_a_digest_is_a_name(store: Store, model_a: ModelBundle) -> None:
    digest = store.get("tiny").digest[:12]
    assert same_weights(open_model(digest, store=store).module, model_a.module)


def test_a_folder_goes_by_its_path(store: Store, model_b: ModelBundle, tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    save_folder(folder, model_b)
    model = open_model(str(folder), store=store)
    assert same_weights(model.module, model_b.module)
    assert model.template is not None
    assert model.tokenizer.fingerprint == model_b.tokenizer.fingerprint


def test_a_folder_beside_the_person_does_not_hide_the_store(
    store: Store, model_a: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert same_weights(open_model("tiny", store=store).module, model_a.module)
    with pytest.raises(NotFound, match=r"config\.json"):
        open_model("./tiny", store=store)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("tinny", NotFound, "'tiny'"),
        ("smollm2-135m-instruct", NotFound, "langwright pull smollm2-135m-instruct"),
        ("book", BadInput, "corpus"),
        ("words", BadInput, "tokenizer"),
        ("new", NotFound, "no checkpoint yet"),
        ("new@5", NotFound, "no checkpoint yet"),
        ("half@15", NotFound, "There are 10, 20."),
        ("half@last", BadInput, "'last' is not a step"),
        ("half@-1", BadInput, "'-1' is not a step"),
        ("haf@10", NotFound, "'half'"),
        ("openai/gpt-5", Unsupported, "come with the gateway"),
        ("no/such/folder", NotFound, "no file or folder"),
        ("no.gguf", NotFound, "no file or folder"),
        ("", NotFound, "no model ''"),
    ],
)
def test_what_cannot_be_opened_says_what_to_do(
    store: Store, name: str, error: type[LangwrightError], says: str
) -> None:
    with pytest.raises(error) as caught:
        open_model(name, store=store)
    assert says in str(caught.value)
    assert caught.value.remedy


def test_only_models_are_suggested_for_a_model(store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        open_model("bok", store=store)
    assert "book" not in caught.value.remedy


def test_a_removed_model_says_so(store: Store) -> None:
    with store.writing("child", "model", parents=["tiny"]) as draft:
        (draft.folder / "x").write_text("x")
    digest = store.get("tiny").digest
    store.remove("tiny")
    with pytest.raises(NotFound, match="were removed"):
        open_model(digest, store=store)


def test_a_file_that_is_no_gguf(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not a model at all")
    with pytest.raises(Damaged):
        open_model(str(path), store=store)


@pytest.mark.parametrize("name", ["words", "tiny", "half@10"])
def test_the_tokenizer_of_a_name(store: Store, small_tokenizer: Tokenizer, name: str) -> None:
    assert load_tokenizer(name, store=store).fingerprint == small_tokenizer.fingerprint


def test_a_corpus_has_no_tokenizer(store: Store) -> None:
    with pytest.raises(BadInput, match="model or a tokenizer"):
        load_tokenizer("book", store=store)


def test_a_gguf_opens_by_path_and_as_an_artifact(store: Store, smollm2_path: Path) -> None:
    tokenizer = load_tokenizer(str(smollm2_path), store=store)
    with store.writing("smol", "model") as draft:
        shutil.copyfile(smollm2_path, draft.folder / "model.gguf")
    assert load_tokenizer("smol", store=store).fingerprint == tokenizer.fingerprint
    model = open_model("smol", store=store)
    assert model.tokenizer.fingerprint == tokenizer.fingerprint
    answer = model.chat("What is the capital of France?", temperature=0, max_tokens=20)
    assert "Paris" in answer.text


def test_a_known_encoding_is_meant_by_its_name_and_by_its_models(store: Store, data: Path) -> None:
    with pytest.raises(NotFound, match="gpt2") as missing:
        load_tokenizer("gpt-2", store=store)
    assert "langwright pull gpt2" in missing.value.remedy
    with store.writing("gpt2", "tokenizer") as draft:
        shutil.copy(data / "gpt2" / "vocab.bpe", draft.folder)
    for name in ("gpt2", "gpt-2", "openai/gpt-2"):
        assert load_tokenizer(name, store=store).encode("Hello world") == [15496, 995]
    with pytest.raises(Unsupported, match="p50k_base"):
        load_tokenizer("text-davinci-003", store=store)


def test_several_adapters_are_held_beside_one_base(store: Store, tmp_path: Path) -> None:
    adapters = Adapters(open_model("tiny", store=store).module)
    expected = {}
    for seed, name in enumerate(("warm", "cold")):
        adapters.add(name, LoRASettings(rank=2))
        for weight in adapters.parameters(name):
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(seed))
        (tmp_path / name).mkdir()
        save_adapter(tmp_path / name, adapters.take(name))
        with adapters.use(name):
            last = adapters.module(torch.tensor([[5, 6, 7]]))[0, -1, :300]
            expected[name] = int(last.argmax())
    model = open_model("tiny", adapters=[f"{tmp_path}/warm", f"{tmp_path}/cold"], store=store)
    assert model.backend.capabilities().adapters == ("cold", "warm")
    for name, token in expected.items():
        request = Request(token_ids=[5, 6, 7], max_tokens=1, adapter=name, sampling=Sampling(0.0))
        (event,) = model.backend.generate([request])
        assert event.token_ids == (token,)
    with pytest.raises(BadInput, match="no others can stand beside"):
        open_model(f"tiny+{tmp_path}/warm", adapters=[f"{tmp_path}/cold"], store=store)


def test_an_adapter_behind_a_plus_is_merged(
    store: Store, model_a: ModelBundle, tmp_path: Path
) -> None:
    """By its folder or its name in the store; unknown ones are named."""
    bare = open_model("tiny", store=store).module
    adapters = Adapters(open_model("tiny", store=store).module)
    adapters.add("one", LoRASettings(rank=2))
    with torch.no_grad():
        for weight in adapters.parameters("one"):
            weight.add_(0.1)
    save_adapter(tmp_path, adapters.take("one"))
    with store.writing("tuned", "adapter", parents=["tiny"]) as draft:
        save_adapter(draft.folder, adapters.take("one"))
    ids = torch.tensor([[1, 2, 3]])
    with adapters.use("one"):
        expected = adapters.module(ids)
    for name in (f"tiny+{tmp_path}", "tiny+tuned"):
        opened = open_model(name, store=store)
        assert opened.name == name
        assert (opened.module(ids) - expected).abs().max() < 1e-4
        assert (opened.module(ids) - bare(ids)).abs().max() > 1e-2
        assert dict(opened.module.named_parameters()).keys() == dict(bare.named_parameters()).keys()
    with pytest.raises(NotFound, match="adapter 'turned'"):
        open_model("tiny+turned", store=store)
    with pytest.raises(BadInput, match="kind model"):
        open_model("tiny+tiny", store=store)
