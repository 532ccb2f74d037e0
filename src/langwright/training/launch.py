"""Several processes for one training verb, by torch's own launcher."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from langwright.errors import BadInput, LangwrightError

VERBS = ("pretrain", "sft")
"""What several processes can do together."""


class LaunchFailed(LangwrightError):
    """One of the processes ended badly, too often."""

    type = "launch_failed"


def launch(
    words: Sequence[str], *, nproc: int = 1, nodes: int = 1, rendezvous: str = "", restarts: int = 3
) -> None:
    """Run `langwright WORDS…` in `nproc` processes on this machine, one of `nodes`, which meet at
    `rendezvous` (HOST:PORT of one of them). Where a process dies, all are started again, up to
    `restarts` times, and go on from the last checkpoint.

    Raises `BadInput` for a verb that is none of `VERBS`, `LaunchFailed` when a process has died
    more often.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if not words or words[0] not in VERBS:
        raise BadInput(
            f"'{' '.join(words[:1])}' is not done by several processes.",
            remedy=f"They do {' and '.join(VERBS)}: langwright launch --nproc 2 {VERBS[0]} tiny",
        )
    if nodes > 1 and not rendezvous:
        raise BadInput(
            "Several machines need a place to meet.",
            remedy="Give each the same --rendezvous HOST:PORT, HOST one of them.",
        )
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=nproc,
        run_id="langwright",
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous or "localhost:0",
        max_restarts=restarts,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "langwright", *words)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise LaunchFailed(
            f"Process {rank} ended with {failure.exitcode}, after {restarts} new starts.",
            remedy="What it wrote above says why; repeat the command to go on from the last "
            "checkpoint.",
        ) from None
