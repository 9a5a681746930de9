"""Benchmarks: item sets and the lines of their results."""
