"""The verb evaluate, as people and programs see it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import PROGRAM, Run, one_object

PROMISED = {
    *("model", "task", "metric", "value", "stderr", "interval", "n", "num_fewshot", "baseline"),
    "seed",
}
QUIZ = [{"question": f"{n}?", "choices": ["yes", "no"], "answer": n % 2} for n in range(6)]


@pytest.fixture
def quiz(tmp_path: Path) -> str:
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUIZ))
    return str(path)


def test_rows_of_ones_own_in_one_line(langwright: Run, quiz: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    words = ("evaluate", "tiny", "--task", quiz, "--log-samples", str(log), "--num-fewshot", "1")
    done = langwright(*words, "--json")
    results = one_object(done.stdout)["results"]
    assert [one["metric"] for one in results] == ["acc", "acc_norm"]
    assert all(one.keys() >= PROMISED for one in results)
    assert (results[0]["model"], results[0]["n"], results[0]["num_fewshot"]) == ("tiny", 6, 1)
    assert "multiple_choice" in done.stderr
    assert len(log.read_text().splitlines()) == 6
    seen = langwright("evaluate", "tiny", "--task", quiz, "--limit", "4").stdout
    assert "0.5000 (chance)" in seen
    assert "4 of 6" in seen


def test_two_models_stand_side_by_side(langwright: Run, quiz: str) -> None:
    words = ("evaluate", "tiny", "--task", quiz, "--compare", "short")
    found = one_object(langwright(*words, "--json").stdout)
    assert {one["model"] for one in found["results"]} == {"tiny", "short"}
    assert found["comparisons"][0].keys() >= {"models", "difference", "interval", "p", "test"}
    assert "McNemar" in langwright(*words).stdout


def test_what_is_wrong_is_said(langwright: Run, quiz: str, tmp_path: Path) -> None:
    wrong = langwright("evaluate", "tiny", "--task", "arc_esy", "--json")
    assert wrong.returncode == 1
    assert "arc_easy" in one_object(wrong.stdout)["error"]["remedy"]
    assert langwright("evaluate", "tiny").returncode == 2
    window = langwright("evaluate", "short", "--task", quiz, "--num-fewshot", "5", "--json")
    assert one_object(window.stdout)["error"]["type"] == "bad_input"
    assert "window is 48" in window.stdout
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"a": 1}\n')
    said = langwright("evaluate", "tiny", "--task", str(odd))
    assert "fields a" in said.stderr
    assert "choices" in said.stderr


def test_ctrl_c_leaves_no_half_of_a_log(
    environment: dict[str, str], quiz: str, tmp_path: Path
) -> None:
    log, endless = tmp_path / "log.jsonl", tmp_path / "endless.jsonl"
    endless.write_text('{"prompt": "the", "answer": "fox"}\n' * 2000)
    words = ["evaluate", "tiny", "--task", str(endless), "--log-samples", str(log)]
    process = subprocess.Popen(
        [*PROGRAM, *words], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "generation" in process.stderr.readline()  # the rows are read, and work begins
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Interrupted" in said
    assert not list(tmp_path.glob("*log*"))
