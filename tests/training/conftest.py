from __future__ import annotations

import json
import random

import pytest

WORDS = "the a red blue old new fox dog sees finds and not quick lazy where then it was"


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of 200 documents of a few words, which a small model learns in some dozen steps."""
    path = tmp_path_factory.mktemp("words") / "words.jsonl"
    draw, known = random.Random(0), WORDS.split()
    lines = [{"text": " ".join(draw.choices(known, k=draw.randint(5, 60)))} for _ in range(200)]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return str(path)
