"""The ranks of this machine, started and watched over by torch's elastic agent."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from langwright.errors import LangwrightError
from langwright.progress import say
from langwright.training.heartbeat import STALLED

LEAVING_S = 600
"""How long the ranks may take to finish their step and save, once the launcher is told to end."""
AGAIN = ("internal", "interrupted")
"""Types of errors after which a new start may help. All others are for a person to mend."""


class Agent(LocalElasticAgent):
    """As torch's, which starts all ranks anew where one has died; but not after an error that a
    person has to mend."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if result.is_failed():
            if persons_error(result) is not None:
                self._remaining_restarts = 0
            elif self._remaining_restarts:
                say(f"{first_end(result)} All are started again from the last checkpoint.")
        return result


def run_ranks(
    words: Sequence[str], nproc: int, nodes: int, rendezvous: str, restarts: int, name: str
) -> RunResult:
    """Run `langwright WORDS…` in `nproc` ranks on each of `nodes` machines; how they ended.

    SIGINT and SIGTERM are passed on to them; when they have ended it raises KeyboardInterrupt.
    """
    # Else the ranks of a new start meet in a store that still has the addresses of those that died,
    # and wait for them (torch 2.13).
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    meeting = get_rendezvous_handler(
        RendezvousParameters("c10d", rendezvous, name, min_nodes=nodes, max_nodes=nodes)
    )
    spec = WorkerSpec(
        role="rank",
        local_world_size=nproc,
        entrypoint=sys.executable,
        args=("-m", "langwright", *words),
        rdzv_handler=meeting,
        max_restarts=restarts,
    )
    try:
        result = Agent(spec, DefaultLogsSpecs(), shutdown_timeout=LEAVING_S).run()
    except SignalException:
        # Without closing the meeting: another machine may take this one's place.
        raise KeyboardInterrupt from None
    except BaseException:
        meeting.shutdown()
        raise
    meeting.shutdown()
    return result


def persons_error(result: RunResult) -> LangwrightError | None:
    """What a rank has handed over and a person has to mend."""
    for failure in result.failures.values():
        told = failure.error_file_data.get("error")
        if told is not None and told["type"] not in AGAIN:
            error = LangwrightError(told["message"], remedy=told["remedy"])
            error.type = told["type"]
            return error
    return None


def first_end(result: RunResult) -> str:
    """Which rank ended first, and how."""
    rank, failure = min(result.failures.items(), key=lambda one: one[1].timestamp)
    return f"Process {rank} ended: {_how(failure)}"


def _how(failure: ProcessFailure) -> str:
    if failure.error_file_data.get("error") is not None or failure.exitcode < 0:
        return f"{failure.message.rstrip('.')}."
    return "its step stalled." if failure.exitcode == STALLED else f"code {failure.exitcode}."
