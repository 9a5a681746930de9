"""What texts say: words that compare equal however they are written, key facts, names."""
