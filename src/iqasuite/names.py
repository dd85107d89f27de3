"""The natural order of names."""

from __future__ import annotations

from collections.abc import Iterable


def natural_key(name: str) -> tuple[int, str]:
    """What names are sorted by, so that user2 comes before user10."""
    return len(name), name


def natural_order(names: Iterable[str]) -> list[str]:
    """Unique names, user2 before user10."""
    return sorted(set(names), key=natural_key)
