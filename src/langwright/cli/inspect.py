"""`langwright inspect`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from langwright.cli.options import DtypeName, File, Json, ModelName, Text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_WIDEST = 32
"""So many tokens of attention are drawn; more are for `--json`."""
_BAR = 20


def inspect(
    model: ModelName,
    text: Text = None,
    file: File = None,
    token: Annotated[
        str | None,
        typer.Option("--token", help='Follow this token, as " Paris"; default: the likeliest.'),
    ] = None,
    token_id: Annotated[int | None, typer.Option("--id", help="The token by its id.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many tokens and heads to show.")] = 5,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="LAYER[.HEAD]", help="Switch it off; from 0; repeatable."
        ),
    ] = None,
    scan: Annotated[
        Literal["heads", "layers"] | None,
        typer.Option("--scan", help="Switch off each one alone, and rank them by the effect."),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", help="A token of the text (or @POSITION) that looks at --key."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="A token of the text that is looked at; repeatable."),
    ] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="All attention weights, for --json.")
    ] = False,
    layer: Annotated[int | None, typer.Option("--layer", help="Attention of this layer.")] = None,
    head: Annotated[int | None, typer.Option("--head", help="Attention of this head.")] = None,
    dtype: DtypeName = "float32",
    as_json: Json = False,
) -> None:
    """Look into a model while it reads: surprise, logit lens, attention, single heads."""
    from langwright.cli.given import given_text

    given = given_text(text, file)

    import langwright as lw
    from langwright.cli.output import answer

    found = lw.inspect(
        model,
        given,
        dtype=dtype,
        k=k,
        token=token,
        id=token_id,
        without=without or (),
        scan=scan,
        query=None if query is None else _place(query),
        keys=[_place(one) for one in key or ()],
        attention=attention,
        layer=layer,
        head=head,
    )
    answer(found, as_json, lambda seen: _shown(seen, k))


def _place(named: str) -> str | int:
    """`@9` is a position, all else the text of a token."""
    return int(named[1:]) if named[:1] == "@" and named[1:].isdecimal() else named


def _shown(found: dict[str, Any], k: int) -> RenderableType:
    from rich.console import Group

    parts: list[RenderableType] = []
    if found["without"]:
        parts.append(f"Without {', '.join(map(_part, found['without']))}.\n")
    parts.append(_tokens(found))
    if found["target"] is not None:
        parts += ["", *_lens(found)]
    if found["effects"] is not None:
        parts += ["", *_effects(found, k)]
    if found["looks"] is not None:
        parts += ["", *_looks(found, k)]
    for one in found["attention"] or ():
        parts += ["", *_weights(one, found["tokens"])]
    return Group(*parts)


def _tokens(found: dict[str, Any]) -> Table:
    if found["target"] is None:
        return _table(
            "position id token", [[t["position"], t["id"], _spelt(t)] for t in found["tokens"]]
        )
    rows = []
    for one in found["tokens"]:
        known = one["rank"] is not None
        numbers = [
            f"{one[key]:.2f}" if known else "-" for key in ("surprisal_bits", "entropy_bits")
        ]
        others = _guesses(one["alternatives"] or ())
        rows.append([one["position"], _spelt(one), *numbers, one["rank"] if known else "-", others])
    return _table("position token surprisal/bits entropy/bits rank instead", rows)


def _lens(found: dict[str, Any]) -> list[RenderableType]:
    target = found["target"]
    rows = [
        [one["depth"], f"{one['probability']:.2%}", one["rank"], _guesses(one["tokens"])]
        for one in found["logit_lens"]
    ]
    head = f"Next: {_guesses(found['next'])}"
    note = f"The lens behind so many layers, on {_spelt(target)}:"
    return [head, "", note, _table("layers probability rank likeliest", rows)]


def _effects(found: dict[str, Any], k: int) -> list[RenderableType]:
    target, effects = found["target"], found["effects"]
    rows = [
        [
            _part(one),
            f"{one['probability']:.2%}",
            f"{one['change']:+.2%}",
            _guesses([one["likeliest"]]),
        ]
        for one in effects[:k]
    ]
    head = (
        f"{_spelt(target)} has {target['probability']:.2%}. Each part off alone, "
        f"the largest effect first ({len(rows)} of {len(effects)}):"
    )
    return [head, _table("without probability change likeliest", rows)]


def _looks(found: dict[str, Any], k: int) -> list[RenderableType]:
    looks, tokens = found["looks"], found["tokens"]
    names = [_spelt(tokens[at]) for at in looks["keys"]]
    first = f"first token {_spelt(tokens[0])}"
    rows = [
        [
            _part(one),
            *(f"{w:.3f}" for w in (*one["weights"], one["first"])),
            _spelt(tokens[one["strongest"]]),
        ]
        for one in looks["heads"][:k]
    ]
    mean = [f"{w:.3f}" for w in (*looks["mean"], looks["mean_first"])]
    rows.append([f"mean of {len(looks['heads'])} heads", *mean, ""])
    head = f"From {_spelt(tokens[looks['query']])} (position {looks['query']}):"
    said: list[RenderableType] = [head, _table(["head", *names, first, "most at"], rows)]
    said.append(
        f"Looking at all {looks['visible']} tokens alike would be {looks['uniform']:.3f} each; "
        f"{looks['first_strongest']:.0%} of the heads look most at the first token."
    )
    if looks["unread"]:
        later = " ".join(_spelt(tokens[at]) for at in looks["unread"])
        said.append(f"Not read yet at this token: {later}.")
    return said


def _weights(one: dict[str, Any], tokens: list[dict[str, Any]]) -> list[RenderableType]:
    if len(tokens) > _WIDEST:
        return [f"{_part(one)}: {len(tokens)} tokens are too wide to draw; --json has the weights."]
    rows = [
        [_spelt(token), *(f"{100 * w:.0f}" if w >= 0.005 else "·" for w in row)]
        for token, row in zip(tokens, one["weights"], strict=True)
    ]
    head = f"{_part(one)}: where each token (row) looks, in %, by position:"
    return [head, _table(["", *map(str, range(len(tokens)))], rows)]


def _table(columns: str | list[str], rows: Iterable[list[Any]]) -> Table:
    from rich.table import Table

    table = Table(*(columns.split() if isinstance(columns, str) else columns), box=None)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _spelt(token: dict[str, Any]) -> str:
    from langwright.inference import spelt

    return spelt(bytes(token["bytes"]))


def _guesses(tokens: Iterable[dict[str, Any]]) -> str:
    return "  ".join(f"{one['text']!r} {one['probability']:.1%}" for one in tokens)


def _part(part: dict[str, Any]) -> str:
    return f"layer {part['layer']}" + ("" if part["head"] is None else f" head {part['head']}")
