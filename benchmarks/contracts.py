"""Others' contract suites against a live server of small random models.

    .venv/bin/python benchmarks/contracts.py [--archives FOLDER] [--only openai,anthropic,llama,lm]

Needs pip's network (or the source archives in FOLDER), pytest, pytest-asyncio, respx,
dirty-equals, inline-snapshot, http-snapshot, httpx-aiohttp, requests, wget and lm-eval. Each suite
runs from its package's own source archive, as it is but for the key in llama.cpp's. Prints a table
in Markdown; every failure needs its reason in `REASONS`, or the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ARCHIVES = {"openai": "3.57.0", "anthropic": "2.14.0", "llama_cpp_python": "0.3.36"}
API = "tests/api_resources"
OPENAI = [f"{API}/{one}.py" for one in ("chat/test_completions", "test_completions", "test_models")]
OPENAI += [f"{API}/test_responses.py"]
LLAMA = {
    "test_basic": "server_start_simple",
    "test_chat_completion": "response_format or invalid_chat_completion_req or logprobs or "
    "logit_bias or context_size_exceeded or multiple_choices",
    "test_ctx_shift": "disabled_stream",
    "test_tokenize": "detokenize or pieces",
}
WIDE = {"test_compat_anthropic": "not vision and not thinking_history and not thinking_with"}
"""With a longer window."""
EMBEDDING = (
    "single and not usage or multiple and not usage and not fa or mixed or invalid or same or "
    "too_long or base64"
)
SECURITY = "public or incorrect or openai_library"
OFF = {
    "test_basic: all but health": "`/props`, `/slots`, `--no-ui`, aliases, tags and split files "
    "are llama.cpp's own",
    "test_chat_completion: others": "texts and counts of stories260K, templates and switches given "
    "at the start, `timings`, `__verbose`, grammars in GBNF",
    "test_completion, test_ignore_eos, test_infill, test_speculative": "`/completion` and "
    "`/infill` are llama.cpp's own, or texts of stories260K",
    "test_compat_anthropic: images, thoughts by template": "a model that sees, or a template that "
    "is chosen at the start",
    "test_compat_oai_responses": "texts of stories260K, and `timings`; openai's own suite is run",
    "test_ctx_shift: others": "`/completion`; nothing is shifted here, a long prompt is refused",
    "test_embedding: others": "pooling chosen at the start, token counts of one vocabulary",
    "test_security: others": "`/completions` in llama.cpp's form, origins and media paths given at "
    "the start",
    "test_tokenize_with_bos": "needs a model with a start token of the id 1",
    "test_template, test_tool_call": "templates chosen at the start; real models",
    "test_lora, test_slot_save, test_kv_keep_only_active, test_sleep, test_router, test_metrics, "
    "test_rerank, test_proxy, test_mcp_servers, test_tools_builtin, test_vision_api, test_stream, "
    "test_compat_gcp": "of llama.cpp's own end points and switches",
}
TOOLS = (
    "{% if tools %}{{ 'Tools: ' + tools | tojson + '\n' }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The chat template of the made-up model: ChatML that knows tools."""
NOTHING = "Not offered: nothing is stored, so there is nothing to list, fetch, change or cancel"
REASONS = {
    r"chat\.test_completions.*(retrieve|update|list|delete)": NOTHING,
    r"test_responses.*(retrieve|delete|cancel)": NOTHING,
    r"openai.*test_responses.*compact": "Not offered: a compacted talk is one provider's secret",
    r"openai.*test_models.*delete": "Not offered in OpenAI's dialect; Ollama's deletes",
    r"openai.*api_resources\.test_completions.*create_with_all_params_overload_1": "With `echo` "
    "the first token has no log-probability: null, as OpenAI itself answers; the SDK's type says a "
    "number",
    r"openai.*test_responses.*create_overload": "A call without `input` asks nothing: OpenAI takes "
    "a stored prompt in its place, and here is none",
    r"openai.*test_embeddings.*\[(strict|aiohttp)\]": "The SDK checks the answer before it decodes "
    "the base64 that it asks for itself; its check wants numbers",
    r"llama.*response_format.response_format[45]": "Neither the type `sound` nor the schema `123` "
    "is known: the default mode refuses both, the lenient one leaves them out and names them",
    r"llama.*invalid_chat_completion_req.messages7": "Two turns of the assistant in a row are a "
    "talk like another; the template writes both",
    r"llama.*context_size_exceeded": "The status, `n_prompt_tokens` and `n_ctx` are as asked; the "
    "type is OpenAI's `invalid_request_error`, with the code `context_length_exceeded`",
    r"llama.*anthropic_empty_messages": "No messages ask nothing; Anthropic refuses them too",
    r"llama.*anthropic_tool_result_with_image": "The model sees nothing: 400, where the test asks "
    "for llama.cpp's 500",
    r"llama.*test_embedding_mixed_input.-": "OpenAI refuses an empty text too",
    r"llama.*test_embedding_(mixed_input|content_text)": "An encoder takes texts: the ids that "
    "clients send are mostly another encoding's; arrays of both, and objects, are llama.cpp's own",
    r"llama.*test_embedding_error_prompt_too_long": "Refused with both numbers, in other words "
    "than `too large`",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archives", type=Path)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/langwright-contracts")
    parser.add_argument("--only", default="openai,anthropic,llama,lm")
    given = parser.parse_args()
    only = given.only.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        at = Path(temporary)
        suites = {name: unpacked(name, given.archives, given.cache, at) for name in ARCHIVES}
        make_decoder(at / "decoder", 256)
        make_decoder(at / "wide", 2048)
        make_encoder(at / "encoder")
        told = Told()
        if "openai" in only:
            with serving(at / "decoder", at / "home") as url:
                env = {"TEST_API_BASE_URL": f"{url}/v1"}
                told.add("openai", run(suites["openai"], OPENAI, env, at))
            with serving(at / "encoder", at / "home") as url:
                env = {"TEST_API_BASE_URL": f"{url}/v1"}
                told.add("openai", run(suites["openai"], [f"{API}/test_embeddings.py"], env, at))
        if "anthropic" in only:
            with serving(at / "wide", at / "home") as url:
                files = [f"{API}/test_messages.py", f"{API}/test_models.py"]
                words = [*files, "-p", "tests._alias_httpx"]
                env = {"TEST_API_BASE_URL": url}
                told.add("anthropic", run(suites["anthropic"], words, env, at))
        if "llama" in only:
            llama(suites["llama_cpp_python"], at, told)
        if "lm" in only:
            with serving(at / "wide", at / "home") as url:
                lm_eval(url, at)
        sys.exit(told.print())


def llama(suite: Path, at: Path, told: Told) -> None:
    from langwright.server.keys import Keys

    folder = suite / "vendor/llama.cpp/tools/server/tests"
    env = {"DEBUG_EXTERNAL": "1"}
    for model, files in (("decoder", LLAMA), ("wide", WIDE)):
        with serving(at / model, at / "home") as url:
            env["PORT"] = url.rsplit(":", 1)[1]
            for file, chosen in files.items():
                told.add("llama.cpp", run(folder, [f"unit/{file}.py", "-k", chosen], env, at))
    with serving(at / "encoder", at / "home") as url:
        env["PORT"] = url.rsplit(":", 1)[1]
        told.add("llama.cpp", run(folder, ["unit/test_embedding.py", "-k", EMBEDDING], env, at))
    (at / "locked").mkdir()
    key = Keys(at / "locked").add("suite", ["use"])
    file = folder / "unit/test_security.py"
    file.write_text(file.read_text().replace("sk-this-is-the-secret-key", key))
    with serving(at / "wide", at / "locked") as url:
        env["PORT"] = url.rsplit(":", 1)[1]
        told.add("llama.cpp", run(folder, ["unit/test_security.py", "-k", SECURITY], env, at))


class Told:
    """What came out: the table, and the failures with their reasons."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._failed: defaultdict[str, list[str]] = defaultdict(list)
        self._unexplained = 0

    def add(self, suite: str, report: ElementTree.ElementTree[ElementTree.Element[str]]) -> None:
        for case in report.iter("testcase"):
            place = (case.get("classname") or "").split(".Test")[0]
            file = place.removeprefix("tests.api_resources.").removeprefix("unit.")
            failed = next((one for one in case if one.tag in ("failure", "error")), None)
            outcome = "skipped" if case.find("skipped") is not None else "passed"
            row = f"{suite} | {file}"
            self._counts[row]["passed" if failed is None else "failed"] += outcome == "passed"
            self._counts[row]["skipped"] += outcome == "skipped"
            if failed is not None:
                self._explain(f"{suite}: {place}.{case.get('name')}", failed.get("message") or "")

    def _explain(self, name: str, message: str) -> None:
        for pattern, reason in REASONS.items():
            if re.search(pattern, name):
                self._failed[reason].append(name)
                return
        self._unexplained += 1
        print(f"UNEXPLAINED {name}\n    {message[:400]}", flush=True)

    def print(self) -> int:
        print("| suite | file | passed | failed | skipped |\n|---|---|---:|---:|---:|")
        for row, counts in self._counts.items():
            numbers = " | ".join(str(counts[one]) for one in ("passed", "failed", "skipped"))
            print(f"| {row} | {numbers} |")
        print("\n| failures | reason | such as |\n|---:|---|---|")
        for reason, names in self._failed.items():
            print(f"| {len(names)} | {reason}. | `{names[0].split(': ', 1)[1]}` |")
        print("\n| of llama.cpp's suite left out | for |\n|---|---|")
        for what, why in OFF.items():
            print(f"| {what} | {why}. |")
        return 1 if self._unexplained else 0


def run(
    folder: Path, words: list[str], env: dict[str, str], at: Path
) -> ElementTree.ElementTree[ElementTree.Element[str]]:
    report = at / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "-q"]
    said = subprocess.run(
        [*command, "--tb=line", f"--junitxml={report}", *words],
        cwd=folder,
        env={**os.environ, **env, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    if not report.exists():
        sys.exit(f"{words}: no report\n{said.stdout[-2000:]}{said.stderr[-2000:]}")
    return ElementTree.parse(report)


def unpacked(name: str, archives: Path | None, cache: Path, at: Path) -> Path:
    stem = f"{name}-{ARCHIVES[name]}"
    folder = archives or cache
    if not (folder / f"{stem}.tar.gz").exists():
        wanted = f"{name}=={ARCHIVES[name]}"
        command = [sys.executable, "-m", "pip", "download", "--no-binary", name, "--no-deps"]
        subprocess.run([*command, "--dest", str(folder), wanted], check=True)
    with tarfile.open(folder / f"{stem}.tar.gz") as archive:
        archive.extractall(at / "suites", filter="data")
    return at / "suites" / stem


@contextmanager
def serving(model: Path, home: Path) -> Iterator[str]:
    env = {**os.environ, "LANGWRIGHT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "langwright", "serve", str(model), "--lenient", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def make_decoder(folder: Path, context_length: int) -> None:
    """Random weights; with a short window an answer without a limit ends soon."""
    import torch

    from langwright.model import Architecture, Decoder, ModelBundle
    from langwright.model.folder import save_folder
    from langwright.tokens import TURN_END, ChatTemplate, train_bpe

    tokenizer = train_bpe(["the quick fox and the lazy dog, the 12 words " * 3], 320)
    shape = Architecture.build(
        {
            "family": "qwen3",
            "vocab_size": tokenizer.vocab_size,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "num_kv_heads": 2,
            "head_dim": 16,
            "context_length": context_length,
        }
    )
    module = Decoder(shape)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.2 * noise if weight.dim() == 1 else noise * weight.shape[-1] ** -0.5)
        # The likeliest tokens are plain text, so that what is told of tokens adds up to it.
        for token in range(tokenizer.vocab_size):
            said = tokenizer.token_bytes(token)
            if token in tokenizer.special.values() or not (said.isascii() and said.isalpha()):
                module.embed_tokens.weight[token] = 0
    module.requires_grad_(False).eval()
    ends = frozenset({tokenizer.special[TURN_END]})
    folder.mkdir()
    template = ChatTemplate(TOOLS, tokenizer)
    save_folder(folder, ModelBundle(module, tokenizer, template, ends, None))


def make_encoder(folder: Path) -> None:
    """Random weights, as sentence-transformers would save them."""
    import tokenizers
    import torch
    import transformers

    for part in ("1_Pooling", "2_Normalize"):
        (folder / part).mkdir(parents=True)
    core = tokenizers.BertWordPieceTokenizer()
    core.train_from_iterator(["the cat sat on the mat"] * 3, vocab_size=80, show_progress=False)
    core.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3}
    shape |= {"vocab_size": 80, "num_attention_heads": 4, "max_position_embeddings": 512}
    transformers.BertModel(transformers.BertConfig(**shape)).save_pretrained(folder)
    kinds = ("Transformer", "Pooling", "Normalize")
    parts = [{"type": f"sentence_transformers.models.{one}"} for one in kinds]
    parts[1]["path"], parts[2]["path"] = "1_Pooling", "2_Normalize"
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')


def lm_eval(url: str, at: Path) -> None:
    """50 made-up questions by lm-eval's `local-completions`, and in-process as by `lw.evaluate`."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    import langwright as lw

    folder = at / "decoder"
    remote = LocalCompletionsAPI(
        base_url=f"{url}/v1/completions",
        model=str(folder),
        tokenizer=str(folder),
        tokenizer_backend="huggingface",
        max_length=256,
        batch_size=4,
        num_concurrent=1,
    )
    pairs = [
        (f"The {a} fox saw {number} dogs and", f" {b}")
        for number in range(50)
        for a, b in (("quick", "the lazy dog"), ("quick", "12 words"))
    ]
    asked = [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(pairs)]
    theirs = [one[0] for one in remote.loglikelihood(asked, disable_tqdm=True)]
    ours = [one.logprob for one in lw.load(str(folder)).backend.likelihoods(pairs)]
    far = max(abs(x - y) for x, y in zip(ours, theirs, strict=True))
    same = sum(
        (ours[i] > ours[i + 1]) == (theirs[i] > theirs[i + 1]) for i in range(0, len(pairs), 2)
    )
    print(f"lm-eval local-completions: {same} of 50 choices alike, farthest {far:.1e} nats\n")
    if same != 50 or far > 1e-4:
        sys.exit("lm-eval's numbers are others than those in-process")


if __name__ == "__main__":
    main()
