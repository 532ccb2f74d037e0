"""`langwright launch`."""

from __future__ import annotations

from typing import Annotated

import typer


def launch(
    context: typer.Context,
    nproc: Annotated[int, typer.Option("--nproc", min=1, help="Processes on this machine.")] = 1,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines in all.")] = 1,
    rendezvous: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the machines meet: one of them.")
    ] = "",
    restarts: Annotated[
        int, typer.Option(min=0, help="How often to start anew when a process dies.")
    ] = 3,
) -> None:
    """Run a training verb in several processes: `langwright launch --nproc 2 pretrain tiny`.

    What follows the options is a command line of `langwright` itself, `--json` among it.
    """
    import langwright as lw

    lw.launch(context.args, nproc=nproc, nodes=nodes, rendezvous=rendezvous, restarts=restarts)
