"""What a notebook's parameters cell declares, read without running it."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional

from pydantic import TypeAdapter, ValidationError

from iqasuite.errors import InputError
from iqasuite.paths import read_json
from iqasuite.yaml_files import shown

KINDS = {"Optional": Optional} | {kind.__name__: kind for kind in (int, float, str, bool, list, tuple, dict)}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `epochs: int = 3  # passes over the training part`."""

    name: str
    annotation: str  # source text, "" where there is none
    default: Any
    comment: str

    @property
    def is_group(self) -> bool:
        """Whether its value is a group of settings, which the default names."""
        return self.annotation == "dict" and bool(self.default)


def declared_parameters(notebook: Path) -> dict[str, Parameter]:
    """Parameters of a notebook by name, in the order of its cell tagged `parameters`.

    Raises:
        InputError: no such notebook, not a notebook, no such cell, or a line that is not `name: type = value`.
    """
    return _declared(_parameters_cell(notebook), f"{notebook.name}: parameters cell")


def parameters_in(source: str) -> dict[str, Parameter]:
    """Parameters that a cell's text declares with their types; none where it is no parameters cell."""
    try:
        declared = _declared(source, "cell")
    except InputError:
        return {}
    return {name: parameter for name, parameter in declared.items() if parameter.annotation}


def settled(value: Any, parameter: Parameter, where: str) -> Any:
    """The value of a parameter as the notebook gets it.

    A parameter of the type `dict` with a default is a group of settings: the default names them, and what is given is
    laid over it. A mapping with keys of one's own has another type, such as `dict[str, float]`.

    Args:
        value: as it was given.
        parameter: as the notebook declares it.
        where: what an error begins with.

    Raises:
        InputError: another type than declared; a setting that the default does not name, or of another type than there.
    """
    if not fits(value, parameter.annotation):
        found = f"{shown(value)} ({type(value).__name__})"
        raise InputError(f"{where}: found {found}; expected {parameter.annotation} as the notebook declares it")
    if not parameter.is_group:
        return value
    for key, setting in value.items():
        if key not in parameter.default:
            raise InputError(f"{where}: unknown setting {shown(key)}; expected some of {', '.join(parameter.default)}")
        default = parameter.default[key]
        if default is not None and not _fits(setting, type(default)):
            found = f"{shown(setting)} ({type(setting).__name__})"
            raise InputError(f"{where}: {key}: found {found}; expected {type(default).__name__}, such as {default!r}")
    return parameter.default | value


def _declared(cell: str, where: str) -> dict[str, Parameter]:
    try:
        statements, comments = ast.parse(cell).body, _comments(cell)
    except SyntaxError as error:
        raise InputError(f"{where}: line {error.lineno}: not Python: {error.msg}") from None
    except (tokenize.TokenError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: not Python: {error}") from None
    parameters = {}
    for statement in statements:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a text that explains
        target = statement.target if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [None])[0]
        value = getattr(statement, "value", None)
        if not isinstance(target, ast.Name) or value is None:
            raise InputError(
                f"{where}: line {statement.lineno}: found {ast.unparse(statement)!r}; expected name: type = value"
            )
        try:
            default = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            raise InputError(f"{where}: {target.id}: found {ast.unparse(value)!r}; expected a plain value") from None
        annotation = ast.unparse(statement.annotation) if isinstance(statement, ast.AnnAssign) else ""
        parameters[target.id] = Parameter(target.id, annotation, default, comments.get(statement.end_lineno or 0, ""))
    return parameters


def fits(value: Any, annotation: str) -> bool:
    """Whether a value is of the type that an annotation such as `int`, `list[str]` or `float | None` names.

    A whole number fits `float`; True and False fit `bool` only. To an annotation of other words everything fits.
    """
    return not annotation or _fits(value, _type(ast.parse(annotation, mode="eval").body))


def _fits(value: Any, kind: Any) -> bool:
    try:  # as JSON: a list, of a suite's file, fits a tuple
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return False
    return True


def _type(node: ast.expr) -> Any:
    """The type that an annotation names, nothing of it executed."""
    match node:
        case ast.BinOp(left, ast.BitOr(), right):
            return _type(left) | _type(right)
        case ast.Constant(value):
            return value if value in (None, ...) else Any
        case ast.Name(name):
            return KINDS.get(name, Any)
        case ast.Subscript(ast.Name("Literal"), choices):
            return Literal[ast.literal_eval(choices)]
        case ast.Subscript(ast.Name(name), inner) if name in KINDS:
            parts = tuple(map(_type, inner.elts)) if isinstance(inner, ast.Tuple) else _type(inner)
            return KINDS[name][parts]  # type: ignore[index]  # of those that take types
    return Any


def _parameters_cell(notebook: Path) -> str:
    if not notebook.is_file():
        known = ", ".join(sorted(path.stem for path in notebook.parent.glob("*.ipynb"))) or "none"
        raise InputError(f"notebook {notebook.stem!r} does not exist in {notebook.parent.name}/; known: {known}")
    try:
        for cell in read_json(notebook)["cells"]:
            if cell.get("cell_type") == "code" and "parameters" in cell.get("metadata", {}).get("tags", []):
                return "".join(cell["source"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{notebook.name}: not readable as a notebook (JSON with cells)") from None
    raise InputError(f"{notebook.name}: no code cell is tagged 'parameters'")


def _comments(source: str) -> dict[int, str]:
    """Comments by number of their line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}
