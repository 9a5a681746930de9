"""Key facts, as scores look for them: see `unbelief.wording.facts`."""

from unbelief.wording.facts import Facts, key_facts, recalled

__all__ = ["Facts", "key_facts", "recalled"]
