"""What goes wrong ends with the right words in the right place, and the right exit code."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from langwright.cli.faults import report

from .conftest import PROGRAM, Run, one_object


def test_a_failure_is_1_with_a_suggestion(langwright: Run) -> None:
    done = langwright("next-tokens", "tinny", "the")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == ["Error: There is no model 'tinny'.", "Did you mean 'tiny'?"]
    done = langwright("next-tokens", "tinny", "the", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert one_object(done.stdout) == {
        "error": {
            "type": "not_found",
            "message": "There is no model 'tinny'.",
            "remedy": "Did you mean 'tiny'?",
        }
    }


@pytest.mark.parametrize(
    "words",
    [
        ["lst"],
        ["show"],
        ["list", "--jsn"],
        ["generate", "tiny", "x", "--max-tokens", "many"],
        ["generate", "tiny"],
        ["score", "tiny", "text", "--file", "x"],
        ["score", "tiny", "text", "--window", "0"],
    ],
)
def test_wrong_usage_is_2(langwright: Run, words: list[str]) -> None:
    done = langwright(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    done = langwright(*words, "--json")
    assert (done.returncode, done.stderr) == (2, "")
    assert one_object(done.stdout)["error"]["type"] == "usage"


def test_chat_with_json_needs_a_message(langwright: Run) -> None:
    done = langwright("chat", "tiny", "--json", input="hello")
    assert done.returncode == 2
    assert one_object(done.stdout)["error"]["type"] == "usage"


def test_debug_shows_the_traceback_wherever_it_stands(langwright: Run) -> None:
    for words in (["--debug", "show", "x", "--json"], ["show", "x", "--json", "--debug"]):
        done = langwright(*words)
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        assert one_object(done.stdout)["error"]["type"] == "not_found"
    # Behind `--` it is a text like any other.
    said = langwright("tokens", "--encoding", "words", "--json", "--", "--debug")
    assert one_object(said.stdout)["encodings"][0]["bytes"] == len("--debug")


def test_text_that_is_not_utf8_names_the_offset(langwright: Run, tmp_path: Path) -> None:
    path = tmp_path / "latin"
    path.write_bytes(b"caf\xe9")
    done = langwright("score", "tiny", "--file", str(path), "--json")
    assert "0xe9 at offset 3" in one_object(done.stdout)["error"]["message"]
    for missing, kind in ((tmp_path / "none", "not_found"), (tmp_path, "bad_input")):
        done = langwright("score", "tiny", "--file", str(missing), "--json")
        assert one_object(done.stdout)["error"]["type"] == kind


def test_an_empty_text_has_no_score(langwright: Run) -> None:
    done = langwright("score", "tiny", "", "--json")
    assert one_object(done.stdout)["error"]["type"] == "bad_input"


def test_a_home_that_is_no_folder(
    langwright: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("")
    done = langwright("pull", "python-docs", env=environment | {"LANGWRIGHT_HOME": str(path)})
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "internal" not in done.stderr


ENDLESS = ["generate", "tiny", "\n", "--temperature", "0", "--max-tokens", "4000"]
"""Its greedy answer repeats the last token until the limit."""


def start_endless(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The program in the middle of its answer."""
    child = subprocess.Popen(
        [*PROGRAM, *ENDLESS],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert os.read(child.stdout.fileno(), 1)
    return child


def test_ctrl_c_is_130_in_one_line(environment: dict[str, str]) -> None:
    with start_endless(environment) as child:
        child.send_signal(signal.SIGINT)
        _, complaint = child.communicate(timeout=300)
    assert child.returncode == 130
    assert complaint.decode().count("\n") == 1
    assert complaint.startswith(b"Interrupted.")


def test_a_reader_that_leaves_is_no_error_to_speak_of(environment: dict[str, str]) -> None:
    with start_endless(environment) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_so(environment: dict[str, str]) -> None:
    with open("/dev/full", "w") as full:
        for words in (["list"], ["list", "--json"]):
            done = subprocess.run(
                [*PROGRAM, *words],
                env=environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert done.returncode == 1
            assert done.stderr.startswith("Error: There is no space left")
            assert "Traceback" not in done.stderr


def test_a_mistake_of_the_program_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(RuntimeError("two\nlines"), as_json=False, debug=False) == 1
    assert capsys.readouterr() == (
        "",
        "internal error: RuntimeError: two Run it again with --debug to see where.\n",
    )
    assert report(RuntimeError("two\nlines"), as_json=True, debug=True) == 1
    output, complaint = capsys.readouterr()
    assert one_object(output)["error"]["type"] == "internal"
    assert "RuntimeError: two" in complaint
