"""The peers of the benchmarks, each in an environment of its own."""
