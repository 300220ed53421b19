"""Node and the packages of a lockfile: exactly those, whole or not at all, and once."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from npm_registry import PACKAGE, Registry, write_project

from rollback_lib.errors import BadParameters, Unreachable
from rollback_lib.node import cache_folder, installed, laid_out, node_binary, node_version


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    """A registry that npm is sent to, with a cache of npm's own that begins empty."""
    with Registry().serving() as registry:
        monkeypatch.setenv("npm_config_registry", registry.address)
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
        monkeypatch.setenv("npm_config_fetch_retries", "0")
        yield registry


@pytest.fixture
def project(registry: Registry, tmp_path: Path) -> Path:
    """An app that wants the one package."""
    return write_project(tmp_path / "app", registry.integrity)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where installations are kept."""
    return tmp_path / "cache"


def left(cache: Path) -> list[str]:
    """List what stands in the cache, half-made things included."""
    return sorted(path.name for path in (cache / "node_modules").iterdir())


def test_version_is_that_of_the_binary():
    """It is told without starting a process, and an installation is named by it."""
    said = subprocess.run([node_binary(), "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == f"v{node_version()}"


def test_cache_is_the_users_unless_it_is_named(tmp_path):
    """ROLLBACK_CACHE names another one; an empty one names none."""
    assert cache_folder({"ROLLBACK_CACHE": str(tmp_path)}) == tmp_path
    assert cache_folder({"ROLLBACK_CACHE": ""}) == Path.home() / ".cache" / "rollback-runbooks"


def test_packages_are_those_of_the_lockfile_and_no_script_is_run(project, cache):
    """The repository itself stays as it is."""
    before = sorted(project.iterdir())
    packages = installed(project, cache)
    assert sorted(path.name for path in (packages / PACKAGE).iterdir()) == ["index.js", "package.json"]
    assert packages.is_relative_to(cache)
    assert sorted(project.iterdir()) == before
    assert len(left(cache)) == 1


def test_second_time_asks_nobody(project, cache, registry):
    """Another worktree with the same lockfile shares the installation, without npm or network."""
    packages = installed(project, cache)
    asked = list(registry.asked)
    again = write_project(project.parent / "another", registry.integrity)
    assert installed(again, cache, timeout_s=0) == packages
    assert registry.asked == asked


def test_other_lockfile_is_another_installation(project, cache):
    """What is installed is never changed."""
    packages = installed(project, cache)
    lock = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))
    (project / "package-lock.json").write_text(json.dumps(lock, indent=4), encoding="utf-8")
    assert installed(project, cache) != packages
    assert len(left(cache)) == 2


def test_what_npm_once_got_is_installed_without_a_network(project, cache, registry):
    """Its own cache is asked first, so that only what was never seen needs the registry."""
    installed(project, cache)
    asked = list(registry.asked)
    assert (installed(project, project.parent / "elsewhere") / PACKAGE / "index.js").is_file()
    assert registry.asked == asked
    registry.close()
    assert (installed(project, project.parent / "a third") / PACKAGE / "index.js").is_file()


def test_neither_cache_nor_network_is_said_in_three_parts(project, cache, registry):
    """Nothing half-made stays, and the operator reads what to look at."""
    registry.close()
    with pytest.raises(Unreachable) as refused:
        installed(project, cache)
    assert "not in npm's cache, and the network gives none (ECONNREFUSED" in refused.value.happened
    assert "\n" not in refused.value.happened
    assert "Nothing was sent" in refused.value.state
    assert "npm ping" in refused.value.next_step
    assert left(cache) == []


def test_package_of_another_hash_is_not_installed(project, cache):
    """The lockfile decides what runs with the deploy key, not the registry."""
    write_project(project, "sha512-" + "A" * 86 + "==")
    with pytest.raises(Unreachable, match="EINTEGRITY"):
        installed(project, cache)
    assert left(cache) == []


def test_lockfile_that_does_not_fit_is_refused(project, cache):
    """The installer would have to choose versions of its own."""
    wanted = {"name": "app", "dependencies": {PACKAGE: "2.0.0"}}
    (project / "package.json").write_text(json.dumps(wanted), encoding="utf-8")
    with pytest.raises(BadParameters, match=r"lock file's tiny@1\.0\.0 does not satisfy tiny@2\.0\.0"):
        installed(project, cache)
    assert left(cache) == []


@pytest.mark.parametrize("text", [None, "lockfileVersion: '9.0'", "[]"], ids=["none", "pnpm", "list"])
def test_what_is_no_lockfile_of_npms_is_refused(project, cache, text):
    """There is nothing to go by, and nothing is guessed."""
    (project / "package-lock.json").unlink()
    if text is not None:
        (project / "package-lock.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadParameters, match=r"package-lock\.json"):
        installed(project, cache)
    assert not cache.exists()


def test_too_slow_registry_is_given_up(project, cache, registry):
    """The whole of it has its time, and nothing half-made stays."""
    registry.go_on.clear()
    with pytest.raises(Unreachable, match="longer than 2 s"):
        installed(project, cache, timeout_s=2)
    assert left(cache) == []


def test_what_a_crash_left_is_neither_used_nor_in_the_way(project, cache):
    """A folder without npm's last file is not an installation, whatever its name."""
    packages = installed(project, cache)
    (packages / ".package-lock.json").unlink()
    (packages / PACKAGE / "index.js").unlink()
    assert installed(project, cache) == packages
    assert (packages / PACKAGE / "index.js").is_file()
    assert len(left(cache)) == 1


def test_what_a_killed_installation_left_goes_once_nobody_can_be_at_it(project, cache):
    """Half an installation of an hour ago is removed; a young one may be another process's."""
    folder = cache / "node_modules"
    old, young = folder / ".making-old", folder / ".making-young"
    for half in (old, young):
        (half / "node_modules").mkdir(parents=True)
    long_ago = time.time() - 4000
    os.utime(old, (long_ago, long_ago))
    installed(project, cache)
    assert (old.exists(), young.exists()) == (False, True)


def test_two_at_once_end_with_one_installation(project, cache, registry):
    """Both get it, and the one that came second leaves nothing of its own."""
    registry.go_on.clear()
    got: list[Path] = []
    threads = [threading.Thread(target=lambda: got.append(installed(project, cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    registry.go_on.set()
    for thread in threads:
        thread.join()
    assert len(got) == 2
    assert len(set(got)) == len(left(cache)) == 1


@pytest.mark.parametrize(
    ("name", "sent"), [("NPM_TOKEN", "Bearer made-up-2718281828"), ("CONVEX_DEPLOY_KEY", None)]
)
def test_npm_sees_no_key_of_a_platform(project, cache, registry, monkeypatch, name, sent):
    """The project's own settings are followed, with the variables that are meant for npm and no other."""
    host = registry.address.removeprefix("http:")
    (project / ".npmrc").write_text(f"{host}:_authToken=${{{name}}}\n", encoding="utf-8")
    monkeypatch.setenv(name, "made-up-2718281828")
    installed(project, cache)
    got = {authorization for _, authorization in registry.asked}
    assert got == {sent or f"Bearer ${{{name}}}"}


def test_workspace_is_installed_where_its_links_lead(project, cache):
    """From the cache a link to a folder of the repository would lead nowhere."""
    (project / "packages" / "own").mkdir(parents=True)
    own = {"name": "own", "version": "1.0.0"}
    (project / "packages" / "own" / "package.json").write_text(json.dumps(own), encoding="utf-8")
    wanted = {"name": "app", "workspaces": ["packages/*"]}
    lock = {"node_modules/own": {"resolved": "packages/own", "link": True}, "packages/own": own}
    (project / "package.json").write_text(json.dumps(wanted), encoding="utf-8")
    (project / "package-lock.json").write_text(
        json.dumps({"name": "app", "lockfileVersion": 3, "requires": True, "packages": {"": wanted, **lock}}),
        encoding="utf-8",
    )
    packages = installed(project, cache)
    assert packages == project / "node_modules"
    assert (packages / "own" / "package.json").is_file()
    assert not cache.exists()


def test_project_gets_the_packages_as_its_own(project, cache):
    """No symbolic link leads out of it, no file is stored twice, and a second time changes nothing."""
    packages = installed(project, cache)
    own = laid_out(packages, project)
    assert own == project / "node_modules"
    assert own.resolve() == own
    assert (own / PACKAGE / "index.js").stat().st_ino == (packages / PACKAGE / "index.js").stat().st_ino
    (own / "mark").touch()
    assert laid_out(packages, project) == own
    assert (own / "mark").exists()
    assert [path.name for path in project.iterdir() if path.name.startswith(".")] == []


def test_packages_are_copied_where_links_cannot_be_made(project, cache, monkeypatch):
    """A cache on another file system serves as well."""

    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    packages = installed(project, cache)
    monkeypatch.setattr(os, "link", refuse)
    assert (laid_out(packages, project) / PACKAGE / "index.js").read_text(encoding="utf-8")
