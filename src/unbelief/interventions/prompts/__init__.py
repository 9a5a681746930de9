"""Attacks on prompts, one module each; every module is found, none is listed."""
