"""From files to batches of tokens: read, normalise, split, shard, pack, mix."""

from langwright.text.clean import clean
from langwright.text.corpus import load_split, open_corpus
from langwright.text.document import Document
from langwright.text.mixing import Mixture, Source
from langwright.text.normalise import normalise
from langwright.text.packing import PackedRow, Packing
from langwright.text.quality import QualityClassifier, train_quality
from langwright.text.reader import read_documents
from langwright.text.shards import TokenShards, write_shards
from langwright.text.split import split
from langwright.text.tokenised import adopt_tokenizer, build_shards, build_tokenizer

__all__ = [
    "Document",
    "Mixture",
    "PackedRow",
    "Packing",
    "QualityClassifier",
    "Source",
    "TokenShards",
    "adopt_tokenizer",
    "build_shards",
    "build_tokenizer",
    "clean",
    "load_split",
    "normalise",
    "open_corpus",
    "read_documents",
    "split",
    "train_quality",
    "write_shards",
]
