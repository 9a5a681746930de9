"""The audit's part of a model card: numbers and what they do not show, and nobody's data.

A card is public. So the summary is built from numbers and from words of this project; whatever text
of the document still gets in (rules of gates, titles of measures and attacks) is held back where
it names a record, a person or a place on somebody's disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unbelief.errors import RequestError
from unbelief.hashing import weights_sha256
from unbelief.outputs import atomic_write
from unbelief.report import markdown
from unbelief.report.audit_document import AuditDocument
from unbelief.report.audit_tables import (
    attacks_table,
    flags_table,
    gates_table,
    measures_table,
    not_run_table,
)
from unbelief.report.audit_views import shown_verdict
from unbelief.report.numbers import when
from unbelief.report.tables import Table

BEGIN = "<!-- unbelief audit: begin; this part is replaced by `unbelief report --card` -->"
END = "<!-- unbelief audit: end -->"
CARD = "README.md"
WITHHELD = "(withheld)"
CLAIMS = {
    "exact": "retrained without the data, as its maker states",
    "approximate, tested": "approximate unlearning, tested as listed",
    "suppression only": "suppression only: the knowledge is still in the weights",
}
LIMITS = (
    "Approximate unlearning was run and tested as listed. The tests cannot show that no influence "
    "of the data remains, nor that another attack, more fine-tuning or another precision would not "
    "bring it back. This is not a legal certificate of erasure or anonymity. Whoever has this "
    "model and the one it came from can compare them and learn what was removed."
)
# Two folders or more, a home folder, a drive, or an address of a file.
_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?[\\/][^\s\\/]+[\\/][^\s,;)]*|~[\\/]\S+|file:\S+")
_SHORTEST = 4


def audit_summary(document: AuditDocument) -> str:
    """Markdown section for the card of the unlearned model.

    Holds no prompt, answer, response, name of a person, id of a record, or path. Options of
    attacks are left out but for numbers.

    Args:
        document: The audit.
    """
    own = [m for m in document.models if m.role == "unlearned"]
    has_retrained = any(m.role == "retrained" for m in document.models)
    lines = [
        ("verdict", shown_verdict(document).outcome),
        ("claim", CLAIMS[document.verdict.claim_class]),
        ("audited", when(document.created)),
        ("audited weights (SHA-256)", own[0].weights_sha256 if own else "not recorded"),
        ("precision", own[0].dtype if own else "not recorded"),
        ("compared with a retrained model", "yes" if has_retrained else "no"),
    ]
    tables = (
        Table(title="Audit", head=("", ""), rows=tuple(lines)),
        gates_table(document),
        flags_table(document),
        measures_table(document),
        _without_text(attacks_table(document), "Budget"),
        not_run_table(document),
    )
    public = _Public(document)
    written = [markdown.table(public.table(t)) for t in tables if t.rows]
    return "\n".join(["## Audit\n", *written, LIMITS + "\n"])


def put_into_card(document: AuditDocument, model: str | Path) -> Path:
    """Write the summary into a model's card, in place of an earlier one.

    Everything outside of the marked part stays as it is. The card is replaced as a whole.

    Args:
        document: The audit.
        model: Folder of the audited model.

    Returns:
        The card.

    Raises:
        RequestError: There is no card or no weights, the audit is of other weights, or the marks
            in the card are not a pair.
    """
    folder = Path(model).expanduser()
    card = folder / CARD
    if not card.is_file():
        raise RequestError(
            "there is no model card", where=str(card), remedy="name the folder of the audited model"
        )
    audited = {m.weights_sha256 for m in document.models if m.role == "unlearned"}
    found = weights_sha256(folder)
    if found not in audited:
        raise RequestError(
            f"the audit is of other weights: {', '.join(sorted(audited)) or 'none recorded'}; "
            f"this model has {found}",
            where=str(folder),
            remedy="name the audit of this model, or the model of this audit",
        )
    return atomic_write(card, with_section(_text(card), audit_summary(document), where=str(card)))


def with_section(card: str, section: str, *, where: str = CARD) -> str:
    """A card's text with the section between its marks, added at the end where there are none.

    Raises:
        RequestError: There is one mark without the other, or more than one pair.
    """
    block = f"{BEGIN}\n\n{section.strip()}\n\n{END}"
    begins, ends = card.count(BEGIN), card.count(END)
    if begins == ends == 0:
        return f"{card.rstrip()}\n\n{block}\n" if card.strip() else f"{block}\n"
    start, stop = card.find(BEGIN), card.find(END)
    if (begins, ends) != (1, 1) or stop < start:
        raise RequestError(
            "the marks of the audit's part are not one pair",
            where=where,
            remedy=f"delete every line with {BEGIN[:18]}... or {END}",
        )
    return card[:start] + block + card[stop + len(END) :]


def _text(card: Path) -> str:
    try:
        return card.read_bytes().decode("utf-8")  # as it is: no translation of line ends
    except UnicodeDecodeError:
        raise RequestError(
            "the card is not UTF-8", where=str(card), remedy="save it as UTF-8"
        ) from None


def _without_text(table: Table, column: str) -> Table:
    """A table whose column keeps `name = number` and nothing else."""
    at = table.head.index(column)
    rows = tuple(
        tuple(_numeric(c) if i == at else c for i, c in enumerate(row)) for row in table.rows
    )
    return Table(title=table.title, head=table.head, rows=rows)


def _numeric(options: str) -> str:
    kept = re.findall(r"(?:^|, )(\w+ = -?[\d.]+(?:e[-+]?\d+)?)(?=, |$)", options)
    return ", ".join(kept) or "–"


class _Public:
    """Holds back cells that name something of the document's data.

    Args:
        document: Whose data it is.
    """

    def __init__(self, document: AuditDocument):
        texts = {text.strip() for text in _private(document)}
        self._names = [text.casefold() for text in texts if _telling(text)]
        # A bare name, such as `original`, is a word of the report as well; a place is not.
        places = (m.source for m in document.models if re.search(r"[\\/]", m.source))
        self._names += [place.casefold() for place in places]

    def table(self, table: Table) -> Table:
        """The table with such cells withheld."""
        rows = tuple(tuple(self._cell(c) for c in row) for row in table.rows)
        return Table(title=self._cell(table.title), head=table.head, rows=rows)

    def _cell(self, cell: str) -> str:
        if _PATH.search(cell):
            return WITHHELD
        folded = cell.casefold()
        return WITHHELD if any(_within(name, folded) for name in self._names) else cell


def _private(document: AuditDocument) -> Iterator[str]:
    """Everything of the records and of what was said about them."""
    if document.request_id:
        yield document.request_id
    for row in document.prompts:
        yield from (row.id, row.group or "", row.prompt, row.truth, *row.facts)
        yield from (row.group or "").split()
        for response in row.responses:
            yield from (response.text, *response.words)


def _telling(text: str) -> bool:
    """Whether a text can name anything: several words, or one that is no common word."""
    if len(text) < _SHORTEST or re.fullmatch(r"[\d.,%\s-]+", text):
        return False
    return not (text.isalpha() and text.islower())


def _within(name: str, text: str) -> bool:
    at = text.find(name)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(name) : at + len(name) + 1]
        if not (before.isalnum() or after.isalnum()):
            return True
        at = text.find(name, at + 1)
    return False
