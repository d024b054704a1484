"""Benchmarks: ratios against peers of the same run, for machines are noisy and absolute times mean little."""
