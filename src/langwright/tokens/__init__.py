"""Tokenizers and the chat template."""

from langwright.tokens.bpe import END_OF_TEXT, TURN_END, train_bpe
from langwright.tokens.gguf_vocabulary import tokenizer_from_gguf
from langwright.tokens.template import CHATML, ChatTemplate, Messages
from langwright.tokens.tokenizer import Tokenizer

__all__ = [
    "CHATML",
    "END_OF_TEXT",
    "TURN_END",
    "ChatTemplate",
    "Messages",
    "Tokenizer",
    "tokenizer_from_gguf",
    "train_bpe",
]
