"""`langwright describe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langwright.cli.options import Json, ModelName

if TYPE_CHECKING:
    from rich.console import RenderableType


def describe(model: ModelName, as_json: Json = False) -> None:
    """Tell what a model is: layers, parameters, memory, work per token, licence, lineage."""
    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.describe(model), as_json, _shown)


def _shown(told: dict[str, Any]) -> RenderableType:
    from langwright.cli.output import facts, size

    names = [f"{one['name']} ({one['kind']})" for one in told["lineage"]]
    weights = {kind: size(count) for kind, count in told["weights_bytes"].items()}
    return facts(told | {"lineage": names, "weights_bytes": weights})
