"""Measuring models: tasks, graders, baselines and intervals."""

from langwright.evaluation.agreement import (
    Agreement,
    agreement,
    cohen_kappa,
    krippendorff_alpha,
)
from langwright.evaluation.answer_format import (
    FormatVerdict,
    follows_format,
    num_sentences,
    sentences,
    starts_with_term,
)
from langwright.evaluation.compression import xz_bits_per_byte
from langwright.evaluation.edit_distance import edit_distance
from langwright.evaluation.evaluate import evaluate
from langwright.evaluation.interval import (
    Interval,
    bootstrap_difference,
    bootstrap_ratio,
    clopper_pearson,
    wilson,
)
from langwright.evaluation.likelihood import document_nats
from langwright.evaluation.ngram import WittenBell
from langwright.evaluation.paired import Paired, compare, mcnemar
from langwright.evaluation.task import Task, built_in, read_task

__all__ = [
    "Agreement",
    "FormatVerdict",
    "Interval",
    "Paired",
    "Task",
    "WittenBell",
    "agreement",
    "bootstrap_difference",
    "bootstrap_ratio",
    "built_in",
    "clopper_pearson",
    "cohen_kappa",
    "compare",
    "document_nats",
    "edit_distance",
    "evaluate",
    "follows_format",
    "krippendorff_alpha",
    "mcnemar",
    "num_sentences",
    "read_task",
    "sentences",
    "starts_with_term",
    "wilson",
    "xz_bits_per_byte",
]
