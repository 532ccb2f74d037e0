"""The encoder as a Backend: texts to vectors."""

from __future__ import annotations

from collections.abc import Sequence

from langwright.backend import Capabilities, PartialBackend
from langwright.model.encoder import Encoder


class Embedder(PartialBackend):
    """Embeds with one encoder held in memory; it generates and scores nothing."""

    kind = "it is an encoder, which turns texts into vectors"
    instead = "Use a decoder, such as smollm2-135m-instruct."

    def __init__(self, encoder: Encoder, name: str = "encoder") -> None:
        super().__init__(name)
        self.encoder = encoder

    def capabilities(self) -> Capabilities:
        return Capabilities(
            generate=False, embed=True, tokenize=True, context_length=self.encoder.max_tokens
        )

    def embed(self, texts: Sequence[str], *, truncate: bool = False) -> list[list[float]]:
        """A vector for each text. One of more than `context_length` tokens raises `BadInput`, or is
        cut there where `truncate` says so."""
        vectors: list[list[float]] = self.encoder.encode(texts, truncate=truncate).tolist()
        return vectors

    def tokenize(self, text: str) -> list[int]:
        """The ids that the encoder reads, its two marks among them: as many as `context_length`
        counts."""
        (ids,) = self.encoder.whole_ids([text])
        return ids
