"""Adapters: equal to PEFT's on the same weights, files both ways, each row of a batch its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from langwright.errors import BadInput, BadSettings, LangwrightError, NotFound, Unsupported
from langwright.model import Architecture, Decoder
from langwright.model.bundle import decoder_from
from langwright.model.lora import TARGETS, Adapters, LoRASettings
from langwright.model.peft_folder import load_adapter, save_adapter

CONFIG = transformers.Qwen2Config(
    vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    bos_token_id=0, eos_token_id=1,
)  # fmt: skip
IDS = torch.randint(0, 96, (3, 20), generator=torch.Generator().manual_seed(5))
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "some": {"target_modules": ["q_proj", "down_proj"], "r": 5},
}


@pytest.fixture(scope="module")
def base() -> Any:
    torch.manual_seed(0)
    CONFIG._attn_implementation = "eager"
    return transformers.AutoModelForCausalLM.from_config(CONFIG).float().eval()


def theirs(base: Any, kind: str, **options: Any) -> Any:
    import copy

    values = {"r": 4, "lora_alpha": 8, "target_modules": list(TARGETS), **KINDS[kind], **options}
    torch.manual_seed(1)
    model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**values))
    with torch.no_grad():  # B begins at zero, where nothing shows
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
            if "magnitude" in name:
                weight.mul_(1 + 0.2 * torch.rand_like(weight))
    return model.eval()


def ours(base: Any) -> Decoder:
    shape = Architecture.from_hugging_face(CONFIG.to_dict())
    weights = {name: one.clone() for name, one in base.state_dict().items()}
    return decoder_from(shape, shape.of.to_ours(weights, shape))


@pytest.mark.parametrize("kind", list(KINDS))
def test_an_adapter_of_peft_gives_its_logits(base: Any, kind: str, tmp_path: Path) -> None:
    model = theirs(base, kind)
    model.save_pretrained(tmp_path)
    module = ours(base)
    adapters = Adapters(module)
    adapters.load("one", load_adapter(tmp_path))
    with torch.no_grad():
        expected, plain = model(IDS).logits, base(IDS).logits
        assert (module(IDS) - plain).abs().max() < 1e-6  # none is in use
        with adapters.use("one"):
            found = module(IDS)
    assert (expected - plain).abs().max() > 1e-2
    assert (found - expected).abs().max() < 1e-6


@pytest.mark.parametrize("kind", list(KINDS))
def test_peft_reads_an_adapter_of_ours(base: Any, kind: str, tmp_path: Path) -> None:
    model = theirs(base, kind)
    model.save_pretrained(tmp_path / "theirs")
    module = ours(base)
    adapters = Adapters(module)
    adapters.load("one", load_adapter(tmp_path / "theirs"))
    (tmp_path / "ours").mkdir()
    save_adapter(tmp_path / "ours", adapters.take("one"), "base")
    import copy

    again = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "ours").eval()
    with torch.no_grad():
        assert torch.equal(again(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradients_are_those_of_peft(base: Any, kind: str, tmp_path: Path) -> None:
    model = theirs(base, kind)
    model.save_pretrained(tmp_path)
    module = ours(base)
    adapters = Adapters(module)
    adapters.load("one", load_adapter(tmp_path))
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
    model(IDS).logits.square().mean().backward()
    with adapters.use("one"):
        module(IDS).square().mean().backward()
    grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    assert grads
    found = dict(module.named_parameters())
    for name, grad in grads.items():
        path = name.removeprefix("base_model.model.model.").replace(".default", "")
        path = path.replace(".lora_magnitude_vector.weight", ".adapters.one.magnitude")
        path = path.replace(".lora_A.weight", ".adapters.one.lora_A")
        path = path.replace(".lora_B.weight", ".adapters.one.lora_B")
        assert found[path].grad is not None
        assert (found[path].grad - grad).abs().max() < 1e-6  # type: ignore[operator]
    assert all(one.grad is None for name, one in found.items() if "adapters" not in name)
    assert len(adapters.parameters("one")) == len(grads)


def two(base: Any) -> tuple[Decoder, Adapters]:
    module = ours(base)
    adapters = Adapters(module)
    for seed, (name, options) in enumerate(
        {"a": {"rank": 4}, "b": {"rank": 2, "dora": True, "targets": ("q_proj", "up_proj")}}.items()
    ):
        adapters.add(name, LoRASettings.build(options), seed)
        with torch.no_grad():
            for weight in adapters.parameters(name):
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(7)))
    return module, adapters


def test_each_row_of_a_batch_has_its_own(base: Any) -> None:
    module, adapters = two(base)
    with torch.no_grad():
        alone = []
        for name in ("b", None, "a"):
            with adapters.use(name):
                alone.append(module(IDS))
        with adapters.use(["b", None, "a"]):
            together = module(IDS)
        assert (alone[0] - alone[2]).abs().max() > 1e-2
        for row in range(3):
            assert (together[row] - alone[row][row]).abs().max() < 1e-5
        with adapters.use(["a", "b"]), pytest.raises(ValueError, match="3 rows"):
            module(IDS)


@pytest.mark.parametrize("name", ["a", "b"])
def test_merging_gives_the_same_and_unmerging_every_bit(base: Any, name: str) -> None:
    module, adapters = two(base)
    before = {key: one.clone() for key, one in module.named_parameters()}
    with torch.no_grad():
        with adapters.use(name):
            expected = module(IDS)
        adapters.merge(name)
        assert (module(IDS) - expected).abs().max() < 1e-4
        with pytest.raises(BadInput, match="merged"):
            adapters.merge(name)
        adapters.unmerge()
    assert all(torch.equal(one, before[key]) for key, one in module.named_parameters())
    adapters.merge(name)
    bare = adapters.detach()
    assert (bare(IDS) - expected).abs().max() < 1e-4
    assert not any("adapters" in key for key, _ in bare.named_modules())


def test_a_fresh_adapter_changes_nothing_and_dropout_is_only_for_training(base: Any) -> None:
    module = ours(base)
    adapters = Adapters(module)
    adapters.add("one", LoRASettings(rank=3, dropout=0.5))
    with torch.no_grad(), adapters.use("one"):
        assert torch.equal(module(IDS), ours(base)(IDS))
        for weight in adapters.parameters("one"):
            weight.add_(0.1)
        assert torch.equal(module(IDS), module(IDS))
        module.train()
        assert not torch.equal(module(IDS), module(IDS))


def test_unknown_names_are_errors(base: Any) -> None:
    _, adapters = two(base)
    with pytest.raises(NotFound, match="'c'"), adapters.use(["a", "c", None]):
        pass
    with pytest.raises(BadSettings, match="q_prj"):
        adapters.add("c", LoRASettings(targets=("q_prj",)))
    with pytest.raises(BadInput, match="already"):
        adapters.add("a", LoRASettings())
    for verb in (adapters.remove, adapters.merge, adapters.take, adapters.parameters):
        with pytest.raises(NotFound):
            verb("c")
    adapters.remove("a")
    with pytest.raises(NotFound):
        adapters.take("a")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("peft_type", "IA3"),
        ("bias", "all"),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", {"q_proj": 2}),
        ("layers_to_transform", [0]),
        ("a_new_trick", 1),
        ("r", -1),
        ("lora_alpha", "much"),
    ],
)
def test_settings_that_matter_are_refused(
    base: Any, tmp_path: Path, field: str, value: object
) -> None:
    theirs(base, "lora").save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    load_adapter(tmp_path)
    path.write_text(json.dumps({**config, field: value}))
    with pytest.raises(LangwrightError):
        load_adapter(tmp_path)


def test_files_of_other_models_and_damaged_ones_are_refused(base: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_adapter(tmp_path)
    theirs(base, "lora").save_pretrained(tmp_path)
    shape = Architecture.from_hugging_face(CONFIG.to_dict())
    wider = Decoder(Architecture.build(shape.model_dump() | {"intermediate_size": 64}))
    deeper = Decoder(Architecture.build(shape.model_dump() | {"num_layers": 3}))
    for other in (wider, deeper):
        adapters = Adapters(other)
        with pytest.raises(BadInput, match="does not fit"):
            adapters.load("one", load_adapter(tmp_path))
        assert not adapters.settings
    file = tmp_path / "adapter_model.safetensors"
    content = file.read_bytes()
    for damaged in (b"", content[:200], content[: len(content) // 2], b"\x80\x04\x95" + content):
        file.write_bytes(damaged)
        with pytest.raises(LangwrightError):
            load_adapter(tmp_path)
    file.unlink()
    with pytest.raises(NotFound, match="safetensors"):
        load_adapter(tmp_path)


def test_gpt2s_adapters_stay_here_and_say_so(tmp_path: Path) -> None:
    sizes = {"vocab_size": 32, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
    module = Decoder(Architecture.from_hugging_face({"model_type": "gpt2", **sizes}))
    adapters = Adapters(module)
    adapters.add("one", LoRASettings(targets=("q_proj", "up_proj")))
    with pytest.raises(Unsupported, match="gpt2"):
        save_adapter(tmp_path, adapters.take("one"))
    with pytest.raises(BadSettings, match="gate_proj"):
        adapters.add("two", LoRASettings())
