"""From questions to a verdict: examples, metrics, the runner, statistics, the comparison and its report.

Sees answers, never models or stores: whatever implements ``Responder`` is measured by the same code.
"""
