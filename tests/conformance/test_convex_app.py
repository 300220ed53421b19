"""The simulated company's app is a real one: the official command line pushes it, types and all.

What a revision offers and which documents it accepts is read from what was pushed, by Node, not from our own files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tools import NODE, place, run

from rollback_lib.node import cache_folder, installed, laid_out
from rollback_lib.simulator.convex.backend import Backend
from rollback_lib.simulator.convex.callers import NOBODY
from rollback_lib.simulator.convex.code import PushedApp as CodeOfPush
from rollback_lib.simulator.convex.code import canonical
from rollback_lib.simulator.convex.spec import ConvexSpec
from rollback_lib.simulator.convex_app import (
    Documents,
    RecordedPush,
    Seeded,
    page_calls,
    prepared,
    seed_documents,
    variables,
)
from rollback_lib.simulator.convex_app.pushes import on_this_machine, write_files
from rollback_lib.simulator.convex_app.recorder import ADMIN_KEY, Recorder
from rollback_lib.simulator.convex_app.revisions import files

NPM = NODE.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
BEGAN_MS = 1_795_730_000_000
# What a module offers, as the platform finds it out: by looking at what it exports.
ANALYSE = """
import { pathToFileURL } from "node:url";
const found = {};
for (const path of process.argv.slice(1)) {
  const module = await import(pathToFileURL(path));
  for (const [name, one] of Object.entries(module)) {
    if (one.isQuery || one.isMutation || one.isAction) {
      found[`${path.slice(0, -3)}:${name}`] = one.isPublic ? "public" : "internal";
    }
  }
}
console.log(JSON.stringify(found));
"""
SCHEMA = """
import { pathToFileURL } from "node:url";
const module = await import(pathToFileURL("schema.js"));
console.log(module.default.export());
"""


def pushed(role: str) -> RecordedPush:
    """Give a revision as it is pushed, from the cache that worlds use."""
    return prepared(role, cache_folder())


def evaluate(app: RecordedPush, code: str, folder: Path) -> Any:
    """Run code of Node's beside the pushed modules."""
    modules = [*app.definition["changedModules"], app.definition["schema"]]
    write_files({module["path"]: module["source"].encode() for module in modules}, folder)
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    paths = [module["path"] for module in modules if "/" not in module["path"]]
    command = [str(NODE), "--input-type=module", "-e", code, *paths]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env={})
    return json.loads(done.stdout)


@cache
def documents(since_bad: int) -> dict[str, list[dict[str, Any]]]:
    """Make a world's documents, with ids that say their table."""
    found: dict[str, list[dict[str, Any]]] = {}

    def insert(table: str, rows: Iterable[dict[str, Any]]) -> list[str]:
        found[table] = [{**row, "_id": f"{table}|{number}"} for number, row in enumerate(rows)]
        return [row["_id"] for row in found[table]]

    seed_documents(Documents(2000, 1, BEGAN_MS, BEGAN_MS - 1_500_000, since_bad), insert)
    return found


def fits(value: Any, validator: Mapping[str, Any]) -> bool:  # noqa: PLR0911 - one for each kind there is
    """Tell whether a value is what a validator describes; strict, as the platform is."""
    match validator["type"]:
        case "string":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "id":
            return isinstance(value, str) and value.startswith(f"{validator['tableName']}|")
        case "literal":
            return bool(value == validator["value"])
        case "union":
            return any(fits(value, one) for one in validator["value"])
        case "array":
            return isinstance(value, list) and all(fits(one, validator["value"]) for one in value)
        case "object":
            fields = validator["value"]
            needed = {name for name, field in fields.items() if not field["optional"]}
            return (
                isinstance(value, dict)
                and needed <= set(value) <= set(fields)
                and all(fits(one, fields[name]["fieldType"]) for name, one in value.items())
            )
    raise AssertionError(validator)


def refused(role: str, folder: Path, since_bad: int = 0) -> set[str]:
    """Name the tables of a revision's schema that hold a document it refuses."""
    schema = evaluate(pushed(role), SCHEMA, folder)
    assert schema["schemaValidation"]
    found = set()
    for table in schema["tables"]:
        for row in documents(since_bad).get(table["tableName"], []):
            own = {name: value for name, value in row.items() if not name.startswith("_")}
            if not fits(own, table["documentType"]):
                found.add(table["tableName"])
    return found


@pytest.mark.parametrize(
    ("role", "tables"),
    [
        ("bad", set()),
        ("good", set()),
        ("frontend", set()),
        ("hotfix", set()),
        ("narrow", {"users", "bookings"}),
        ("memberships", {"users"}),
        ("first", {"users"}),
    ],
)
def test_documents_fit_the_newer_schemas_and_not_the_older(tmp_path, role, tables):
    """The live schema has all of them; so has the one to go back to; one from before the merge refuses two tables."""
    assert refused(role, tmp_path) == tables


def test_what_the_bad_code_wrote_does_not_fit_the_good_schema(tmp_path):
    """A rollback over new data is refused; the live schema has them, of course."""
    assert refused("bad", tmp_path / "bad", since_bad=20) == set()
    assert refused("good", tmp_path / "good", since_bad=20) == {"memberships"}


@pytest.mark.parametrize(
    ("role", "version"), [("first", "1.42.3"), ("narrow", "1.42.3"), ("good", "1.48.0"), ("bad", "1.48.0")]
)
def test_push_is_made_by_the_command_line_of_the_revisions_lockfile(role, version):
    """The pushed code carries the version that bundled it."""
    app = pushed(role)
    assert app.cli_version == app.definition["udfServerVersion"] == version
    assert app.request["functions"] == "convex/"
    assert app.definition["schema"]["path"] == "schema.js"
    assert app.definition["unchangedModuleHashes"] == []


def test_bad_takes_functions_away_and_brings_others(tmp_path):
    """What the pages of before call is gone, and what the bad pages call is not in the good revision."""
    offered = {role: evaluate(pushed(role), ANALYSE, tmp_path / role) for role in ("narrow", "good", "bad")}
    assert set(offered["good"]) - set(offered["bad"]) == {
        "bookings:listForTrainer",
        "bookings:remind",
        "orders:countOpen",
    }
    assert set(offered["bad"]) - set(offered["good"]) == {
        "bookings:listByTrainer",
        "checkIns:record",
        "checkIns:forgetOld",
        "memberships:backfillTier",
        "reminders:send",
    }
    assert set(offered["narrow"]) - set(offered["good"]) == {"feeds:trainerCalendar"}
    internal = {name for name, visibility in offered["good"].items() if visibility == "internal"}
    assert internal == {
        "bookings:closePast",
        "bookings:remind",
        "memberships:expire",
        "orders:markPaid",
        "products:setStock",
        "users:upsert",
    }
    assert "users:getUserByClerkId" in set(offered["good"]) & set(offered["bad"]) & set(offered["narrow"])


@pytest.mark.parametrize("role", ["narrow", "good", "bad", "hotfix"])
def test_pages_ask_what_their_own_revision_offers(tmp_path, role):
    """Those of the bad revision ask for what the good one lacks, and the other way round."""
    seeded = seed_documents(
        Documents(200, 1, BEGAN_MS, BEGAN_MS - 1_500_000),
        lambda table, rows: [f"{table}|{number}" for number, _ in enumerate(rows)],
    )
    asked = {call.path for call in page_calls(role, seeded, BEGAN_MS)}
    offered = evaluate(pushed(role), ANALYSE, tmp_path)
    assert {path for path in asked if offered.get(path) != "public"} == set()
    other = evaluate(pushed("bad" if role == "good" else "good"), ANALYSE, tmp_path / "other")
    assert (asked <= set(other)) == (role == "narrow")


@pytest.fixture
def company() -> Iterator[tuple[Backend, Seeded]]:
    """A deployment with the app's documents and variables, and no code yet."""
    backend = Backend(ConvexSpec(variables=variables(1)), 1, lambda: BEGAN_MS)
    wanted = Documents(2000, 1, BEGAN_MS, BEGAN_MS - 1_500_000)
    yield backend, seed_documents(wanted, backend.storage.insert_many)
    backend.close()


@pytest.mark.parametrize(
    ("role", "failing"),
    [
        ("narrow", set()),
        ("good", set()),
        ("bad", {"users:getUserByClerkId", "memberships:current"}),
        ("hotfix", {"memberships:current"}),
    ],
)
def test_functions_of_the_bad_revision_fail_on_the_data_and_those_of_the_good_do_not(company, role, failing):
    """Nobody says that it is broken: it takes a tier for granted that older memberships lack. The hotfix helps half."""
    backend, seeded = company
    backend.install(CodeOfPush.from_request(pushed(role).request))
    answers = {
        call.path: backend.functions.call(call.path, call.args, NOBODY)
        for call in page_calls(role, seeded, BEGAN_MS)
    }
    errors = {path: answer.error for path, answer in answers.items() if answer.error is not None}
    assert set(errors) == failing
    assert [text for text in errors.values() if "Cannot read properties of undefined" not in text] == []
    if "users:getUserByClerkId" not in failing:
        assert answers["users:getUserByClerkId"].value["_id"] == seeded.canary
    assert answers["products:list"].value


def test_what_was_scheduled_by_one_revision_is_not_there_in_the_other(company):
    """A pending function outlives a rollback; the code that it names may not."""
    backend, seeded = company
    backend.install(CodeOfPush.from_request(pushed("good").request))
    offered = set(backend.live.functions)
    assert {canonical(one.function) for one in seeded.reminders} <= offered
    assert canonical("reminders:send") not in offered


def test_revisions_that_differ_in_pages_alone_are_one_recording():
    """The frontend's commit pushes the very same backend."""
    assert pushed("frontend").request == pushed("merge").request
    assert pushed("good").request != pushed("merge").request


@pytest.fixture
def own_cache(tmp_path: Path) -> Path:
    """A cache with what is installed already and no recording."""
    role = "good"
    project = tmp_path / "project"
    write_files(files(role), project)
    packages = installed(project, cache_folder())
    target = tmp_path / "a longer way to it" / "cache" / "node_modules" / packages.parent.name
    target.mkdir(parents=True)
    laid_out(packages, target)
    return tmp_path / "a longer way to it" / "cache"


def test_recording_is_the_same_wherever_it_is_made(own_cache):
    """Neither a key nor a path of a machine is in it: a push from any worktree has the same hashes."""
    request = prepared("good", own_cache).request
    assert request == pushed("good").request
    assert ADMIN_KEY not in json.dumps(request)
    assert str(own_cache) not in json.dumps(request)


def test_recorded_push_needs_neither_packages_nor_network(own_cache, monkeypatch):
    """A world begins from the cache alone; what a crash or a full disk spoilt is recorded again."""
    first = prepared("good", own_cache)
    (kept,) = (own_cache / "pushes").iterdir()
    kept.write_text("{", encoding="utf-8")
    assert prepared("good", own_cache) == first
    shutil.rmtree(own_cache / "node_modules")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    monkeypatch.setenv("npm_config_cache", str(own_cache / "npm"))
    assert prepared("good", own_cache) == first
    assert list((own_cache / "pushes").iterdir()) == [kept]


def test_app_that_does_not_build_is_not_recorded(own_cache, monkeypatch):
    """The command line's own words say why, and nothing is kept."""
    broken = {**files("good"), "convex/users.ts": b"export const broken = {{\n"}
    monkeypatch.setattr("rollback_lib.simulator.convex_app.pushes.files", lambda _: broken)
    with pytest.raises(RuntimeError, match=r"did not push the app(?s:.*)convex/users\.ts"):
        prepared("good", own_cache)
    assert not (own_cache / "pushes").exists()


@pytest.mark.parametrize("role", ["first", "narrow", "merge", "bad", "hotfix"])
def test_revision_passes_its_own_types_and_leaves_a_clean_tree(role):
    """The generated files in the repository are those that the command line generates, and nobody else is asked."""
    with place() as where, Recorder.serving() as recorder:
        folder = where.home / "app"
        write_files(files(role), folder)
        packages = laid_out(installed(folder, cache_folder()), folder)
        target = ("--url", recorder.address, "--admin-key", ADMIN_KEY)
        done = run(
            [
                str(NODE),
                str(packages / "convex" / "bin" / "main.js"),
                "deploy",
                *target,
                "--typecheck",
                "enable",
            ],
            where,
            folder,
            **on_this_machine(recorder.address),
        )
        assert done.returncode == 0, done.stderr
        left = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.is_relative_to(packages)
        }
    assert left == files(role)
    assert "/api/deploy2/finish_push" in recorder.asked


@pytest.mark.parametrize("role", ["first", "bad"])
def test_pages_are_built_and_the_backend_pushed_by_one_command(role):
    """Vercel runs it for every build, so that any rebuild of a commit brings its backend back."""
    command = json.loads(files(role)["package.json"])["scripts"]["vercel-build"]
    with place() as where, Recorder.serving() as recorder:
        folder = where.home / "app"
        write_files(files(role), folder)
        packages = laid_out(installed(folder, cache_folder()), folder)
        # The wheel's own `npm` on the path is a link that unpacking broke.
        npm = where.home / "npm"
        npm.write_text(f'#!/bin/sh\nexec "{NODE}" "{NPM}" "$@"\n', encoding="utf-8")
        npm.chmod(0o755)
        path = f"{where.home}:{packages / '.bin'}:{NODE.parent}:/usr/bin:/bin"
        script = f"{command} --typecheck disable --url {recorder.address} --admin-key '{ADMIN_KEY}'"
        quiet = {"npm_config_update_notifier": "false", **on_this_machine(recorder.address)}
        done = run(["/bin/sh", "-c", script], where, folder, PATH=path, **quiet)
        assert done.returncode == 0, done.stderr
        page = (folder / "dist" / "marketplace.html").read_text(encoding="utf-8")
    assert f'content="{recorder.address}"' in page
    assert "/api/deploy2/finish_push" in recorder.asked
