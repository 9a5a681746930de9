from pathlib import Path

from unbelief.objectives.methods import methods, terms
from unbelief.objectives.page import methods_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == methods_page(), (
        "python -m unbelief.objectives.page > docs/methods.md"
    )


def test_every_method_and_term_is_on_the_page():
    page = methods_page()
    assert all(f"`{name}`" in page for name in [*methods(), *terms()])
    assert ".. math" not in page
