"""Benchmarks: medians of interleaved rounds, written as JSON results."""
