"""Texts from elsewhere, made safe to look at: nothing hidden in them, leaking words set apart.

Escaping is the business of whoever writes a format (HTML, JSON, LaTeX, CSV); this is about what a
reader sees. A direction override can make a sentence read backwards, a control character can hide
a part of it, so both are written out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# C0 and C1 controls but tab and line feed, marks that embed, override or isolate a direction, and
# halves of surrogate pairs, which no file can hold. Joiners stay: scripts and emoji need them.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def visible(text: str) -> str:
    """Text with hidden characters written out: a right-to-left override becomes `[U+202E]`."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", lines)


def encodable(text: str) -> str:
    """Text without halves of surrogate pairs, which UTF-8 cannot hold."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def pieces(text: str, words: Sequence[str]) -> list[str]:
    """Split a text at its leaking words: plain, marked, plain, marked, ..., plain.

    Words are found whole and in any case, longest first; a word that is nowhere whole (part of a
    compound, or of a script without spaces) is marked wherever it occurs.

    Returns:
        An odd number of visible pieces; joined they are the whole visible text.
    """
    shown = visible(text)
    wanted = sorted({visible(w).strip() for w in words} - {""}, key=lambda w: (-len(w), w))
    patterns = []
    for word in wanted:
        whole = rf"(?<!\w){re.escape(word)}(?!\w)"
        patterns.append(whole if re.search(whole, shown, re.IGNORECASE) else re.escape(word))
    if not patterns:
        return [shown]
    return re.split(f"({'|'.join(patterns)})", shown, flags=re.IGNORECASE)
