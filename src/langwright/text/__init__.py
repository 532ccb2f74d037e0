"""From files to batches of tokens: read, normalise, split, shard, window."""

from langwright.text.corpus import load_split, open_corpus
from langwright.text.document import Document
from langwright.text.normalise import normalise
from langwright.text.reader import read_documents
from langwright.text.shards import TokenShards, write_shards
from langwright.text.split import split
from langwright.text.tokenised import build_shards, build_tokenizer
from langwright.text.windows import Windows

__all__ = [
    "Document",
    "TokenShards",
    "Windows",
    "build_shards",
    "build_tokenizer",
    "load_split",
    "normalise",
    "open_corpus",
    "read_documents",
    "split",
    "write_shards",
]
