"""Several processes for one training verb, by torch's own launcher."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from langwright.errors import BadInput, LangwrightError

VERBS = ("pretrain", "sft")
"""What several processes can do together."""
_NAME = "langwright"
"""By which torch's launcher tells its processes whose they are."""


class LaunchFailed(LangwrightError):
    """One of the processes ended badly, too often."""

    type = "launch_failed"


def launch(
    words: Sequence[str], *, nproc: int = 1, nodes: int = 1, rendezvous: str = "", restarts: int = 3
) -> None:
    """Run `langwright WORDS…` in `nproc` processes on this machine, one of `nodes`, which meet at
    `rendezvous` (HOST:PORT of one of them). Where a process dies, all are started again, up to
    `restarts` times, and go on from the last checkpoint; but an error that a person has to mend is
    raised at once. Ctrl-C and SIGTERM have all of them save and end.

    Raises `BadInput` for a verb that is none of `VERBS`, what a process has raised, `LaunchFailed`
    when a process has died more often, KeyboardInterrupt.
    """
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
    from langwright.training.agent import first_end, persons_error, run_ranks

    result = run_ranks(words, nproc, nodes, rendezvous or "localhost:0", restarts, _NAME)
    if result.is_failed():
        raise persons_error(result) or LaunchFailed(
            f"{first_end(result)} That was after {restarts} new starts.",
            remedy="Repeat the command to go on from the last checkpoint.",
        )


def handed_over(error: LangwrightError) -> bool:
    """Leave the error of one of the processes to `launch`, which says it once for all of them;
    False in a process that is none of its."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None or os.environ.get("TORCHELASTIC_RUN_ID") != _NAME:
        return False
    # What stands beside "error" is torch's own form.
    values = {"message": error.message, "timestamp": int(time.time()), **error.to_json()}
    Path(path).write_text(json.dumps(values))
    return True
