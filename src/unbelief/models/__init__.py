"""Models: loading, saving, adapters, and statistics of answers without full logits."""
