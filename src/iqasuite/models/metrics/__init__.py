"""Metrics of an image, with its reference or without."""
