"""What the page of an export says of text: its tokenizer, and what stands around the turns."""

from __future__ import annotations

from typing import Any

from langwright.errors import BadInput, Unsupported
from langwright.model import ModelBundle
from langwright.tokens import SPLITS, ChatTemplate, JsonTokenizer, Messages, Tokenizer, cutting
from langwright.tokens.spelling import BYTE_OF, Spelling
from langwright.tokens.tokenizer import split_special

_CUTS = {
    SPLITS["gpt2"]: "gpt2",
    SPLITS["llama3"]: "llama3",
    SPLITS["qwen2"]: "qwen2",
    r"\p{N}": "digit",
    r"\p{N}+": "digits",
    r"\p{N}{1,3}": "three digits",
}
"""What the page can cut by; its patterns are in `web/tokenizer.js`."""

_Frame = list[str | int]


def tokenizer_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """The tokenizer as `web/tokenizer.js` takes it.

    Raises `Unsupported` for all but byte-level BPE with the patterns of GPT-2, Llama 3 and Qwen 2.
    """
    if not isinstance(tokenizer, JsonTokenizer) or Spelling.of(tokenizer.spec).kind != "bytes":
        raise _unsupported("is no byte-level BPE")
    spec = tokenizer.spec
    model, vocabulary = spec["model"], spec["model"]["vocab"]
    if model["type"] != "BPE" or any(
        model.get(key)
        for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    ):
        raise _unsupported("has settings beyond byte-level BPE")
    if model.get("unk_token") is not None and not BYTE_OF.keys() <= vocabulary.keys():
        raise _unsupported("has a token for the unknown")
    normalizer = spec.get("normalizer")
    if normalizer not in (None, {"type": "NFC"}):
        raise _unsupported(f"changes the text by {normalizer['type']} before it is cut")
    added = spec.get("added_tokens", [])
    for token in added:
        bent = token["lstrip"] or token["rstrip"] or token["single_word"]
        if not token["special"] and (bent or (normalizer and token["normalized"])):
            raise _unsupported(f"looks for the phrase {token['content']!r} in ways of its own")
    try:
        cuts = cutting(tokenizer)
    except Unsupported:
        cuts = None
    if cuts is None or not set(cuts[0]) <= _CUTS.keys():
        raise _unsupported("cuts text in another way")
    pieces: list[str | None] = [None] * tokenizer.vocab_size
    for piece, index in vocabulary.items():
        pieces[index] = piece
    pairs = (one.split(" ", 1) if isinstance(one, str) else one for one in model["merges"])
    return {
        "pieces": pieces,
        "added": [[token["id"], token["content"], token["special"]] for token in added],
        "merges": [vocabulary[part] for pair in pairs for part in pair],
        "cuts": [_CUTS[cut] for cut in cuts[0]],
        "whole": cuts[1],
        "nfc": normalizer is not None,
    }


def _unsupported(why: str) -> Unsupported:
    return Unsupported(
        f"The tokenizer {why}; a page has byte-level BPE with the patterns of GPT-2, Llama 3 and"
        " Qwen 2.",
        remedy="Export to a Hugging Face folder (--to hf).",
    )


# What templates are known to change: thoughts, edges, lines; two answers, since only the last one
# may be treated otherwise.
_ODD: tuple[Messages, ...] = (
    [{"role": "user", "content": "  \n Hi <|im_end|> {{ x }} </s>\n\n"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": " \n<think>\nHm.\n</think>\n\nb\n "},
        {"role": "user", "content": "\nc "},
        {"role": "assistant", "content": "<think>d</think>e"},
        {"role": "user", "content": "system"},
    ],
)


def chat_frame(model: ModelBundle) -> dict[str, _Frame] | None:
    """What stands before the first turn, before an answer, and before each later turn of the user:
    text and the ids of special tokens, cut out of what the model's own template renders.

    None where there is no template, or where it does more than put such texts around the turns: the
    page has no second renderer.
    """
    template = model.template
    if template is None or template.tells_date:
        return None
    try:
        return _cut_out(template)
    except (BadInput, ValueError):
        return None


def _cut_out(template: ChatTemplate) -> dict[str, _Frame] | None:
    one, two, three = "UUUU", "VVVV", "WWWW"
    turns: Messages = [
        {"role": "user", "content": one},
        {"role": "assistant", "content": two},
        {"role": "user", "content": three},
    ]
    first, rest = template.render(turns, add_generation_prompt=True).split(one)
    answer, rest = rest.split(two)
    following, last = rest.split(three)
    frame = {"first": first, "answer": answer, "next": following}
    special = template.tokenizer.special
    found = {
        name: [special[part] if mark else part for part, mark in split_special(text, special)]
        for name, text in frame.items()
    }
    same = last == answer and all(
        framed_ids(template.tokenizer, found, messages)
        == template.encode(messages, add_generation_prompt=True)
        for messages in (turns, *_ODD)
    )
    return found if same else None


def framed_ids(tokenizer: Tokenizer, frame: dict[str, _Frame], messages: Messages) -> list[int]:
    """The ids of the turns in their frame, as the page makes them."""
    parts: _Frame = []
    for place, message in enumerate(messages):
        parts += frame["first" if not place else "answer" if place % 2 else "next"]
        parts.append(str(message["content"]))
    parts += frame["answer"]
    ids: list[int] = []
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        ids += [*tokenizer.encode(text), part]
        text = ""
    return ids + tokenizer.encode(text)
