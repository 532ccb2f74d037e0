from __future__ import annotations

import time
from pathlib import Path

import pytest

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich import latex


def read(tmp_path: Path, source: str | bytes) -> Extracted:
    file = tmp_path / "paper.tex"
    file.write_bytes(source.encode() if isinstance(source, str) else source)
    (found,) = latex.read(file)
    return found


PAPER = r"""% \title{A comment}
\documentclass[11pt]{article}
\newcommand{\keep}[1]{\textbf{#1}}
\title[Short]{On G\"odel\\ \& \'Etude}
\begin{document}
\maketitle

We show 50\% gains,
and no more~\cite{a,b}. % a remark

\section{Mills\label{sec:mills}}
A \keep{macro}; ``quoted'' -- pages 1--2.\footnote{A note.} Na\"{\i}ve \c{c}a \v{s}.
\begin{equation}\label{eq:e}
% Einstein
E = mc^2
\end{equation}
\begin{itemize}
  \item one
  \item[two] $x_1 \{y\}$
\end{itemize}
\begin{figure}[t]
\includegraphics[width=3cm]{x.png}
\caption{The \emph{caption} of {it}.}\label{fig}
\end{figure}
\begin{verbatim}
% kept
  int x = {1;
\end{verbatim}
\begin{tabular}{l|r}
a & b \\ \hline
1 & 2 \\
\end{tabular}

\href{https://example.org}{A link} and \verb|a%b_c|.
\begin{thebibliography}{9}\bibitem{a} A book.\end{thebibliography}
\end{document}
behind the end
"""

TEXT = r"""We show 50% gains, and no more.

Mills

A macro; “quoted” – pages 1–2. (A note.) Naïve ça š.

\begin{equation}
E = mc^2
\end{equation}

- one
- two $x_1 \{y\}$

The caption of it.

% kept
  int x = {1;

a | b
1 | 2

A link and a%b_c."""


def test_a_paper_becomes_its_text_and_title(tmp_path: Path) -> None:
    assert read(tmp_path, PAPER) == Extracted(TEXT, "On Gödel & Étude")


def test_a_chapter_without_a_preamble_is_read_whole(tmp_path: Path) -> None:
    assert read(tmp_path, "\\chapter{One}\nIt turned.") == Extracted("One\n\nIt turned.")


def test_an_open_formula_in_a_caption_does_not_reach_into_the_text(tmp_path: Path) -> None:
    source = "\\begin{figure}\\caption{It $turned.}\\end{figure}\nIt $x$ \\emph{stood}."
    assert read(tmp_path, source).text == "It $turned.\n\nIt $x$ stood."


def test_a_comment_takes_its_line_end_along_but_no_paragraph(tmp_path: Path) -> None:
    assert read(tmp_path, "foo%x\n  bar%\n\nbaz 5\\% \\\\% y\nq").text == "foobar\n\nbaz 5%\nq"


def test_latin_1_is_recognised_and_reported(tmp_path: Path) -> None:
    text = "Über den Flüssen hängen Brücken, und die Mühlen mahlen früh für die Bäcker. " * 20
    found = read(tmp_path, text.encode("latin-1"))
    assert found.text == text.strip()
    assert found.encoding is not None


@pytest.mark.parametrize(
    "source", ["", "% all\n% comment", "\\begin{document}\\end{document}", "\\label{x}"]
)
def test_a_source_without_text_is_an_error(tmp_path: Path, source: str) -> None:
    with pytest.raises(BadInput, match="no text"):
        read(tmp_path, source)


def test_a_source_over_the_bound_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at most 4,194,304"):
        read(tmp_path, "x" * (latex.MAX_BYTES + 1))


def test_captions_within_captions_do_not_go_deep(tmp_path: Path) -> None:
    nested = "\\begin{figure}\\caption{" * 5000 + "}" * 5000
    assert read(tmp_path, "It turned. " + nested).text == "It turned."


@pytest.mark.parametrize(
    "piece",
    [
        "\\section{",
        "\\begin{figure}\\caption{",
        "\\begin{verbatim}",
        "\\begin{equation}",
        "\\title{",
        "\\title[",
        "\\begin{figure}\\caption[",
        "\\verb|",
        "$x",
        "\\[",
        "{",
        "}",
        "\\item[",
        "\\cite[",
        "%",
        "\\begin{",
        "\\'",
        "\\",
    ],
)
def test_what_is_never_closed_takes_linear_time(tmp_path: Path, piece: str) -> None:
    started = time.process_time()
    found = read(tmp_path, "Text. " + piece * (100_000 // len(piece)))
    assert "Text" in found.text
    assert time.process_time() - started < 4
