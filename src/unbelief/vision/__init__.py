"""Forgetting classes of images when the request, the model and its labels disagree (TARF)."""
