"""Constitutional AI (Bai et al. 2022, arXiv 2212.08073): a model's own criticism of its answers,
and a judge's choice between them, by principles that are written down."""
