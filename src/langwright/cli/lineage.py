"""`langwright lineage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.tree import Tree


def lineage(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, or a digest's beginning.")],
    as_json: Json = False,
) -> None:
    """Show what an artifact was made from, back to the beginning."""
    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.lineage(name), as_json, _tree)


def _tree(found: dict[str, Any]) -> Tree:
    from rich.tree import Tree

    nodes = {node["digest"]: node for node in found["nodes"]}

    def label(digest: str) -> str:
        node = nodes[digest]
        gone = ", removed" if node["dropped"] else ""
        return f"{node['name']} ({node['kind']}, {digest[:12]}{gone})"

    def grow(tree: Tree, child: str) -> None:
        for edge in found["edges"]:
            if edge["to"] == child:
                grow(tree.add(label(edge["from"])), edge["from"])

    root = found["nodes"][0]["digest"]
    tree = Tree(label(root))
    grow(tree, root)
    return tree
