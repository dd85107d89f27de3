"""Distortions of images, by family; `registry` has all of them by name."""
