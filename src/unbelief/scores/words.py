"""Words of texts, as scores compare them: see `unbelief.wording.words`."""

from unbelief.wording.words import Word, is_unspaced, stems, tokens, words

__all__ = ["Word", "is_unspaced", "stems", "tokens", "words"]
