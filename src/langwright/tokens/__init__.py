"""Tokenizers and the chat template."""

from langwright.tokens.bpe import END_OF_TEXT, SPECIAL_TOKENS, TURN_END
from langwright.tokens.gguf_fields import cutting, gguf_fields
from langwright.tokens.gguf_vocabulary import tokenizer_from_gguf
from langwright.tokens.json_tokenizer import JsonTokenizer, read_tokenizer
from langwright.tokens.known import KNOWN, RankTokenizer, encoding_for, read_known
from langwright.tokens.messages import Messages, Tools, is_empty, taught
from langwright.tokens.speech import Said, Speech, marks
from langwright.tokens.speech_form import THINK, CallForm, SpeechForm, speech_form
from langwright.tokens.splits import SPLITS
from langwright.tokens.template import CHATML, TRAINING_DAY, ChatTemplate
from langwright.tokens.tokenizer import Tokenizer
from langwright.tokens.train import train_bpe, train_tokenizer
from langwright.tokens.words import count_words

__all__ = [
    "CHATML",
    "END_OF_TEXT",
    "KNOWN",
    "SPECIAL_TOKENS",
    "SPLITS",
    "THINK",
    "TRAINING_DAY",
    "TURN_END",
    "CallForm",
    "ChatTemplate",
    "JsonTokenizer",
    "Messages",
    "RankTokenizer",
    "Said",
    "Speech",
    "SpeechForm",
    "Tokenizer",
    "Tools",
    "count_words",
    "cutting",
    "encoding_for",
    "gguf_fields",
    "is_empty",
    "marks",
    "read_known",
    "read_tokenizer",
    "speech_form",
    "taught",
    "tokenizer_from_gguf",
    "train_bpe",
    "train_tokenizer",
]
