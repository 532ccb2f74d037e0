"""What every verb answers: one JSON object for programs, something to look at for people."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from langwright.store import Store

from .conftest import Run, one_object

TEXT = "The quick fox: 你好 🙂."
ARTIFACT = {"name", "kind", "digest", "bytes", "licence", "parents", "settings", "metrics"}


def test_list_show_lineage(langwright: Run, home: Path) -> None:
    found = one_object(langwright("list", "--json").stdout)["artifacts"]
    # Other tests of this room may have made more in the same home.
    assert {one["name"] for one in found} >= {"book", "tiny", "short", "words"}
    assert all(one.keys() >= ARTIFACT for one in found)
    models = one_object(langwright("list", "--kind", "model", "--json").stdout)["artifacts"]
    assert {one["name"] for one in models} >= {"tiny", "short"}
    assert {one["kind"] for one in models} == {"model"}

    (shown,) = one_object(langwright("show", "tiny", "--json").stdout)["artifacts"]
    assert shown in found

    line = one_object(langwright("lineage", "tiny", "--json").stdout)
    book = Store(home).get("book").digest
    assert [node["name"] for node in line["nodes"]] == ["tiny", "book"]
    assert line["edges"] == [{"from": book, "to": shown["digest"]}]


def test_what_people_see_of_the_store(langwright: Run, tmp_path: Path) -> None:
    listed = langwright("list").stdout
    assert all(word in listed for word in ("tiny", "CC0-1.0", "900 B", "run (stopped)"))
    assert "MIT" in langwright("show", "tiny").stdout
    tree = langwright("lineage", "tiny").stdout.splitlines()
    assert tree[0].startswith("tiny (model")
    assert "└── book (corpus" in tree[1]


def test_pull_and_remove(langwright: Run, environment: dict[str, str], tmp_path: Path) -> None:
    env = environment | {"LANGWRIGHT_HOME": str(tmp_path / "other")}
    assert "pull" in langwright("list", env=env).stdout  # what to do in an empty store
    pulled = langwright("pull", "python-docs", "--json", env=env)
    (artifact,) = one_object(pulled.stdout)["artifacts"]
    assert artifact.keys() >= ARTIFACT
    assert "Licence: PSF-2.0" in pulled.stderr
    removed = one_object(langwright("remove", "python-docs", "--json", env=env).stdout)
    assert [one["digest"] for one in removed["artifacts"]] == [artifact["digest"]]
    assert one_object(langwright("list", "--json", env=env).stdout)["artifacts"] == []


def test_tokens(langwright: Run, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode() + b"\r\n")
    words = ("tokens", "--file", str(path), "--encoding", "words", "--encoding", "tiny")
    one, other = one_object(langwright(*words, "--json").stdout)["encodings"]
    assert b"".join(map(bytes, one["piece_bytes"])) == path.read_bytes()
    assert (one["name"], other["name"], one["ids"]) == ("words", "tiny", other["ids"])
    seen = langwright(*words).stdout
    assert f"words: {one['count']} tokens" in seen
    assert " ".join(map(str, one["ids"])) in seen
    assert "\r" not in seen


def test_bytes_that_are_no_text_alone_are_seen_as_bytes(langwright: Run) -> None:
    seen = langwright("tokens", "你", "--encoding", "words", "--encoding", "tiny").stdout
    assert r"\xe4" in seen
    assert "bytes a token" in seen.splitlines()[-3]


def test_a_long_text_is_shown_in_part(langwright: Run, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("x" * 5000)
    seen = langwright("tokens", "--file", str(path), "--encoding", "words").stdout
    assert "and 3,000 more" in seen


def test_next_tokens(langwright: Run) -> None:
    found = one_object(langwright("next-tokens", "tiny", "the", "-k", "3", "--json").stdout)
    assert found["model"] == "tiny"
    assert [set(one) for one in found["tokens"]] == [{"id", "text", "probability", "logprob"}] * 3
    table = langwright("next-tokens", "tiny", "the", "-k", "3").stdout
    assert all(f" {one['id']} " in table for one in found["tokens"])


def test_neighbours(langwright: Run) -> None:
    words = ("neighbours", "tiny", "--id", "104", "-k", "3", "--by", "dot", "--table", "output")
    found = one_object(langwright(*words, "--json").stdout)
    assert (found["model"], found["table"], found["token"]["id"]) == ("tiny", "output", 104)
    assert found["neighbours"][0].keys() >= {"id", "text", "cosine", "dot"}
    dots = [one["dot"] for one in found["neighbours"]]
    assert len(dots) == 3
    assert dots == sorted(dots, reverse=True)
    table = langwright(*words).stdout
    assert all(f" {one['id']} " in table for one in found["neighbours"])
    assert langwright("neighbours", "tiny").returncode == 2
    assert langwright("neighbours", "tiny", "a", "--id", "3").returncode == 2


def test_inspect(langwright: Run) -> None:
    words = ("inspect", "tiny", "the lazy dog", "-k", "3")
    found = one_object(langwright(*words, "--json").stdout)
    assert found["model"] == "tiny"
    assert found.keys() >= {"tokens", "attention", "logit_lens", "next", "target", "hidden_norms"}
    assert found["attention"] is found["effects"] is found["looks"] is None
    more = ("--scan", "heads", "--query", "@2", "--key", "@1", "--layer", "0", "--head", "1")
    asked = one_object(langwright(*words, *more, "--without", "0.0", "--json").stdout)
    assert (len(asked["effects"]), len(asked["looks"]["heads"])) == (2, 2)
    (shown,) = asked["attention"]
    assert (shown["layer"], shown["head"]) == (0, 1)
    assert all(abs(sum(row) - 1) < 1e-4 for row in shown["weights"])
    seen = langwright(*words, *more, "--without", "0.0").stdout
    assert seen.startswith("Without layer 0 head 0.")
    for one in found["tokens"][1:]:
        assert f" {one['position']} " in seen
    for said in ("surprisal/bits", "The lens", "largest effect", "Not read yet", "in %"):
        assert said in seen
    plain = langwright(*words).stdout
    assert f"{found['tokens'][1]['surprisal_bits']:.2f}" in plain
    assert "largest effect" not in plain


def test_what_inspect_cannot_do_it_says(langwright: Run) -> None:
    done = langwright("inspect", "short", "the " * 60, "--json")
    assert done.returncode == 1
    assert one_object(done.stdout)["error"]["type"] == "bad_input"
    assert "no layer 9" in langwright("inspect", "tiny", "the", "--layer", "9").stderr
    assert langwright("inspect", "tiny").returncode == 2
    wide = langwright("inspect", "tiny", "x y " * 30, "--layer", "0", "--head", "0").stdout
    assert "too wide to draw" in wide


def test_generate_prints_the_text_and_says_when_it_was_cut(langwright: Run) -> None:
    words = ("generate", "tiny", "the", "--seed", "1", "--max-tokens", "8", "--top-k", "20")
    answer = one_object(langwright(*words, "--json").stdout)
    assert answer.keys() >= {"text", "token_ids", "finish_reason", "usage", "timings"}
    plain = langwright(*words)
    assert plain.stdout == answer["text"] + "\n"
    assert ("limit: 8 tokens" in plain.stderr) == (answer["finish_reason"] == "length")


def test_an_answer_keeps_to_what_it_is_bound_to(langwright: Run, tmp_path: Path) -> None:
    words = ("generate", "tiny", "the", "--seed", "1", "--json")
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2}')
    said = one_object(langwright(*words, "--json-schema", str(schema)).stdout)
    assert said["finish_reason"] == "stop"
    assert set(json.loads(said["text"])) <= {1, 2}
    said = one_object(langwright(*words, "--regex", "[xy]{3}").stdout)
    assert re.fullmatch("[xy]{3}", said["text"])
    said = one_object(langwright(*words, "--choice", "a fox", "--choice", "q").stdout)
    assert said["text"] in ("a fox", "q")

    schema.write_text('{"type": ')
    done = langwright(*words, "--json-schema", str(schema))
    assert done.returncode == 1
    assert "is not JSON" in one_object(done.stdout)["error"]["message"]
    done = langwright(*words, "--regex", "(")
    assert "cannot be kept to" in one_object(done.stdout)["error"]["message"]
    done = langwright(*words, "--regex", "a", "--choice", "b")
    assert "exactly one" in one_object(done.stdout)["error"]["message"]


def test_log_probabilities_come_with_the_tokens(langwright: Run) -> None:
    words = ("generate", "tiny", "the", "--max-tokens", "3", "--temperature", "0", "--json")
    said = one_object(langwright(*words, "--logprobs", "2").stdout)
    assert [one["id"] for one in said["logprobs"]] == said["token_ids"]
    for one in said["logprobs"]:
        assert one["processed"] == 0.0
        assert one["top"][0] == [one["id"], one["logprob"]]
        assert len(one["top"]) == 2
    assert one_object(langwright(*words).stdout)["logprobs"] == []


def test_generate_ends_before_a_stop_string(langwright: Run) -> None:
    words = ("generate", "tiny", "the", "--seed", "1", "--max-tokens", "30", "--json")
    whole = one_object(langwright(*words).stdout)["text"]
    stop = whole[3:5]
    cut = one_object(langwright(*words, "--stop", stop, "--stop", "never said").stdout)
    assert cut["text"] == whole[: whole.index(stop)]
    assert cut["finish_reason"] == "stop"


def test_score_reads_a_file_byte_for_byte(langwright: Run, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"one\r\ntwo\r three\n")
    score = one_object(langwright("score", "tiny", "--file", str(path), "--json").stdout)
    assert set(score) == {
        "tokens",
        "scored_tokens",
        "bytes",
        "nll_nats_sum",
        "bits_per_byte",
        "perplexity",
        "window",
        "stride",
    }
    assert score["bytes"] == path.stat().st_size
    piped = langwright("score", "tiny", "--file", "-", stdin=path.open("rb"))
    assert "bits_per_byte" in piped.stdout
    few = one_object(
        langwright("score", "tiny", "one two", "--window", "4", "--stride", "2", "--json").stdout
    )
    assert (few["window"], few["stride"]) == (4, 2)


def test_chat_answers_a_message_and_piped_text(langwright: Run) -> None:
    words = ("chat", "tiny", "--seed", "1", "--max-tokens", "6")
    answer = one_object(langwright(*words, "--message", "hello", "--json").stdout)
    assert answer.keys() >= {"text", "token_ids", "finish_reason", "usage", "timings"}
    assert langwright(*words, input="hello\n").stdout == answer["text"] + "\n"
    two = one_object(
        langwright(*words, "--message", "hello", "--message", "and you?", "--json").stdout
    )
    assert [turn["role"] for turn in two["messages"]] == ["user", "assistant"] * 2
    assert two["messages"][1]["content"] == answer["text"]
    assert two["usage"]["prompt_tokens"] > answer["usage"]["prompt_tokens"]


def test_recipe(langwright: Run, tmp_path: Path) -> None:
    found = one_object(langwright("recipe", "list", "--json").stdout)["recipes"]
    listed = langwright("recipe", "list").stdout
    assert all(one["name"] in listed and one["about"] in listed for one in found)
    shown = langwright("recipe", "show", "gpu").stdout
    assert shown == one_object(langwright("recipe", "show", "gpu", "--json").stdout)["text"]
    copy = ("recipe", "copy", "gpu", str(tmp_path / "mine.toml"))
    assert "mine.toml" in langwright(*copy).stdout
    assert (tmp_path / "mine.toml").read_text() == shown
    refused = langwright(*copy, "--json")
    assert (refused.returncode, "--force" in refused.stdout) == (1, True)
    assert langwright(*copy, "--force").returncode == 0
    for words in (("show",), ("list", "gpu"), ("show", "gpu", "--force"), ("make",)):
        assert langwright("recipe", *words).returncode == 2, words


RECIPE = """
[pretrain]
corpus = "book"
vocab_size = 280
steps = 3
learning_rate = 1e-3
embedding_learning_rate = 1e-3
tokens_per_step = 64
context_length = 16
hidden_size = 32
intermediate_size = 64
num_layers = 1
num_heads = 2
num_kv_heads = 1
"""


def test_pretrain_makes_a_model_that_opens_by_its_name(
    langwright: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    env = environment | {"LANGWRIGHT_HOME": str(tmp_path / "home")}
    recipe, book = tmp_path / "r.toml", tmp_path / "book.txt"
    recipe.write_text(RECIPE)
    book.write_text("\n\n".join(f"Chapter {n}. In the beginning was {n}." for n in range(1200)))
    words = ("pretrain", str(recipe), f"corpus={book}", "--name", "grown", "steps=2")
    done = langwright(*words, "--json", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    result = one_object(done.stdout)
    assert result.keys() >= {
        "run",
        "model",
        "steps",
        "tokens",
        "resumed_from_step",
        "weights_sha256",
        "metrics",
    }
    assert (result["model"], result["steps"]) == ("grown", 2)
    again = langwright(*words, env=env)
    assert result["weights_sha256"] in again.stdout
    score = langwright("score", result["model"], "In the beginning", "--json", env=env)
    assert one_object(score.stdout)["bytes"] == 16


@pytest.mark.parametrize("verb", ["pretrain", "sft"])
def test_a_wrong_setting_is_named(langwright: Run, verb: str) -> None:
    wrong = langwright(verb, "tiny", "stepps=3", "--name", "x", "--json")
    assert wrong.returncode == 1
    assert "'steps'" in one_object(wrong.stdout)["error"]["remedy"]
    taken = langwright(verb, "tiny", "name=x", "--json")
    assert "--name" in one_object(taken.stdout)["error"]["remedy"]


def test_grow_names_the_presets(langwright: Run) -> None:
    wrong = langwright("grow", "--preset", "tny", "--json")
    assert wrong.returncode == 1
    assert "tiny" in one_object(wrong.stdout)["error"]["remedy"]


def test_embed(langwright: Run, small_encoder: Path) -> None:
    words = ("embed", str(small_encoder))
    found = one_object(langwright(*words, "the cat", "mat", "--json").stdout)
    assert [len(vector) for vector in found["embeddings"]] == [48, 48]
    assert found["usage"]["total_tokens"] == 7
    seen = langwright(*words, "the cat", "the cat").stdout.splitlines()
    assert seen[1] == seen[2]
    failed = langwright(*words, "the cat " * 9)
    assert (failed.returncode, "truncate" in failed.stderr) == (1, True)


@pytest.mark.slow
def test_another_back_end(langwright: Run) -> None:
    words = ("next-tokens", "tiny", "the", "-k", "3", "--json")
    own, other = (
        one_object(langwright(*words, "--backend", name).stdout) for name in ("own", "transformers")
    )
    assert [one["id"] for one in other["tokens"]] == [one["id"] for one in own["tokens"]]
    refused = langwright("generate", "tiny", "the", "--backend", "llama.cpp", "--json")
    assert "--to gguf" in one_object(refused.stdout)["error"]["remedy"]
    assert langwright("generate", "tiny", "the", "--backend", "vllm").returncode == 2


def test_bench(langwright: Run) -> None:
    """One run for people; the JSON is tested with the function."""
    words = ("bench", "short", "nothing", "--concurrency", "1,2", "--prompt-tokens", "8")
    done = langwright(*words, "--tokens", "6", "--rounds", "1")
    assert done.returncode == 0
    assert "2 at once" in done.stdout
    assert "nothing in own: There is no model 'nothing'" in done.stdout
    assert langwright("bench", "tiny", "--concurrency", "two").returncode == 2
