"""What goes wrong, as people, programs and shells hear of it."""

from __future__ import annotations

import errno
import json
import sys
import traceback

import typer

from langwright.errors import LangwrightError, NoSpace

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


class WrongUsage(LangwrightError):
    """A command line that is not understood."""

    type = "usage"


class Interrupted(LangwrightError):
    """Ctrl-C."""

    type = "interrupted"


class Internal(LangwrightError):
    """A mistake of this program's."""

    type = "internal"


def report(fault: BaseException, *, as_json: bool, debug: bool) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(fault, BrokenPipeError):  # the reader has seen enough
        return FAILURE
    if debug:
        traceback.print_exception(fault)
    error = _for_people(fault)
    from langwright.training import handed_over  # not for every start of the program

    if handed_over(error):
        return _code(error)
    if not as_json or not _printed(json.dumps(error.to_json())):
        brief = isinstance(error, Interrupted | Internal)
        said = str(error) if brief else f"Error: {error.message}\n{error.remedy}"
        print(said, file=sys.stderr)
    return _code(error)


def _code(error: LangwrightError) -> int:
    return {Interrupted.type: INTERRUPTED, WrongUsage.type: USAGE}.get(error.type, FAILURE)


def _printed(line: str) -> bool:
    """Print to standard output; False when that is what went wrong."""
    try:
        print(line, flush=True)
    except OSError:
        return False
    return True


def _for_people(fault: BaseException) -> LangwrightError:
    if isinstance(fault, LangwrightError):
        return fault
    if isinstance(fault, typer.TyperException):
        context = getattr(fault, "ctx", None)
        command = context.command_path if context else "langwright"
        return WrongUsage(fault.format_message(), remedy=f"`{command} --help` shows the usage.")
    if isinstance(fault, KeyboardInterrupt):
        return Interrupted("Interrupted.", remedy="The same command goes on with a training run.")
    if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" to write {fault.filename}" if fault.filename else ""
        return NoSpace(
            f"There is no space left{where}.",
            remedy="Free some space, or set LANGWRIGHT_HOME to a folder on a larger disk.",
        )
    if isinstance(fault, OSError) and fault.filename:
        return LangwrightError(
            f"The system refuses {fault.filename}: {fault.strerror}.",
            remedy="Check that path and its permissions.",
        )
    what = str(fault).strip().partition("\n")[0]
    return Internal(
        f"internal error: {type(fault).__name__}: {what}",
        remedy="Run it again with --debug to see where.",
    )
