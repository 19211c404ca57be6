"""Measurements: `python -m benchmarks.NAME [--json]`. What was measured, and where, is in benchmarks/results."""
