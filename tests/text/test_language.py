"""Languages: real sentences of many, and whole documents of English."""

from __future__ import annotations

import ast
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from langwright.errors import BadSettings, Unsupported
from langwright.store import Store
from langwright.text import language, read_documents
from langwright.text.clean import clean
from langwright.text.cleaning import Dropped
from langwright.text.document import Document
from langwright.text.language import Language, language_probabilities

pytest.importorskip("py3langid", reason="the extra 'text' is not installed")

# Those of spaCy's example sentences that are in a language of their own among the 139.
LANGUAGES = (
    "am", "ar", "az", "bn", "ca", "cs", "da", "de", "el", "es", "eu", "fa", "fi", "fr", "grc",
    "gu", "he", "hi", "hr", "ht", "hu", "hy", "id", "it", "ja", "kn", "ko", "ky", "la", "lb", "lg",
    "lij", "lt", "ml", "ms", "ne", "nl", "nn", "pl", "pt", "ro", "ru", "sa", "si", "sk", "sl",
    "sq", "sr", "sv", "ta", "te", "tr", "tt", "uk", "ur", "vi", "yo",
)  # fmt: skip


def sentences_of(code: str) -> list[str]:
    """spaCy's examples; read, not imported, which would take seconds."""
    spacy = find_spec("spacy")
    if spacy is None or spacy.origin is None:
        pytest.skip("spacy, whose example sentences these are, is not installed")
    source = Path(spacy.origin).with_name("lang") / code / "examples.py"
    statement = ast.parse(source.read_text("utf-8")).body[-1]
    assert isinstance(statement, ast.Assign)
    found: list[str] = ast.literal_eval(statement.value)
    return found


def keeps(step: Language, text: str) -> bool:
    return not isinstance(step(Document(text, "test")), Dropped)


def test_real_sentences_of_57_languages_are_told_apart() -> None:
    """Some 100 characters or more: all are told, and none is taken for another of them."""
    assert len(LANGUAGES) == 57
    for code in LANGUAGES:
        probabilities = language_probabilities("\n".join(sentences_of(code)))
        assert next(iter(probabilities)) == code
        assert probabilities[code] >= 0.5
        assert all(probabilities[other] < 0.5 for other in LANGUAGES if other != code)


@pytest.mark.parametrize(
    ("file", "least"),
    [("c4", 0.98), ("wikitext", 0.99), ("xquad", 0.99), ("gsm8k", 1), ("books", 1)],
)
def test_english_stays_and_nothing_of_it_is_german(data: Path, file: str, least: float) -> None:
    if file == "c4":
        rows = (data / "llamafactory_demo" / "c4_demo.jsonl").read_text("utf-8").splitlines()
        texts = [json.loads(row)["text"] for row in rows]
    elif file == "wikitext":
        lines = (data / "wikitext2" / "valid.txt").read_text("utf-8").split("\n")
        texts = [line for line in lines if len(line) > 200][::5]
    elif file == "xquad":
        articles = json.loads((data / "xquad" / "xquad.en.json").read_text("utf-8"))["data"]
        texts = [part["context"] for article in articles for part in article["paragraphs"]]
    elif file == "gsm8k":
        rows = (data / "gsm8k" / "train.jsonl").read_text("utf-8").splitlines()[:300]
        texts = [json.loads(row)["question"] for row in rows]
    else:
        texts = [path.read_text("utf-8") for path in (data / "books").iterdir()]
    english, german = Language(("en",)), Language(("de",))
    assert sum(keeps(english, text) for text in texts) >= least * len(texts)
    assert not any(keeps(german, text) for text in texts)


def test_what_is_no_language_is_kept_by_none(data: Path) -> None:
    names = (data / "names" / "names.txt").read_text("utf-8")
    numbers = "\n".join(str(number**7) for number in range(500))
    for text in (names, numbers, "", "!!! ??? ...", "3.14159 2.71828", "\U0001f642" * 50):
        found = Language(("en", "de", "fr", "zh"))(Document(text, "test"))
        assert isinstance(found, Dropped)
        assert re.fullmatch(r"en\+de\+fr\+zh \S+ < 0\.5; \w+ \S+", found.detail)


def test_a_long_text_is_judged_by_its_beginning_and_its_middle() -> None:
    english = "The quick brown fox jumps over the lazy dog, and then it goes home again. " * 14
    german = "Der schnelle braune Fuchs springt über den faulen Hund und geht nach Hause. " * 14
    assert len(english) > 1000 < len(german)
    assert keeps(Language(("en",)), english * 10 + german * 4)
    middle_alone = english[:1000] + german * 9
    probability = language_probabilities(middle_alone)
    text = f"{english[:1000]}\n{middle_alone[(len(middle_alone) - 1000) // 2 :][:1000]}"
    assert probability == language_probabilities(text)
    # Up to 2,000 characters nothing is left out.
    short = english[:1000] + german[:1000]
    assert language_probabilities(short) != language_probabilities(short[:1500])


def test_languages_add_up_and_one_named_twice_counts_once() -> None:
    text = "Hvordan går det med deg i dag? Det går bra."
    norwegian = language_probabilities(text)
    both = Language(("no", "nn", "da"), min_probability=1.0)(Document(text, "test"))
    assert isinstance(both, Dropped)
    total = norwegian["no"] + norwegian["nn"] + norwegian["da"]
    assert f"{total:.2g} < 1" in both.detail
    half = Language(("no", "no", "no"), min_probability=norwegian["no"] + 1e-6)
    assert isinstance(half(Document(text, "test")), Dropped)


def test_the_step_is_pure_and_goes_to_other_processes() -> None:
    step = Language(("en",))
    document = Document("This is a sentence of plain English words.", "test")
    assert step(document) is document
    assert pickle.loads(pickle.dumps(step)) == step


def test_an_unknown_code_is_named() -> None:
    with pytest.raises(BadSettings, match="'english'"):
        Language(("en", "english"))


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    language._classifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(Unsupported, match=r"langwright\[text\]"):
        Language(("en",))


def german_and_english(path: Path) -> Path:
    german = [f"{text} Das schreibe ich hier auf Deutsch hin." for text in sentences_of("de")]
    english = [f"This is number {n}; write to person{n}@example.org about it." for n in range(12)]
    rows = [json.dumps({"text": text}) + "\n" for text in [*german, *english]]
    path.write_text("".join(rows), "utf-8")
    return path


def test_clean_keeps_the_languages_that_are_asked_for(tmp_path: Path, store: Store) -> None:
    pile = str(german_and_english(tmp_path / "pile.jsonl"))
    steps = ["normalise", "language", "pii"]
    found = clean([pile], "en", steps=steps, languages=["en"], store=store, processes=1)
    texts = [document.text for document in read_documents(store.path(store.get("en")))]
    assert texts == [f"This is number {n}; write to <EMAIL> about it." for n in range(12)]
    assert [step["changed"] for step in found["funnel"]] == [0, 0, 12]
    (rule,) = found["funnel"][1]["rules"]
    assert rule["rule"] == "language"
    assert all("; de " in example["detail"] for example in rule["examples"])
    assert store.get("en").settings["languages"] == ["en"]
    both = clean(
        [pile], "both", steps=["language"], languages=["en", "de"], store=store, processes=1
    )
    assert both["documents"] == both["documents_in"] == found["documents_in"]


def test_a_step_and_its_setting_go_together(tmp_path: Path, store: Store) -> None:
    pile = str(tmp_path / "pile.jsonl")
    for name in ("language", "quality"):
        with pytest.raises(BadSettings, match=f"'{name}' does not know what to keep"):
            clean([pile], "x", steps=[name], store=store)
    with pytest.raises(BadSettings, match="There is --language, but --steps has no 'language'"):
        clean([pile], "x", steps=["normalise"], languages=["de"], store=store)
    with pytest.raises(BadSettings, match="'klingon'"):
        clean([pile], "x", languages=["klingon"], store=store)


def test_the_program_cleans_by_language_on_two_processes(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """The steps find their way to other processes, and `language` has its place among all."""
    pytest.importorskip("ftfy")
    english = (
        "Everyone knows that this is the house of the king, and of those who have come to be with "
        "him. We were there, and the people of the village saw it too. There was no one else. It "
        "was late, and the wind had gone. Nobody came to the gate that night but an old woman "
        "with a lamp. She looked at us for a long time and said nothing."
    )
    german = "Alle wissen das, und die Leute im Dorf sagen es auch. Niemand kam. Es war schon spät."
    pile = tmp_path / "pile.jsonl"
    rows = [json.dumps({"text": text}) + "\n" for text in (english, german)]
    pile.write_text("".join(rows), "utf-8")
    program = start(
        "clean", str(pile), "--name", "tidy", "--language", "en", "--language", "fr",
        "--steps", "repair,normalise,language,gopher_quality,minhash,pii", "--processes", "2",
        "--json",
    )  # fmt: skip
    answer, errors = program.communicate(timeout=120)
    assert program.returncode == 0, errors
    found = json.loads(answer)
    assert [step["name"] for step in found["funnel"]] == [
        "repair", "normalise", "language", "gopher_quality", "minhash", "pii"
    ]  # fmt: skip
    assert found["documents"] == 1
    (rule,) = found["funnel"][2]["rules"]
    assert rule["examples"][0]["detail"].startswith("en+fr ")
