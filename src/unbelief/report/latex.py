"""LaTeX tables in the style of booktabs; every text is escaped."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from unbelief.report.tables import Table
from unbelief.report.visible import visible

_NARROW, _TIE = "\ue000", "\ue001"  # stand for blanks that must outlive the joining of lines
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_\allowbreak{}",  # long names may be broken there
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": "-{}",  # two of them would become a dash
    "[": "{[}",  # after \\ it would be read as a length
    "]": "{]}",
    _NARROW: r"\,",
    _TIE: "~",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "→": r"$\rightarrow$",
    "λ": r"$\lambda$",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    **{s: f"$^{{{d}}}$" for s, d in zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)},
    "⁻": "$^{-}$",
}
PREAMBLE = (
    "% Needs \\usepackage{booktabs,longtable,array} and, with pdfLaTeX, \\usepackage[T1]{fontenc}\n"
    "% and \\usepackage{textcomp}. Texts in other scripts need LuaLaTeX or XeLaTeX with a font.\n"
)


def escape(text: str) -> str:
    """One line of text without any command, mathematics or comment in it."""
    line = unicodedata.normalize("NFC", " ".join(_one_line(visible(text)).split()))
    return "".join(_ESCAPES.get(character, character) for character in line)


def _one_line(text: str) -> str:
    return text.replace("\u202f", _NARROW).replace("\u00a0", _TIE)


def _wrapping(share: float) -> str:
    # Less the space between columns, so that shares that sum to one fill the line.
    width = rf"\dimexpr {share:g}\linewidth-2\tabcolsep\relax"
    return rf">{{\raggedright\arraybackslash}}p{{{width}}}"


def table(content: Table, label: str, widths: Sequence[float] = ()) -> str:
    r"""A `longtable` that may break over pages.

    Args:
        content: Texts, unescaped.
        label: For `\ref`, without the prefix `tab:`.
        widths: Share of the line width per column, for columns whose text is to wrap; by default
            nothing wraps and numbers are set to the right.
    """
    columns = "".join(map(_wrapping, widths)) or "l" + "r" * (len(content.head) - 1)
    head = " & ".join(escape(name) for name in content.head) + r" \\"
    lines = [
        r"\begingroup\footnotesize",
        rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
        rf"\caption{{{escape(content.title)}}}\label{{tab:{label}}}\\",
        r"\toprule",
        head,
        r"\midrule",
        r"\endfirsthead",
        r"\toprule",
        head,
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
        *(" & ".join(escape(cell) for cell in row) + r" \\" for row in content.rows),
        r"\end{longtable}",
        r"\endgroup",
    ]
    return "\n".join(lines) + "\n"
