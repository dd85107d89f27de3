"""YAML files that people write and others may send: plain values only, each key once, and never large when read."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.reader import Reader

from iqasuite.errors import InputError

_MOST_BYTES = 100_000  # the longest suite of this project has 5,000
_MOST_NODES = 10_000  # values as they are written
_MOST_READ = 200_000  # values and characters, where an alias (*name) counts as all that it stands for
_DEEPEST = 30  # lists and mappings within each other
_LONGEST_NUMBER = 40  # characters
_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + kind for kind in ("str", "null", "bool", "int", "float", "seq", "map", "merge")}
_KEY = re.compile(r".{1,100}")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file in UTF-8: texts, finite numbers, true, false, null, lists, and mappings of texts.

    1e-3 is a number, as YAML 1.2 has it, and a date is a text. Aliases and merges (`<<: *name`) are filled in.

    Raises:
        InputError: not YAML, more than 100,000 bytes, other types, a key twice, a number that is not finite or beyond
            64 bits, values nested deeper than 30 or within themselves, aliases that stand for very much. The message
            names the file, mostly the line, and the key.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(f"more than {_MOST_BYTES:,} bytes; expected a short text file")
        loader = _Loader(content.decode("utf-8-sig"))
        node = loader.get_single_node()
        if node is None:
            return None
        loader.check(node)
        return loader.construct_document(node)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}: line {line}: not YAML ({_short(error.problem or error.context)})") from None
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise InputError(f"{path}: not YAML in UTF-8 ({_short(error)})") from None


def shown(value: Any) -> str:
    """A value for a message: its repr, the end left out where it is long."""
    return _short(repr(value))


def is_file_name(text: str) -> bool:
    """Whether a text can be part of a file's name on every system: ASCII letters, digits, and _ . - within."""
    return bool(_NAME.fullmatch(text)) and not _DEVICE.fullmatch(text)


def valid_name(name: Any, where: str) -> str:
    """The name of a suite or a run, which files are called by.

    Args:
        name: as it was read.
        where: file and key, or option, for the message.

    Raises:
        InputError: it is no text, or cannot be part of a file's name.
    """
    if not isinstance(name, str) or not is_file_name(name):
        raise InputError(
            f"{where}: found {shown(name)}; expected at most 100 letters, digits, '_', '-', and '.' within, no "
            "Windows device, and every {variable} in foreach"
        )
    return name


def _short(text: Any) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= 120 else f"{text[:119]}…"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which counts while it reads and checks all that was read before it makes values of it."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes, self.depth, self.left = 0, 0, _MOST_READ

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """The next value as it is written; PyYAML calls this within itself for what is nested."""
        self.nodes, self.depth = self.nodes + 1, self.depth + 1
        if self.nodes > _MOST_NODES or self.depth > _DEEPEST:
            line = self.peek_event().start_mark.line + 1
            raise InputError(
                f"line {line}: more than {_MOST_NODES:,} values, or nested deeper than {_DEEPEST}; expected less"
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def check(self, node: yaml.Node, key: str = "", depth: int = 1) -> None:
        """Refuse what is not plain, or much; walks through aliases, so that an endless one ends at a bound."""
        where = f"line {node.start_mark.line + 1}" + (f", key {shown(key)}" if key else "")
        self.left -= 1 + len(node.value)
        if self.left < 0 or depth > _DEEPEST:
            raise InputError(
                f"{where}: aliases (*name) stand for more than {_MOST_READ:,} characters, nest deeper than {_DEEPEST} "
                "or contain themselves; expected them written out"
            )
        if node.tag not in _PLAIN:
            raise InputError(f"{where}: not YAML of plain values (tag {shown(node.tag)}); expected no tag")
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(node, where)
        elif isinstance(node, yaml.SequenceNode):
            for part in node.value:
                self.check(part, key, depth + 1)
        else:
            _check_keys(node, where)
            for name, part in node.value:
                self.check(name, "", depth + 1)
                self.check(part, name.value, depth + 1)

    def _check_scalar(self, node: yaml.ScalarNode, where: str) -> None:
        if Reader.NON_PRINTABLE.search(node.value):  # an escape such as "\0"
            raise InputError(f"{where}: {shown(node.value)} has control characters; expected a printable text")
        kind = node.tag.removeprefix(_TAG)
        if kind not in ("int", "float", "bool"):
            return
        try:
            value = self.yaml_constructors[node.tag](self, node) if len(node.value) <= _LONGEST_NUMBER else math.inf
            fine = math.isfinite(value) and (kind == "float" or abs(value) < 2**63)
        except (ValueError, LookupError, ArithmeticError):
            fine = False
        if not fine:
            expected = "true or false" if kind == "bool" else "a finite number of at most 64 bits, or a text in quotes"
            raise InputError(f"{where}: found {_short(node.value)}; expected {expected}")


_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789."))


def _check_keys(node: yaml.MappingNode, where: str) -> None:
    keys = set()
    for key, _ in node.value:
        if key.tag == f"{_TAG}merge":
            continue
        line = f"line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAG}str" or not _KEY.fullmatch(key.value):
            raise InputError(f"{line}: key {_short(key.value)} is not a short text; expected one, or quotes around it")
        if key.value in keys:
            raise InputError(f"{line}: key {shown(key.value)} stands twice in one mapping")
        keys.add(key.value)
