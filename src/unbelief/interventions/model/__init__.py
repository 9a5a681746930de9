"""Attacks on models, one module each; every module is found, none is listed."""
