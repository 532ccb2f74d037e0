"""Every kind of tokenizer: trained here, read from files of others, and what comes back."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Core
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from langwright.errors import BadInput, BadSettings
from langwright.tokens import END_OF_TEXT, SPLITS, JsonTokenizer, read_tokenizer, train_tokenizer
from langwright.tokens.spelling import BYTE_TOKENS, MARK
from langwright.tokens.train import Kind

LOSSLESS = ("bpe", "sentencepiece", "character")
SAMPLE = "Hello  wörld, 你好 🙂\n\n\tx don't 1234 <|endoftext|> <0x41> [UNK] e\u0301  "
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=12).filter(lambda text: MARK not in text),
        st.sampled_from([" ", "  ", "\n", "\t ", "the ", "don't", "1234", "é", "你好", "🙂"]),
    ),
    max_size=10,
).map("".join)


ARTICLE_1 = [
    "All human beings are born free and equal in dignity and rights.",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "人人生而自由，在尊严和权利上一律平等。",
    "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
]
"""The first sentence of the Universal Declaration of Human Rights."""


@pytest.fixture(scope="session")
def languages(data: Path) -> list[str]:
    """One sentence in eleven languages, English questions and English prose."""
    found = list(ARTICLE_1)
    for path in sorted((data / "xquad").glob("*.json")):
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        found += [part["context"] for article in articles[:8] for part in article["paragraphs"]]
    text = (data / "wikitext2" / "valid.txt").read_text(encoding="utf-8")
    return found + [text[start : start + 5_000] for start in range(0, 500_000, 5_000)]


@pytest.fixture(scope="session")
def trained(languages: list[str]) -> dict[str, JsonTokenizer]:
    return {kind: train_tokenizer(kind, languages, 3_000) for kind in get_args(Kind)}


@pytest.fixture(scope="session")
def theirs(
    trained: dict[str, JsonTokenizer], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, PreTrainedTokenizerFast]:
    """transformers' reading of what was saved."""
    folder = tmp_path_factory.mktemp("saved")
    found = {}
    for kind, tokenizer in trained.items():
        tokenizer.save(folder / f"{kind}.json")
        found[kind] = PreTrainedTokenizerFast(tokenizer_file=str(folder / f"{kind}.json"))
    return found


@pytest.mark.parametrize("kind", get_args(Kind))
def test_ids_and_decoding_equal_those_of_transformers(
    trained: dict[str, JsonTokenizer],
    theirs: dict[str, PreTrainedTokenizerFast],
    languages: list[str],
    kind: str,
) -> None:
    ours, other = trained[kind], theirs[kind]
    assert ours.vocab_size == 3_000 or kind == "character"
    rows = ours.encode_batch(languages[::5])
    for text, ids in zip(languages[::5], rows, strict=True):
        assert ids == other.encode(text, add_special_tokens=False)
        assert ours.decode(ids) == other.decode(ids, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_kinds_give_back_every_text(trained: dict[str, JsonTokenizer], kind: str) -> None:
    tokenizer = trained[kind]
    assert tokenizer.lossless

    @settings(max_examples=150, deadline=None)
    @given(TEXTS)
    def holds(text: str) -> None:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()

    holds()


@pytest.mark.parametrize("kind", ["wordpiece", "word"])
def test_kinds_of_words_say_that_they_lose(trained: dict[str, JsonTokenizer], kind: str) -> None:
    tokenizer = trained[kind]
    assert not tokenizer.lossless
    unknown = tokenizer.encode("[UNK]", allow_special=True)
    assert "[UNK]" in tokenizer.decode(tokenizer.encode("\U0001f9ff"))
    assert unknown  # it is no special token of ours, and stays text
    text = tokenizer.decode(tokenizer.encode("the  United\nStates"))
    assert text == "the United States"


@pytest.mark.parametrize("kind", get_args(Kind))
def test_no_text_summons_a_special_token(trained: dict[str, JsonTokenizer], kind: str) -> None:
    tokenizer = trained[kind]
    assert not set(tokenizer.encode(SAMPLE)) & set(tokenizer.special.values())
    allowed = tokenizer.encode(f"a{END_OF_TEXT}b", allow_special=True)
    assert allowed.count(tokenizer.special[END_OF_TEXT]) == 1


@pytest.mark.parametrize("kind", [*LOSSLESS, "word"])
def test_training_is_repeatable_and_saving_changes_nothing(
    languages: list[str], tmp_path: Path, kind: Kind
) -> None:
    one, other = (train_tokenizer(kind, languages[:60], 700) for _ in range(2))
    assert one.fingerprint == other.fingerprint
    one.save(tmp_path / "tokenizer.json")
    again = read_tokenizer(tmp_path / "tokenizer.json")
    assert (again.fingerprint, again.lossless) == (one.fingerprint, one.lossless)
    assert again.encode(SAMPLE) == one.encode(SAMPLE)


def test_characters_are_the_commonest_and_others_are_bytes() -> None:
    tokenizer = train_tokenizer("character", ["aabbbcd"], 256 + 3 + 2)
    assert [tokenizer.token_bytes(token) for token in (256, 257)] == [b"a", b"b"]
    assert tokenizer.encode("abc") == [256, 257, ord("c")]


@pytest.mark.parametrize("split", ["gpt2", "llama3", "qwen2"])
def test_byte_level_bpe_is_cut_by_the_named_pattern(languages: list[str], split: Any) -> None:
    tokenizer = train_tokenizer("bpe", languages[:60], 1_000, split=split)
    assert tokenizer.spec["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] == SPLITS[split]


@pytest.mark.parametrize(
    ("kind", "size", "split", "error"),
    [
        ("bpe", 258, "qwen2", BadInput),
        ("sentencepiece", 258, "qwen2", BadInput),
        ("character", 258, "qwen2", BadInput),
        ("word", 3, "qwen2", BadInput),
        ("bpes", 1_000, "qwen2", BadSettings),
        ("bpe", 1_000, "cl100k", BadSettings),
        ("word", 1_000, "gpt2", BadSettings),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    kind: Any, size: int, split: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        train_tokenizer(kind, ["some text"], size, split=split)


def bpe_of_sentencepiece(texts: list[str], **options: Any) -> tuple[Any, dict[str, Any]]:
    """A BPE model trained by sentencepiece, and its `tokenizer.json`: a merge for each way to make
    a piece of two, the best pieces first (as transformers converts it)."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=1_200,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=0.99,
        minloglevel=2,
        **options,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(index) for index in range(processor.vocab_size())]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    merges = []
    for piece, index in vocabulary.items():
        if piece in BYTE_TOKENS or processor.is_control(index):
            continue
        cuts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        ways = [cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary]
        merges += [(index, vocabulary[one], vocabulary[two], (one, two)) for one, two in ways]
    core = Core(
        models.BPE(
            vocabulary,
            [way for *_, way in sorted(merges)],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    steps: list[Any] = [normalizers.Replace(" ", MARK)]
    undo: list[Any] = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if options["add_dummy_prefix"]:
        steps.insert(0, normalizers.Prepend(MARK))
        undo.append(decoders.Strip(" ", 1, 0))
    core.normalizer = normalizers.Sequence(steps)
    core.decoder = decoders.Sequence(undo)
    spec = json.loads(core.to_str())
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    spec["added_tokens"] = [
        {"id": index, "content": name, "special": True, **plain}
        for index, name in enumerate(["<unk>", "<s>", "</s>"])
    ]
    return processor, spec


@pytest.mark.parametrize("prefix", [False, True], ids=["gemma", "llama2"])
def test_ids_equal_those_of_sentencepiece(languages: list[str], prefix: bool) -> None:
    lines = [line for text in languages for line in text.splitlines() if line]
    theirs, spec = bpe_of_sentencepiece(lines, add_dummy_prefix=prefix)
    ours = JsonTokenizer(spec)
    assert ours.lossless
    for text in [*lines[::7], SAMPLE.replace("<|endoftext|>", ""), "x", "  two  blanks  "]:
        ids = ours.encode(text)
        assert ids == theirs.encode(text)
        assert ours.decode(ids) == theirs.decode(ids) == text


def test_a_blank_put_before_the_text_comes_once_and_goes_again(languages: list[str]) -> None:
    _, spec = bpe_of_sentencepiece(languages[:80], add_dummy_prefix=True)
    ours = JsonTokenizer(spec)
    core = Core.from_str(json.dumps(spec))
    text = "one</s>two"
    assert ours.encode(text, allow_special=True) == core.encode(text).ids
    assert 2 not in ours.encode(text)
    assert ours.decode(ours.encode(" a")) == " a"
    assert b"".join(map(ours.token_bytes, ours.encode("ab"))) == b" ab"


def test_unigram_gives_what_the_library_gives_and_meets_no_special(languages: list[str]) -> None:
    core = Core(models.Unigram())
    core.normalizer = normalizers.NFKC()
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>",
        show_progress=False,
    )  # fmt: skip
    core.train_from_iterator(languages[:100], trainer)
    ours = JsonTokenizer(json.loads(core.to_str()))
    assert not ours.lossless
    for text in (text.replace("<unk>", "") for text in languages[::3]):
        ids = core.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids
        assert ours.decode(ids) == core.decode(ids, skip_special_tokens=False)
    assert core.encode("a </s>").ids[-1] == 1
    assert ours.encode("a </s>")[-1] != 1
    assert ours.encode("a</s>", allow_special=True)[-1] == 1


def added(content: str, token: int, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token, "content": content, "special": special, **flags}


def test_added_tokens_that_are_not_special_are_found_in_any_text(
    trained: dict[str, JsonTokenizer],
) -> None:
    spec = copy.deepcopy(trained["bpe"].spec)
    size = trained["bpe"].vocab_size
    spec["added_tokens"] += [added("<think>", size, False), added("<secret>", size + 1, True)]
    tokenizer = JsonTokenizer(spec)
    ids = tokenizer.encode("a<think>b<secret>c")
    assert ids.count(size) == 1
    assert size + 1 not in ids
    assert tokenizer.decode(ids) == "a<think>b<secret>c"
    assert list(tokenizer.special)[-1] == "<secret>"
    assert tokenizer.fingerprint != trained["bpe"].fingerprint


@pytest.mark.parametrize(
    ("change", "lossless"),
    [
        (lambda spec: None, True),
        (lambda spec: spec.update(normalizer={"type": "NFC"}), False),
        (lambda spec: spec.update(normalizer={"type": "Lowercase"}), False),
        (lambda spec: spec["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"), False),
        (
            lambda spec: spec["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
            False,
        ),
    ],
)
def test_what_changes_the_text_is_said_to_lose(
    trained: dict[str, JsonTokenizer],
    change: Callable[[dict[str, Any]], None],
    lossless: bool,
) -> None:
    spec = copy.deepcopy(trained["bpe"].spec)
    change(spec)
    tokenizer = JsonTokenizer(spec)
    assert tokenizer.lossless == lossless
    text = "Large Cafe\u0301"
    assert (tokenizer.decode(tokenizer.encode(text)) == text) == lossless


def test_characters_that_would_be_dropped_are_refused_by_name() -> None:
    core = Core(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    tokenizer = JsonTokenizer(json.loads(core.to_str()))
    assert core.encode("acb").ids == core.encode("ab").ids  # without a word
    with pytest.raises(BadInput, match="'c'"):
        tokenizer.encode("acb")
    known = Core(models.BPE({"a": 0, "<unk>": 1}, [], unk_token="<unk>"))
    assert JsonTokenizer(json.loads(known.to_str())).encode("ac") == [0, 1]
    words = JsonTokenizer(json.loads(Core(models.WordLevel({"a": 0}, "[UNK]")).to_str()))
    assert words.encode("a") == [0]
    with pytest.raises(BadInput, match="cannot encode"):
        words.encode("b")


def test_bytes_that_are_no_utf8_stay_visible(trained: dict[str, JsonTokenizer]) -> None:
    for kind in LOSSLESS:
        tokenizer = trained[kind]
        ids = [token for token in range(256) if tokenizer.token_bytes(token) in (b"\xff", b"\xe4")]
        assert len(ids) == 2
        assert tokenizer.decode(ids) == "\ufffd\ufffd"
