"""The page about images says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from unbelief.vision.finding import methods

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "vision.md").read_text(encoding="utf-8")


def test_the_examples_run_one_after_the_other() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/vision.md", "exec"), names)


def test_every_method_is_on_the_page() -> None:
    assert all(f"`{name}`" in PAGE for name in methods())
