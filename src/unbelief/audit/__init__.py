"""What a privacy engineer signs: leaks before and after attacks, gates fixed beforehand, limits."""
