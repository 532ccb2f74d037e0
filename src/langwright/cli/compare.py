"""`langwright compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Backend, DeviceName, DtypeName, Json
from langwright.cli.sampling import changed, with_sampling

if TYPE_CHECKING:
    from rich.console import RenderableType

    from langwright.providers import Options


@with_sampling
def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL [MODEL2]",
            help="Two models; or one, which answers twice. With --agreement: artifacts.",
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts", metavar="FILE", help="What to ask; without it, prompts are typed in."
        ),
    ] = None,
    rater: Annotated[
        str | None, typer.Option("--rater", help="Who chooses; default: the user's name.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the session and of what comes of it.")
    ] = None,
    import_file: Annotated[
        str | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Make comparisons of a file that has them in any known shape, or of a data set.",
        ),
    ] = None,
    keep_empty: Annotated[
        bool, typer.Option("--keep-empty", help="With --import: keep empty answers.")
    ] = False,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="How far the raters of these artifacts agree.")
    ] = False,
    dtype: DtypeName = "float32",
    backend: Backend = "own",
    device: DeviceName = "cpu",
    as_json: Json = False,
    *,
    options: Options,
) -> None:
    """Choose the better of two answers, import such choices, or see how far raters agree.

    Each choice is stored at once; the same command goes on where it was left.
    """
    import langwright as lw
    from langwright.cli.faults import WrongUsage
    from langwright.cli.output import answer

    names = names or []
    if agreement or import_file is not None:
        # All that is given, so that what makes no sense together is refused.
        found = lw.compare(
            *names,
            prompts=prompts,
            rater=rater,
            name=name,
            import_file=import_file,
            keep_empty=keep_empty,
            agreement=agreement,
            dtype=dtype,
            backend=backend,
            device=device,
            **changed(options),
        )
        answer(found, as_json, _agreement if agreement else _imported)
        return
    if not 1 <= len(names) <= 2:
        raise WrongUsage(
            f"There are {len(names)} models.", remedy="Name one or two, or use --import."
        )
    from langwright.cli.choosing import choose, typed

    found = lw.compare(
        *names,
        prompts=typed() if prompts is None else prompts,
        choose=choose,
        rater=rater,
        name=name,
        keep_empty=keep_empty,
        dtype=dtype,
        backend=backend,
        device=device,
        **options,
    )
    answer(found, as_json, _session)


def _imported(found: dict[str, Any]) -> RenderableType:
    from langwright.cli.output import facts

    return facts({key: value for key, value in found.items() if value})


def _session(found: dict[str, Any]) -> RenderableType:
    from langwright.cli.output import facts

    shown = {key: value for key, value in found.items() if not key.endswith("_rate")}
    if found["win_rate"]:
        shown[f"{found['models'][0]} preferred to {found['models'][1]}"] = _rate(found["win_rate"])
    if found["left_rate"]:
        shown["the left one preferred"] = _rate(found["left_rate"])
    return facts(shown)


def _agreement(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from langwright.cli.output import facts

    measures = {"share": "agree", "kappa": "Cohen's kappa", "alpha": "Krippendorff's alpha"}
    counts = {key: found[key] for key in ("raters", "units", "judged_by_one", "judged_again")}
    parts: list[RenderableType] = [
        facts(counts | {text: _rate(found[key]) for key, text in measures.items() if found[key]})
    ]
    if found["pairs"]:
        table = Table("raters", "units", "agree", "Cohen's kappa", box=None)
        for one in found["pairs"]:
            names = " and ".join(one["raters"])
            table.add_row(names, str(one["units"]), _rate(one["share"]), _rate(one["kappa"]))
        parts += ["", table]
    return Group(*parts)


def _rate(found: dict[str, Any]) -> str:
    from langwright.cli.output import cell

    said = cell(found["value"])
    if found["interval"]:
        said += f" ({cell(found['interval'][0])} to {cell(found['interval'][1])} at 95%)"
    return said + (f" of {found['n']}" if "n" in found else "")
