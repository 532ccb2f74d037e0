from __future__ import annotations

import json
import pickle
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from langwright.text.cleaning import (
    C4,
    Dropped,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Repair,
    Step,
)
from langwright.text.cleaning.words import SYMBOLS, count_sentences, split_words
from langwright.text.document import Document

# Ours, with the class and the reasons of datatrove; "<" and ">" where it names the two sides.
REASONS = {
    "gopher_num_words <": "gopher_short_doc",
    "gopher_num_words >": "gopher_long_doc",
    "gopher_mean_word_length <": "gopher_below_avg_threshold",
    "gopher_mean_word_length >": "gopher_above_avg_threshold",
    "gopher_hashes": "gopher_too_many_hashes",
    "gopher_ellipses": "gopher_too_many_ellipsis",
    "gopher_bullet_lines": "gopher_too_many_bullets",
    "gopher_ellipsis_lines": "gopher_too_many_end_ellipsis",
    "gopher_alphabetic_words": "gopher_below_alpha_threshold",
    "gopher_stop_words": "gopher_enough_stop_words",
    "gopher_empty": "empty",
    "gopher_repeated_paragraphs": "dup_para_frac",
    "gopher_repeated_paragraph_characters": "dup_para_char_frac",
    "gopher_repeated_lines": "dup_line_frac",
    "gopher_repeated_line_characters": "dup_line_char_frac",
    **{f"gopher_top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"gopher_repeated_{n}_grams": f"duplicated_{n}_n_grams" for n in range(5, 11)},
    "c4_lorem_ipsum": "lorem_ipsum",
    "c4_curly_bracket": "curly_bracket",
    "c4_num_sentences": "too_few_sentences",
    "fineweb_empty": "empty",
    "fineweb_lines_with_end_mark": "line_punct_ratio",
    "fineweb_short_lines": "short_line_ratio",
    "fineweb_repeated_lines": "char_dup_ratio",
    "fineweb_line_ends": "list_ratio",
}
STEPS: dict[str, Step] = {
    "GopherQualityFilter": GopherQuality(),
    "GopherRepetitionFilter": GopherRepetition(),
    "C4QualityFilter": C4(),
    "FineWebQualityFilter": FineWebQuality(),
}


def strings(path: Path) -> list[str]:
    """All texts of 200 characters or more in a file of JSON or of JSON lines, cut at 1,200."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value[:1200]
        elif isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                yield from walk(part)

    text = path.read_text("utf-8")
    rows = [json.loads(text)] if path.suffix == ".json" else map(json.loads, text.splitlines())
    return [found for row in rows for found in walk(row) if len(found) >= 200]


def real_documents(data: Path) -> list[str]:
    """1,000 texts in a fixed order: web pages, articles, books, dialogues, sums and code."""
    demo = data / "llamafactory_demo"
    texts = [json.loads(line)["text"] for line in (demo / "c4_demo.jsonl").open("rb")]
    assert len(texts) == 300
    for file, number in (
        ("contextual_code_rag/evaluation_set.jsonl", 180),
        ("gsm8k/train.jsonl", 100),
        ("oasst/en_100_tree.jsonl", 80),
        ("llamafactory_demo/dpo_en_demo.json", 40),
        ("llamafactory_demo/kto_en_demo.json", 40),
        ("llamafactory_demo/alpaca_en_demo.json", 40),
        ("llamafactory_demo/glaive_toolcall_en_demo.json", 20),
        ("hh_rlhf/harmless_a.jsonl", 50),
        ("llm_foundry_eval/language_understanding/lambada_openai.jsonl", 30),
    ):
        found = strings(data / file)
        texts += found[:: len(found) // number][:number]
    for file, number in (
        ("books/ulysses.md", 20),
        ("books/sherlock.txt", 20),
        ("llamafactory_demo/wiki_demo.txt", 30),
        ("wikitext2/valid.txt", 30),
        ("tinyshakespeare/input.txt", 10),
        ("names/names.txt", 10),
    ):
        text = (data / file).read_text("utf-8")
        step = len(text) // number
        texts += [text[start : start + 1200] for start in range(0, step * number, step)]
    assert len(texts) == 1000
    return texts


def reason(dropped: Dropped) -> str:
    sign = "<" if "<" in dropped.detail else ">"
    return REASONS.get(dropped.rule) or REASONS[f"{dropped.rule} {sign}"]


@pytest.fixture(scope="module")
def peer() -> Callable[[str, str], tuple[str, str]]:
    """datatrove's decision: why the text is dropped, or "", and the text that it leaves."""
    filters = pytest.importorskip(
        "datatrove.pipeline.filters", reason="datatrove, the reference of the rules, is missing"
    )
    pytest.importorskip("spacy", reason="spacy, which datatrove splits words with, is missing")
    from datatrove.data import Document as Other

    built = {name: getattr(filters, name)() for name in STEPS}

    def decide(name: str, text: str) -> tuple[str, str]:
        document = Other(text=text, id="0")
        result = built[name].filter(document)
        return ("" if result is True else result[1]), document.text

    return decide


def ours(name: str, text: str) -> tuple[str, str]:
    result = STEPS[name](Document(text, "here"))
    return (reason(result), text) if isinstance(result, Dropped) else ("", result.text)


def test_decisions_and_texts_equal_datatrove_on_real_documents(
    data: Path, peer: Callable[[str, str], tuple[str, str]]
) -> None:
    seen: Counter[str] = Counter()
    for text in real_documents(data):
        for name in STEPS:
            expected = peer(name, text)
            assert ours(name, text) == expected, (name, text[:200])
            seen[f"{name} {expected[0]}".strip()] += 1
    for name, count in sorted(seen.items()):
        print(f"{count:5} {name}")  # shown by -rP
    for name in STEPS:
        assert 100 < seen[name] < 950


def test_words_and_sentences_equal_spacy(data: Path) -> None:
    pytest.importorskip("datatrove", reason="datatrove, the reference of the rules, is missing")
    from datatrove.utils.text import PUNCTUATION_SET, split_into_sentences, split_into_words

    assert SYMBOLS == PUNCTUATION_SET
    for text in real_documents(data)[::8]:
        assert split_words(text) == split_into_words(text)
        for line in filter(None, map(str.strip, text.splitlines()[:10])):
            assert count_sentences(line) == len(split_into_sentences(line)), line


def test_addresses_of_hosts_equal_spacy() -> None:
    """An address stays whole where a host on the Internet may have it, and is cut elsewhere."""
    pytest.importorskip("datatrove", reason="datatrove, the reference of the rules, is missing")
    from datatrove.utils.text import split_into_words

    dice = random.Random(0)
    edges = ["007", "01", *map(str, (0, 1, 9, 10, 16, 31, 32, 99, 127, 168, 169, 172, 192, 223))]
    edges += map(str, (224, 250, 254, 255, 256))
    for _ in range(2000):
        address = ".".join(dice.choice([*edges, str(dice.randrange(300))]) for _ in range(4))
        address = dice.choice(["http://", "git://", "", "a@"]) + address + dice.choice(["", "/x-y"])
        assert split_words(address) == split_into_words(address), address


def grown(phrase: str, times: int) -> str:
    """A phrase again and again, with a different word behind each."""
    return "".join(f" {phrase} {chr(97 + i) * 2}" for i in range(times))


def echo(n: int, share: float) -> str:
    """Words of 6 letters, of whose characters `share` are in n words that were there before."""
    num_words = round(60 * n / (7 * share))
    words = [f"w{i:05}" for i in range(num_words)]
    for phrase in range(10):
        place = 2 * phrase * (n + 1)
        words[place + n + 1 : place + 2 * n + 1] = words[place : place + n]
    return " ".join(words)


PROSE = (
    "The harbour was quiet that morning, and the boats lay still with their sails down. "
    "Nobody had seen the old man since Tuesday. People began to ask where he might be.\n"
    "His sister walked to the lighthouse with a lantern; she knew every stone of the path. "
    "It was said that he would have gone there to mend his nets, far from the noise of town. "
    "When she came back at noon, her face told them everything."
)
FIRST, SECOND = PROSE.split("\n")
# For each rule a text that it drops and a text, as near as may be, that its step keeps.
RULES = [
    ("gopher_num_words", " ".join(PROSE.split()[:48]), " ".join(PROSE.split()[:51])),
    ("gopher_num_words", f"{PROSE} " * 1300, f"{PROSE} " * 100),
    ("gopher_mean_word_length", "to be of it a " * 12, "to be of it and the boat sailed " * 12),
    (
        "gopher_mean_word_length",
        "unconstitutionality of the misunderstandings " * 40,
        "constitution of the misunderstandings " * 40,
    ),
    ("gopher_hashes", PROSE + " #" * 12, PROSE + " #" * 9),
    ("gopher_ellipses", PROSE.replace(" ", "... ", 15), PROSE.replace(" ", "... ", 9)),
    ("gopher_bullet_lines", f"- {FIRST}\n  • {SECOND}", f"- {FIRST}\n{SECOND}"),
    ("gopher_ellipsis_lines", f"{FIRST}..\n{SECOND}", f"{FIRST}\n" * 3 + f"{SECOND}…"),
    ("gopher_alphabetic_words", PROSE + " 2000" * 16, PROSE + " 2000" * 8),
    ("gopher_stop_words", "the quiet boats lay there " * 20, "the boats and their sails " * 20),
    ("gopher_empty", "", PROSE),
    ("gopher_repeated_paragraphs", "a\n\n" * 3 + PROSE, "a\n\n" * 2 + "b\n\n" + PROSE),
    (
        "gopher_repeated_paragraph_characters",
        "\n\n".join([SECOND, PROSE, SECOND, "One.", "Two."]),
        "\n\n".join([SECOND, PROSE, "Nothing.", "One.", "Two."]).replace(SECOND, "", 1),
    ),
    ("gopher_repeated_lines", "a\n" * 3 + PROSE, "a\n" * 2 + PROSE),
    (
        "gopher_repeated_line_characters",
        "\n".join([FIRST, SECOND, FIRST, "One."]),
        "\n".join([FIRST, SECOND, "One.", "One."]),
    ),
    ("gopher_top_2_gram", PROSE + " wide seas" * 12, PROSE + " wide seas" * 3),
    ("gopher_top_3_gram", PROSE + grown("wide blue seas", 12), PROSE + grown("wide blue seas", 3)),
    ("gopher_top_4_gram", PROSE + grown("as if to go", 12), PROSE + grown("as if to go", 3)),
    *(
        (f"gopher_repeated_{n}_grams", echo(n, 0.205 - n / 100), echo(n, 0.195 - n / 100))
        for n in range(5, 11)
    ),
    ("c4_lorem_ipsum", PROSE + " Lorem Ipsum was all.", PROSE + " Lorem and ipsum were all."),
    ("c4_curly_bracket", PROSE + " {Here}.", PROSE + "\n{Here}"),
    ("c4_num_sentences", "Now he sat down. " * 4, "Now he sat down. " * 5),
    ("fineweb_empty", " \n\t\n", PROSE),
    ("fineweb_lines_with_end_mark", FIRST[:-1] + "\nand" * 8, FIRST + "\n" + SECOND[:-1]),
    ("fineweb_short_lines", "He went.\nShe went.\nAll went.", f"He went.\nShe went.\n{FIRST}"),
    ("fineweb_repeated_lines", f"{FIRST}\n{SECOND}\n{FIRST}", PROSE),
    ("fineweb_line_ends", "\n\n".join(FIRST.split(". ")) + "\n" * 12, PROSE),
]


def step_of(rule: str) -> str:
    if rule.startswith("c4"):
        return "C4QualityFilter"
    if rule.startswith("fineweb"):
        return "FineWebQualityFilter"
    repetition = re.search("empty|repeated|_top_", rule)
    return "GopherRepetitionFilter" if repetition else "GopherQualityFilter"


@pytest.mark.parametrize(("rule", "failing", "passing"), RULES)
def test_each_rule_drops_one_text_and_keeps_its_neighbour(
    rule: str, failing: str, passing: str, peer: Callable[[str, str], tuple[str, str]]
) -> None:
    name = step_of(rule)
    dropped = STEPS[name](Document(failing, "here"))
    assert isinstance(dropped, Dropped)
    assert dropped.rule == rule
    assert isinstance(STEPS[name](Document(passing, "here")), Document), passing
    for text in (failing, passing):
        assert ours(name, text) == peer(name, text)


def test_every_rule_has_its_two_texts() -> None:
    assert {rule for rule, _, _ in RULES} == {name.split()[0] for name in REASONS}


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("A line without an end mark", None),
        ("A line that trails off...", None),
        ("Two words.", None),
        ("Three words here.", "Three words here."),
        (f"One word is too {'l' * 1001}ong.", None),
        (f"One word is just {'l' * 1000}", None),
        (f"One word is just {'l' * 999}.", f"One word is just {'l' * 999}."),
        ("Please enable JavaScript to read on.", None),
        ("Read our Privacy Policy before you go.", None),
        ("This site uses cookies for its work.", None),
        ("It rained[12] all day[citation needed].", "It rained all day."),
        ('  "Is it?"  ', None),
        ('  "Is that really so?"  ', '"Is that really so?"'),
    ],
)
def test_lines_of_c4(
    line: str, left: str | None, peer: Callable[[str, str], tuple[str, str]]
) -> None:
    text = f"{line}\n{PROSE}"
    expected = PROSE if left is None else f"{left}\n{PROSE}"
    assert ours("C4QualityFilter", text) == ("", expected) == peer("C4QualityFilter", text)


def test_the_detail_names_the_value_and_the_threshold() -> None:
    dropped = GopherQuality()(Document("Too short.", "here"))
    assert dropped == Dropped("gopher_num_words", "2 < 50")
    dropped = GopherQuality()(Document("to be of it a " * 12, "here"))
    assert dropped == Dropped("gopher_mean_word_length", "1.8 < 3")


def test_repair_mends_what_is_broken_and_nothing_else() -> None:
    pytest.importorskip("ftfy")
    for broken, whole in (
        ("schÃ¶n", "schön"),
        ("itâ€™s", "it’s"),
        (
            "The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.",
            "The Mona Lisa doesn’t have eyebrows.",
        ),
    ):
        assert Repair()(Document(broken, "here", title="kept")) == Document(whole, "here", "kept")
    for whole in (
        "“quoted” ‘so’",
        "ﬁne ＡＢＣ",
        "a &amp; b",
        "a\r\nb\x00",
        "e\u0301",
        "日本語",
        "",
    ):
        document = Document(whole, "here")
        assert Repair()(document) is document


@pytest.mark.parametrize("step", [*STEPS.values(), Repair()], ids=lambda step: step.name)
def test_steps_travel_to_other_processes_and_say_where_they_are_from(step: Step) -> None:
    assert pickle.loads(pickle.dumps(step)) == step
    assert step.name
    assert step.source


HOSTILE = {
    "one word": "a" * 1_000_000,
    "line ends": "\n" * 1_000_000,
    "blanks": " " * 1_000_000,
    "dots": "." * 1_000_000,
    "brackets": "(" * 1_000_000,
    "pieces of brackets": ("(" * 999 + " ") * 1000,
    "pieces of addresses": ("a@a." * 249 + " ") * 1000,
    "dots between": ("a.a." * 249 + "A ") * 1000,
    "lines": "a.\n" * 333_333,
    "different words": " ".join(map(str, range(150_000))),
    "long words": " ".join(str(i) * 150 for i in range(1_000)),
    "same sentence": "Here it is. " * 83_333,
    "citations": "[" * 1_000_000,
    "twice the same": " ".join(map(str, range(75_000))) * 2,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_megabyte_of_anything_takes_seconds(kind: str) -> None:
    text = HOSTILE[kind]
    started = time.perf_counter()
    for step in STEPS.values():
        step(Document(text, "here"))
    assert time.perf_counter() - started < 10
