"""Figures, tables, provenance, notebook pages."""
