"""What a notebook was given: its declared names, and a refusal of everything that looks like one but is not.

- Names come from the assignments in the cells run so far; the namespace alone cannot tell a misspelt parameter.
- Where papermill has injected its cell, what was run after it is the notebook's own business.
- Only plain data counts: results of steps, modules and functions are no parameters.
- A secret is no parameter: papermill writes parameters into the notebook's file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from rollback_lib.errors import BadParameters
from rollback_lib.model import Redactor
from rollback_lib.parameters.run import PROCEDURE_PARAMETERS
from rollback_lib.parameters.secrets import SECRET_NAMES
from rollback_lib.parameters.words import UNTOUCHED, Place, closest, dotted

__all__ = ["given_values", "notebook_cells", "refuse_secrets", "secret_places"]

_INJECTED = "# Parameters"  # the first line of papermill's cell
_SECRET_NAME = re.compile(r"(?i)(token|secret|passw(or)?d|credential|api_?key|deploy_?key|webhook)")
_IF_REAL = (
    "If it was a real one, revoke it on its platform and delete the notebook file that holds it. "
    "Give it as an environment variable or in the private secrets file."
)


def notebook_cells(namespace: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sources of the cells run so far, the running one included; none outside IPython."""
    cells = namespace.get("In")
    return tuple(cell for cell in cells if isinstance(cell, str)) if isinstance(cells, list) else ()


def given_values(
    namespace: Mapping[str, Any], declared: Sequence[str], cells: Sequence[str]
) -> dict[str, Any]:
    """Pick the declared names out of a notebook's namespace.

    Args:
        namespace: The notebook's `globals()`.
        declared: The names of the procedure's parameters.
        cells: Sources of the cells run so far.

    Raises:
        BadParameters: A cell assigns plain data to a name that is not declared. Nothing was sent.
    """
    undeclared = [
        name
        for name in dict.fromkeys(_assigned(_counted(cells), namespace))
        if not name.startswith("_")
        and name not in declared
        and name in namespace
        and _is_plain(namespace[name])
    ]
    if undeclared:
        raise _refused(undeclared, declared)
    return {name: namespace[name] for name in declared if name in namespace}


def refuse_secrets(given: Mapping[str, Any], redactor: Redactor) -> None:
    """Refuse parameters that hold a secret, by the name of a key or by a known value.

    Raises:
        BadParameters: The place is named, the value is not. Nothing was sent.
    """
    places = [dotted(place) for place in secret_places(given, redactor)]
    if places:
        raise BadParameters(
            f"A secret was given as a parameter, in {redactor.redact(', '.join(places))}: "
            "parameters are written into the notebook's file.",
            UNTOUCHED,
            _IF_REAL,
        )


def secret_places(value: Any, redactor: Redactor, place: Place = ()) -> Iterator[Place]:
    """Find the places in plain data where a secret stands."""
    if isinstance(value, str):
        if redactor.redact(value) != value:
            yield place
    elif isinstance(value, Mapping):
        for key, item in value.items():
            inner = (*place, str(key))
            if _is_secret_name(str(key)) or redactor.redact(str(key)) != str(key):
                yield inner
            else:
                yield from secret_places(item, redactor, inner)
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from secret_places(item, redactor, (*place, at))


def _refused(undeclared: list[str], declared: Sequence[str]) -> BadParameters:
    secret = [name for name in undeclared if _is_secret_name(name)]
    if secret:
        return BadParameters(
            f"{', '.join(secret)}: a secret is no parameter, because parameters are written into the notebook's file.",
            UNTOUCHED,
            _IF_REAL,
        )
    listed = "; ".join(
        f"{name} is no parameter of this notebook{_hint(name, declared)}" for name in undeclared
    )
    return BadParameters(
        f"{listed}.",
        UNTOUCHED,
        f"Correct the name. In JupyterLab then restart the kernel and run all cells, or run: del {', '.join(undeclared)}",
    )


def _hint(name: str, declared: Sequence[str]) -> str:
    return " but of another procedure" if name in PROCEDURE_PARAMETERS else closest(name, declared)


def _counted(cells: Sequence[str]) -> Sequence[str]:
    """Leave out what was run after the last cell that papermill injected."""
    injected = [at for at, cell in enumerate(cells) if cell.lstrip().split("\n", 1)[0].strip() == _INJECTED]
    return cells[: injected[-1] + 1] if injected else cells


def _assigned(cells: Sequence[str], namespace: Mapping[str, Any]) -> Iterator[str]:
    for cell in cells:
        for statement in _statements(cell):
            if isinstance(statement, ast.Assign):
                targets = statement.targets
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                targets = [statement.target]
            else:
                continue
            if not _is_result(statement.value, namespace):
                yield from (name for target in targets for name in _names(target))


def _statements(cell: str) -> list[ast.stmt]:
    """Parse a cell; lines for IPython alone are blanked, and a cell that still does not parse has none."""
    lines = cell.splitlines()
    python = [
        "" if line.lstrip().startswith(("%", "!", "?")) or line.endswith("?") else line for line in lines
    ]
    for text in (cell, "\n".join(python)):
        try:
            return ast.parse(text).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return []


def _names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Starred):
        yield from _names(target.value)
    elif isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _names(part)


def _is_result(value: ast.expr | None, namespace: Mapping[str, Any]) -> bool:
    """Tell a step's result, `moved = rollback.move_production(...)`: opening again must not refuse it."""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)):
        return False
    owner = value.func.value
    if not (isinstance(owner, ast.Name) and owner.id in namespace):
        return False
    return not (isinstance(namespace[owner.id], ModuleType) or _is_plain(namespace[owner.id]))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(part) for item in value.items() for part in item)
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, str | bool | int | float)


def _is_secret_name(name: str) -> bool:
    return name.upper() in SECRET_NAMES or _SECRET_NAME.search(name) is not None
