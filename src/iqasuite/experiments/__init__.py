"""Suites, batches, galleries, and the experiments that notebooks and commands drive."""
