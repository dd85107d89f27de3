"""Pixels: decoding, cache, crops, patches, distortions, JPEG streams."""
