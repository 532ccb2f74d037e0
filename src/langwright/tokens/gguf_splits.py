"""How GGUF files name the cutting of text: `tokenizer.ggml.pre` -> the patterns, applied in turn.

The names are llama.cpp's; where it adapts a model's own pattern to its engine, the model's own
stands here.
"""

from __future__ import annotations

from langwright.tokens.splits import SPLITS

_GPT2, _LLAMA3, _QWEN2, _GPT4O = (SPLITS[name] for name in ("gpt2", "llama3", "qwen2", "o200k"))
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_HAN_KANA = "[一-龥぀-ゟ゠-ヿ]+"
_ASCII_SIGN = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
_MARKED_WORD = rf"{_ASCII_SIGN}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
_NOT_PUNCTUATION = " ?[^(\\s|.,!?…。，、।۔،)]+"
_DIGIT = r"\p{N}"
_DIGITS = r"\p{N}{1,3}"
_LINES = r"[^\n]+|\n+"

_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN_WORD = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_GPT4O_WORD = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}?"
)
_NO_HAN_UPPER, _NO_HAN_LOWER = (rf"(?:(?!\p{{Han}}){case})" for case in (_UPPER, _LOWER))
_SLASHED_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
# Of DeepSeek LLM: the letters with case, and what it holds for Chinese, Japanese and Korean.
_CASED = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-"
    "ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃ"
    "ↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_DEEPSEEK_ASIAN = "[一-龥ࠀ-一가-퟿]+"
_AFMOE_ASIAN = "[一-鿿㐀-䶿\uf900-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+"

DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")
"""What llama.cpp does where a file names nothing; few models were trained so."""

_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert"
        " jina-v1-en jina-v2-code roberta-bpe mpt olmo jais trillion granite-docling exaone4",
        (_GPT2,),
    ),
    (
        "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
        (_DIGIT, _GPT2),
    ),
    (
        "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano"
        " dbrx smaug-bpe glm4 chatglm-bpe",
        (_LLAMA3,),
    ),
    (
        "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
        (_QWEN2,),
    ),
    (
        "qwen35",
        (
            rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
            rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BLANKS}",
        ),
    ),
    ("gpt-4o llama4 kanana2 talkie minimax-m2 granite-embed-multi-97m", (_GPT4O,)),
    ("tekken", (rf"{_TEKKEN_WORD}|\p{{N}}|{_SLASHED_SIGNS}|{_BLANKS}",)),
    ("tiny_aya cohere2moe", (r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O)),
    (
        "kimi-k2",
        (
            rf"\p{{Han}}+|[^\r\n\p{{L}}\p{{N}}]?{_NO_HAN_UPPER}*{_NO_HAN_LOWER}+{_CONTRACTION}?"
            rf"|[^\r\n\p{{L}}\p{{N}}]?{_NO_HAN_UPPER}+{_NO_HAN_LOWER}*{_CONTRACTION}?"
            rf"|\p{{N}}{{1,3}}|{_SIGNS}|{_BLANKS}",
        ),
    ),
    (
        "youtu",
        (
            f"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|{_HAN_KANA}",
            rf"{_GPT4O_WORD}|\p{{N}}|{_SLASHED_SIGNS}|{_BLANKS}",
        ),
    ),
    (
        "deepseek-v3 hunyuan-dense hy_v4 joyai-llm",
        (
            _DIGITS,
            _HAN_KANA,
            rf"{_MARKED_WORD}| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_BLANKS}",
        ),
    ),
    (
        "spark2_5",
        (
            _DIGITS,
            _HAN_KANA,
            rf"{_MARKED_WORD}| ?[\p{{P}}\p{{S}}]+|[\r\n]|\s+(?!\S)|\s+",
            _DIGIT,
        ),
    ),
    (
        "deepseek-llm",
        (
            "[\r\n]",
            rf"\s?[{_CASED}]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            _DEEPSEEK_ASIAN,
            r"\p{N}+",
        ),
    ),
    ("deepseek-coder", ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _DEEPSEEK_ASIAN, _DIGIT)),
    ("falcon", (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")),
    ("poro-chat bloom gpt3-finnish", (_NOT_PUNCTUATION,)),
    ("viking", (_NOT_PUNCTUATION, _DIGIT)),
    (
        "jais-2",
        (
            rf"{_CONTRACTION}|{_WORD}|{_DIGITS}|{_SIGNS}|\s*[\r\n]+|"
            + "|".join(rf"\s{{{2**power}}}(?!\S)" for power in range(9, 1, -1))
            + r"|\s{1,2}(?!\S)|\s",
        ),
    ),
    (
        "chameleon",
        (
            "<sentinel:[0-9]+>",
            "IMGIMG[A-I]{1,4}Z",
            "[\t\n]|    |  ",
            _DIGIT,
            r"[\p{P}!-/:-@\[-`{-~]",
            _GPT2,
        ),
    ),
    ("superbpe", (r"\p{N}+", r"(?=(\d{3})+(?!\d))")),
    (
        "bailingmoe bailingmoe2 llada-moe",
        (rf"'(?i:[sdmt]|ll|ve|re)|{_WORD}|\p{{N}}|{_SIGNS}|\s*[\r\n]|\s+(?!\S)|\s+",),
    ),
    (
        "seed-coder",
        (rf"{_CONTRACTION}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_BLANKS}",),
    ),
    ("ufakzeka", (rf"{_WORD}|\p{{N}}|{_SIGNS}|{_BLANKS}",)),
    (
        "afmoe",
        (
            r"\d{1,3}(?=(?:\d{3})*(?!\d))",
            _AFMOE_ASIAN,
            rf"{_ASCII_SIGN}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
            rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_BLANKS}",
        ),
    ),
    ("laguna", (_LINES, _QWEN2)),
    (
        "exaone-moe",
        (
            rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+"
            r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        ),
    ),
    ("minicpm5", (_DIGITS, rf"{_CONTRACTION}|{_WORD}|\p{{N}}+|{_SIGNS}|{_BLANKS}")),
    ("default", DEFAULT),
)
PATTERNS = {name: patterns for names, patterns in _FAMILIES for name in names.split()}

_WHOLE_FIRST = (
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano"
    " minicpm5 youtu tekken granite-embed-multi-97m"
)
WHOLE_FIRST = frozenset(_WHOLE_FIRST.split())
"""Where a piece that is a token is that token, whatever its merges would make of it."""

RAW = dict.fromkeys(("gemma4", "granite-embed-multi-311m", "sarvam-moe"), (_LINES,))
"""BPE over characters with byte fallback, as SentencePiece's; blanks are U+2581."""
