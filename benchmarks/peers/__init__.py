"""The peers of the benchmarks, each in its own environment."""
