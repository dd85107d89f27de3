"""Trained models: cards, reading, writing, catalogue, ONNX export."""
