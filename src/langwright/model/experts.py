"""A feed-forward of many experts, of which a router gives each token a few."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from langwright.model.architecture import Architecture
from langwright.model.mlp import FeedForward


class Experts(nn.Module):
    """The sum of a token's experts, each times the router's share for it (Shazeer et al. 2017,
    "Outrageously Large Neural Networks"; the softmax before the choice, as Qwen 3 has it).

    Legend: N tokens, E hidden_size, X num_experts, K experts_per_token, M tokens of one expert.
    """

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.per_token, self.whole = shape.experts_per_token, shape.norm_topk_prob
        self.gate = nn.Linear(shape.hidden_size, shape.num_experts, bias=False)
        self.experts = nn.ModuleList(
            FeedForward(shape, shape.expert_size) for _ in range(shape.num_experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        x_NE = x.flatten(0, -2)
        shares_NK, chosen_NK = self.choose(x_NE)
        y_NE = torch.zeros_like(x_NE)
        for number in chosen_NK.unique().tolist():
            tokens_M, places_M = (chosen_NK == number).nonzero(as_tuple=True)
            share_M1 = shares_NK[tokens_M, places_M, None]
            y_ME = self.experts[number](x_NE[tokens_M]) * share_M1.to(x.dtype)
            y_NE = y_NE.index_add(0, tokens_M, y_ME.to(x.dtype))
        return y_NE.view_as(x)

    def choose(self, x_NE: Tensor) -> tuple[Tensor, Tensor]:
        """Each token's experts, [N, K], and their shares in float32; with `norm_topk_prob` these
        add up to one."""
        shares_NX = self.gate(x_NE).softmax(-1, dtype=torch.float32)
        shares_NK, chosen_NK = shares_NX.topk(self.per_token)
        if self.whole:
            shares_NK = shares_NK / shares_NK.sum(-1, keepdim=True)
        return shares_NK, chosen_NK
