"""The program `langwright`: its verbs, and the one place where its faults end up."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from langwright.cli import (
    bench,
    bisect,
    chat,
    clean,
    compare,
    constitution,
    cost,
    describe,
    doctor,
    dpo,
    embed,
    evaluate,
    export,
    finetune,
    forget,
    generate,
    grow,
    grpo,
    inspect,
    keys,
    launch,
    lineage,
    list_,
    neighbours,
    next_tokens,
    plan,
    ppo,
    pretrain,
    pull,
    recipe,
    remove,
    reward,
    score,
    serve,
    sft,
    show,
    show_batch,
    tokens,
    transcripts,
    verify_resume,
    watch,
)
from langwright.cli.faults import report

_VERBS: dict[str, Callable[..., None]] = {
    "pull": pull.pull,
    "list": list_.list_,
    "show": show.show,
    "remove": remove.remove,
    "lineage": lineage.lineage,
    "describe": describe.describe,
    "clean": clean.clean,
    "tokens": tokens.tokens,
    "cost": cost.cost,
    "next-tokens": next_tokens.next_tokens,
    "neighbours": neighbours.neighbours,
    "inspect": inspect.inspect,
    "generate": generate.generate,
    "chat": chat.chat,
    "score": score.score,
    "embed": embed.embed,
    "bench": bench.bench,
    "recipe": recipe.recipe,
    "plan": plan.plan,
    "pretrain": pretrain.pretrain,
    "sft": sft.sft,
    "reward": reward.reward,
    "dpo": dpo.dpo,
    "ppo": ppo.ppo,
    "grpo": grpo.grpo,
    "constitution": constitution.constitution,
    "transcripts": transcripts.transcripts,
    "show-batch": show_batch.show_batch,
    "watch": watch.watch,
    "doctor": doctor.doctor,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "verify-resume": verify_resume.verify_resume,
    "forget": forget.forget,
    "bisect": bisect.bisect,
    "finetune": finetune.finetune,
    "grow": grow.grow,
    "export": export.export,
    "serve": serve.serve,
    "keys": keys.keys,
    "launch": launch.launch,
}
# What follows its options is a command line of its own.
_CONTEXT = {"launch": {"allow_interspersed_args": False, "allow_extra_args": True}}


def application(verb: str | None = None) -> typer.Typer:
    """The program with all verbs; given one, the others have only their names, since reading the
    options of all of them takes longer than everything else that `--help` does."""
    # Without rich's markup, whose import would double the time.
    app = typer.Typer(name="langwright", add_completion=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_top)
    for name, function in _VERBS.items():
        known = function if verb in (None, name) else _named(function)
        app.command(name, context_settings=_CONTEXT.get(name))(known)
    return app


def _named(function: Callable[..., None]) -> Callable[[], None]:
    def verb() -> None: ...

    verb.__doc__ = function.__doc__
    return verb


def _version(wanted: bool) -> None:
    if wanted:
        import langwright

        print(f"langwright {langwright.__version__}")
        raise typer.Exit


def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes with any verb.")
    ] = False,
) -> None:
    """A workshop for language models: text in, a model to talk to out, and all stages between."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def run(words: list[str]) -> int:
    """Run one command line; the exit code."""
    options = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in options
    # It may stand anywhere, since it is what one adds to a command that has just failed.
    rest = words[len(options) :]
    words = ["--debug"] * debug + [word for word in options if word != "--debug"] + rest
    verb = next((word for word in options if not word.startswith("-")), "")
    command = typer.main.get_command(application(verb))
    try:
        try:
            with command.make_context("langwright", words) as context:
                command.invoke(context)
            code = 0
        except typer.Exit as end:
            code = end.exit_code
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as fault:
        return report(fault, as_json="--json" in options, debug=debug)


def main() -> None:
    """The entry point of the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character the terminal lacks is no fault
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # or Python would complain once more while it shuts down
        code = code or 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
