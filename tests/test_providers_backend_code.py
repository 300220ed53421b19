"""Whether two commits push the same backend code: in doubt they do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from app_repository import AppRepository

from rollback_lib.errors import BadParameters
from rollback_lib.providers.backend_code import BackendCode
from rollback_lib.providers.repository import Repository

ALONE = """import { v } from "convex/values";
import crypto from "node:crypto";
import { z } from 'zod';
import { query } from "./_generated/server";
import type { Doc } from "../convex/_generated/dataModel";
"""
PACKAGES = json.dumps({"dependencies": {"convex": "^1.42.0", "zod": "^3.0.0", "@acme/mine": "workspace:*"}})


@pytest.fixture
def app(tmp_path: Path) -> AppRepository:
    """An app whose functions import packages and each other."""
    made = AppRepository.begin(tmp_path / "app")
    made.commit(
        "first",
        {
            "convex/lib/users.ts": ALONE.replace('"./', '"../'),
            "convex/users.ts": ALONE,
            "package.json": PACKAGES,
        },
    )
    return made


def same_after(app: AppRepository, files: dict[str, str | None], folder: str = "convex/") -> bool:
    """Commit files, and say whether the backend's code is as it was."""
    before = app.git("rev-parse", "HEAD")
    after = app.commit("next", files)
    code = BackendCode(Repository(app.folder, folder))
    assert code.same(before, after) == code.same(after, before)
    assert code.same(after, after)
    return code.same(before, after)


def test_functions_that_import_packages_and_each_other_are_told_by_their_folder(app):
    """The frontend is no part of the backend."""
    assert same_after(app, {"src/lib/tier.ts": "t\n", "README.md": "r\n"})
    assert not same_after(app, {"convex/users.ts": f"{ALONE}\n"})


@pytest.mark.parametrize(
    "line",
    [
        'import { tier } from "../src/lib/tier";',
        'export * from "../src/lib/tier"',
        "const { tier } = await import('../src/lib/tier');",
        "const tier = require(`../src/lib/tier`);",
        'await import(\n  "../src/lib/tier"\n);',
        'import { tier } from "@/lib/tier";',
        'import { tier } from "#lib/tier";',
        'import { tier } from "@acme/mine";',
        'import { tier } from "src/lib/tier";',
    ],
    ids=[
        "relative", "export", "dynamic", "require", "over lines", "alias", "subpath", "workspace", "base folder",
    ],
)  # fmt: skip
def test_functions_that_import_from_elsewhere_are_told_by_all_code(app, line):
    """Whatever way it is written; only what is plainly no code may differ."""
    app.commit("imports", {"convex/tiers.ts": f"{line}\n"})
    assert not same_after(app, {"src/lib/tier.ts": "t\n"})
    assert same_after(app, {"README.md": "r\n", "docs/plan.md": "p\n", "app/globals.CSS": "c\n"})


@pytest.mark.parametrize(
    "name",
    [
        "convex.json",
        "tsconfig.json",
        "tsconfig.base.json",
        "package.json",
        "package-lock.json",
        "pnpm-lock.yaml",
    ],
)
def test_settings_of_the_bundler_and_packages_are_part_of_the_code(app, name):
    """The same files bundled otherwise are other code."""
    assert not same_after(app, {name: '{"changed": true}\n'})


def test_package_that_the_settings_lead_elsewhere_or_that_is_the_repositorys_own_is_looked_into(app):
    """An alias by a package's name, and workspaces, whose packages have versions like any other."""
    app.commit("alias", {"tsconfig.json": '{"compilerOptions": {"paths": {"zod": ["./src/zod.ts"]}}}'})
    assert not same_after(app, {"src/zod.ts": "z\n"})
    app.commit("no alias", {"tsconfig.json": "{}"})
    assert same_after(app, {"src/zod.ts": "y\n"})
    app.commit("workspaces", {"package.json": PACKAGES.replace("{", '{"workspaces": ["packages/*"], ', 1)})
    assert not same_after(app, {"packages/zod/index.ts": "z\n"})


def test_link_in_the_functions_folder_is_not_trusted(app):
    """What it leads to may differ while the link does not."""
    (app.folder / "convex" / "shared").symlink_to("../shared")
    app.commit("link", {"shared/a.ts": "a\n"})
    assert not same_after(app, {"shared/a.ts": "b\n"})


def test_app_in_a_folder_of_a_larger_repository_has_settings_above_it(tmp_path):
    """Its own folder's and the root's; another app's are none of them."""
    app = AppRepository.begin(tmp_path / "mono")
    manifest = {"dependencies": {"convex": "1", "zod": "3"}}
    app.commit("first", {"apps/web/convex/users.ts": ALONE, "apps/web/package.json": json.dumps(manifest)})
    folder = "apps/web/convex/"
    assert same_after(app, {"apps/other/package.json": "{}", "apps/other/x.ts": "x\n"}, folder)
    assert not same_after(app, {"apps/web/convex.json": "{}"}, folder)
    assert not same_after(app, {"package-lock.json": "{}"}, folder)


def test_settings_of_the_clone_hide_nothing(app):
    """Its own configuration cannot make two commits look alike, nor an import look like none."""
    app.commit("imports", {"convex/tiers.ts": 'import { tier } from "../src/lib/tier";\n'})
    for name in ("diff.relative", "grep.lineNumber", "grep.column"):
        app.git("config", name, "true")
    app.git("config", "color.ui", "always")
    app.git("config", "diff.noprefix", "true")
    before, after = app.git("rev-parse", "HEAD"), app.commit("code", {"src/lib/tier.ts": "t\n"})
    assert not BackendCode(Repository(app.folder / "convex")).same(before, after)


def test_commit_that_is_not_there_is_refused(app):
    """Rather than taken to differ."""
    code = BackendCode(Repository(app.folder))
    with pytest.raises(BadParameters, match="There is no commit"):
        code.same(app.git("rev-parse", "HEAD"), "0" * 40)
