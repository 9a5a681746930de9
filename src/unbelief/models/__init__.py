"""Models: loading, saving, adapters, and what a model says about answers."""
