"""The 2017 Transformer beside torch's own stack, and the searches beside exhaustion."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from langwright.errors import BadSettings
from langwright.model.beam import beam_search, greedy
from langwright.model.sinusoid import sinusoids
from langwright.model.transformer2017 import MultiHead, Shape2017, Transformer2017

TINY = {
    "vocab_size": 24, "hidden_size": 32, "intermediate_size": 48, "num_layers": 3, "num_heads": 4,
    "context_length": 20,
}  # fmt: skip
SOURCE = torch.tensor([[5, 9, 3, 17, 8, 0, 0], [7, 4, 4, 20, 11, 6, 3]])
TARGET = torch.tensor([[1, 6, 6, 12, 2, 0], [1, 13, 3, 7, 22, 2]])


def make(seed: int = 0, **settings: object) -> Transformer2017:
    model = Transformer2017(Shape2017.build({**TINY, **settings}))
    model.initialise(seed)
    return model.eval()


def torchs(model: Transformer2017) -> nn.Transformer:
    """torch's stack with our weights; the norms that it adds behind each stack are taken out."""
    shape = model.shape
    stack = nn.Transformer(
        shape.hidden_size,
        shape.num_heads,
        shape.num_layers,
        shape.num_layers,
        shape.intermediate_size,
        shape.dropout,
        batch_first=True,
    ).eval()
    stack.encoder.norm = stack.decoder.norm = None

    def attention(theirs: nn.MultiheadAttention, ours: MultiHead) -> None:
        parts = (ours.q_proj, ours.k_proj, ours.v_proj)
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.load_state_dict(ours.o_proj.state_dict())

    with torch.no_grad():
        encoders = (stack.encoder.layers, model.encoder)
        for layers, own in (encoders, (stack.decoder.layers, model.decoder)):
            for theirs, ours in zip(layers, own, strict=True):
                attention(theirs.self_attn, ours.self_attn)
                if hasattr(ours, "cross_attn"):
                    attention(theirs.multihead_attn, ours.cross_attn)
                theirs.linear1.load_state_dict(ours.mlp.up_proj.state_dict())
                theirs.linear2.load_state_dict(ours.mlp.down_proj.state_dict())
                for index, norm in enumerate(ours.norms, start=1):
                    getattr(theirs, f"norm{index}").load_state_dict(norm.state_dict())
    return stack


def roughen(model: Transformer2017) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


def test_the_stacks_are_those_of_torch() -> None:
    torch.manual_seed(0)
    model = make()
    roughen(model)
    stack = torchs(model)
    length = TARGET.shape[1]
    with torch.no_grad():
        expected = stack(
            model.embed(SOURCE),
            model.embed(TARGET),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(length),
            src_key_padding_mask=SOURCE == 0,
            memory_key_padding_mask=SOURCE == 0,
            tgt_is_causal=True,
        )
        memory = model.encode(SOURCE)
        found, _ = model.decode(TARGET, memory, model.seen(SOURCE))
        assert (found - expected).abs().max() < 1e-5
        kept, looks = model.decode(TARGET, memory, model.seen(SOURCE), keep=True)
    assert (kept - found).abs().max() < 1e-5
    assert [one.shape for one in looks] == [(2, 4, 6, 7)] * 3
    assert torch.allclose(looks[0].sum(-1), torch.ones(2, 4, 6))
    assert looks[0][0, :, :, 5:].max() == 0  # the padding of the first source


def test_the_base_model_has_the_papers_size() -> None:
    """Table 3 says 65 million with a vocabulary of about 37,000."""
    with torch.device("meta"):
        model = Transformer2017(Shape2017(vocab_size=37_000))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 62e6 < count < 65.5e6
    assert count - 37_000 * 512 == 44_138_496  # 12 layers of the textbook's count, with biases


def test_positions_are_the_papers_and_shifts_are_rotations() -> None:
    table = sinusoids(200, 64)
    assert table[7, 10].item() == pytest.approx(math.sin(7 / 10_000 ** (10 / 64)), abs=1e-6)
    assert table[7, 11].item() == pytest.approx(math.cos(7 / 10_000 ** (10 / 64)), abs=1e-6)
    products = table @ table.T
    for shift in (1, 5, 60):  # they depend on the distance alone
        along = products.diagonal(shift)
        assert (along - along[0]).abs().max() < 1e-4


def test_padding_changes_nothing_and_nothing_sees_the_future() -> None:
    model = make()
    roughen(model)
    with torch.no_grad():
        whole = model(SOURCE, TARGET)
        alone = model(SOURCE[:1, :5], TARGET[:1, :5])
        assert (whole[:1, :5] - alone).abs().max() < 1e-5
        other = TARGET.clone()
        other[:, 4:] = 9
        assert torch.equal(model(SOURCE, other)[:, :4], whole[:, :4])


def test_label_smoothing_is_the_papers() -> None:
    """0.9 of the loss is the target's, 0.1 the mean over the vocabulary (Szegedy et al. 2015)."""
    model = make()
    with torch.no_grad():
        chances = model(SOURCE, TARGET[:, :-1]).log_softmax(-1)
        losses = []
        for row in range(2):
            for place, token in enumerate(TARGET[row, 1:].tolist()):
                if token:
                    own, mean = chances[row, place, token], chances[row, place].mean()
                    losses.append(-(0.9 * own + 0.1 * mean))
        expected = torch.stack(losses).mean()
        assert model.loss(SOURCE, TARGET).item() == pytest.approx(expected.item(), abs=1e-5)


def written_by_hand(model: Transformer2017, source: Tensor, limit: int) -> list[int]:
    ids = [1]
    while len(ids) <= limit:
        logits = model(source[None], torch.tensor([ids]))[0, -1]
        logits[[0, 1]] = -math.inf
        ids.append(int(logits.argmax()))
        if ids[-1] == 2:
            return ids[1:-1]
    return ids[1:]


def test_greedy_is_the_likeliest_each_time() -> None:
    for seed in range(4):
        torch.manual_seed(seed)
        model = make(seed)
        roughen(model)
        with torch.no_grad():
            expected = [written_by_hand(model, row, 9) for row in SOURCE]
        assert greedy(model, SOURCE, 9) == expected


def test_a_beam_of_everything_finds_the_best_of_all() -> None:
    torch.manual_seed(1)
    model = make(vocab_size=6, hidden_size=16, num_layers=1, context_length=8)
    roughen(model)
    source = torch.tensor([[3, 5, 4]])

    def value(ids: tuple[int, ...]) -> float:
        target = torch.tensor([[1, *ids, 2]])
        with torch.no_grad():
            logits = model(source, target[:, :-1])[0].log_softmax(-1)
        chance = sum(logits[place, token].item() for place, token in enumerate([*ids, 2]))
        return chance / ((5 + len(ids) + 1) / 6) ** 0.6

    words = [ids for size in range(4) for ids in itertools.product((3, 4, 5), repeat=size)]
    best = max(words, key=value)
    assert beam_search(model, source, 3, beams=200) == [list(best)]


@pytest.mark.parametrize(
    "settings", [{"num_heads": 5}, {"start_id": 0}, {"end_id": 24}, {"dropout": 1.0}]
)
def test_settings_that_make_no_model_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(BadSettings):
        make(**settings)
