"""Models by name: what `load` finds, the handle it returns, and the verbs on top of it."""

from langwright.providers.bench import bench
from langwright.providers.conversation import Conversation
from langwright.providers.cost import cost
from langwright.providers.describe import describe
from langwright.providers.handle import Generation, Model, Score
from langwright.providers.inspect import inspect
from langwright.providers.open import load_tokenizer, open_encoder, open_model
from langwright.providers.options import Options
from langwright.providers.verbs import chat, embed, generate, neighbours, next_tokens, score, tokens

__all__ = [
    "Conversation",
    "Generation",
    "Model",
    "Options",
    "Score",
    "bench",
    "chat",
    "cost",
    "describe",
    "embed",
    "generate",
    "inspect",
    "load_tokenizer",
    "neighbours",
    "next_tokens",
    "open_encoder",
    "open_model",
    "score",
    "tokens",
]
