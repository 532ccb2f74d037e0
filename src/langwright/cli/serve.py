"""`langwright serve`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from langwright.cli.options import DeviceName, DtypeName, Json


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="What to serve, each as MODEL or MODEL+ADAPTER; none: all of the store.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0: a free one.")] = 0,
    origins: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="URL", help="Pages from there may call; may be repeated."),
    ] = None,
    max_answers: Annotated[int, typer.Option(help="Calls a model answers at once.")] = 16,
    max_waiting: Annotated[int, typer.Option(help="Calls that may wait; more get 429.")] = 256,
    max_body_mb: Annotated[float, typer.Option(help="Largest call, in megabytes.")] = 16.0,
    deadline_s: Annotated[float, typer.Option(help="Longest answer, in seconds.")] = 600.0,
    memory_gb: Annotated[float, typer.Option(help="For loaded models; 0: no bound.")] = 0.0,
    keep_alive_s: Annotated[
        float, typer.Option(help="Unload models idle for so long; 0: never.")
    ] = 0.0,
    dtype: DtypeName = "float32",
    device: DeviceName = "cpu",
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Name parameters that are not honoured, not refuse them."),
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Serve runs by each new checkpoint as it comes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve models over HTTP, as OpenAI, Anthropic, Gemini and Ollama do, until Ctrl-C."""
    import langwright as lw
    from langwright.cli.output import put_json
    from langwright.progress import say

    def ready(url: str) -> None:
        if as_json:
            put_json({"url": url, "pid": os.getpid()})
        else:
            say(f"Serving at {url} (Ctrl-C ends it). A page to chat: {url}/")

    lw.serve(
        models or [],
        ready=ready,
        host=host,
        port=port,
        origins=tuple(origins or ()),
        max_answers=max_answers,
        max_waiting=max_waiting,
        max_body_mb=max_body_mb,
        deadline_s=deadline_s,
        memory_gb=memory_gb,
        keep_alive_s=keep_alive_s,
        dtype=dtype,
        device=device,
        lenient=lenient,
        follow=follow,
    )
