"""How the project gets onto a machine: its locks, its conda environment, its Makefile, and what it says when it can't."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from repository import PROJECT, ROOT

LOCKS = ("requirements.lock", "requirements-bootstrap.lock")
TOOLS = ROOT / "tests" / "conformance"
PINNED = ROOT / "rollback_lib" / "providers" / "pinned_convex"
# conda-forge's name, where it is another one than PyPI's.
CONDA_NAMES = {"brotli": "brotli-python", "moto": "moto-server"}

PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>\S+)(?: ; (?P<marker>.+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")
COMMENT = re.compile(r"^    #( |$)")


def declared() -> dict[str, str]:
    """Give each dependency of pyproject.toml and its lowest version."""
    project = PROJECT["project"]
    lines = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    return {canonicalize_name(Requirement(line).name): str(Requirement(line).specifier) for line in lines}


def pins(lock: str) -> dict[str, list[str]]:
    """Give the versions that a lock holds of each package: one, or one for each range of Pythons."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        if (pin := PIN.match(line)) is not None:
            found.setdefault(canonicalize_name(pin["name"]), []).append(pin["version"])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_is_made_of_hashed_pins_alone(lock):
    """No address, no option, no unhashed package: what is installed is what was reviewed, from wherever it comes."""
    hashes: dict[str, int] = {}
    package = ""
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        if PIN.match(line):
            package = line
            assert package not in hashes
            hashes[package] = 0
        elif HASH.match(line):
            hashes[package] += 1
        else:
            assert COMMENT.match(line), line
            assert "://" not in line
    assert hashes
    assert [package for package, count in hashes.items() if count == 0] == []


def test_lock_covers_every_dependency_at_an_allowed_version():
    """Whoever adds a dependency, or raises a lowest version, renews the lock."""
    locked = pins("requirements.lock")
    wanted = {name: Requirement(f"{name}{lowest}").specifier for name, lowest in declared().items()}
    assert set(wanted) - set(locked) == set()
    assert {
        name for name, allowed in wanted.items() if not all(allowed.contains(v) for v in locked[name])
    } == set()


@pytest.mark.parametrize("folder", [TOOLS, PINNED], ids=["conformance", "pinned command line"])
def test_lock_of_the_official_tools_pins_what_is_asked_for(folder):
    """Exact versions with hashes and no address; the tools are those that the simulator was compared with."""
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    locked = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    asked = locked.pop("")
    assert asked["dependencies"] == wanted["dependencies"]
    assert [name for name, package in locked.items() if "resolved" in package] == []
    assert [name for name, package in locked.items() if "integrity" not in package] == []
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted["dependencies"]} == wanted[
        "dependencies"
    ]


def test_bootstrap_lock_holds_the_installer_alone():
    """Only the installer comes by pip, and it installs the rest."""
    (wanted,) = (Requirement(line) for line in PROJECT["dependency-groups"]["bootstrap"])
    assert list(pins("requirements-bootstrap.lock")) == [wanted.name]
    assert all(
        wanted.specifier.contains(version) for version in pins("requirements-bootstrap.lock")[wanted.name]
    )


def test_conda_environment_asks_for_the_same_packages_and_versions():
    """Conda and pip users run the same thing."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    named = {
        re.split(r"[<>=]", line, maxsplit=1)[0]: line
        for line in (*conda, *pip["pip"])
        if not line.startswith("--")
    }
    assert named.pop("pip") == "pip"
    assert named.pop("python") == f"python{PROJECT['project']['requires-python']}"
    wanted = {
        CONDA_NAMES.get(name, name): f"{CONDA_NAMES.get(name, name)}{low}" for name, low in declared().items()
    }
    assert named == wanted
    assert pip["pip"][-1] == "--editable ."


def test_oldest_python_is_the_same_everywhere():
    """The package, the type checker, the linter, the lock and the installer speak of one Python."""
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    dense = oldest.replace(".", "")
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{dense}"
    assert f"--python-version {oldest} " in (ROOT / "Makefile").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "make-venv").read_text(encoding="utf-8")
    assert f'oldest="{oldest}"' in script
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in script
    assert Version(oldest) >= Version("3.11")


class Machine:
    """A copy of what the installer needs, on a machine that has only the commands it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commands = folder / "project", folder / "commands"
        self.commands.mkdir(parents=True)
        (self.folder / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci" / "make-venv", self.folder / ".ci")
        for name in ("sh", "cat", "chmod", "cp", "dirname", "mkdir", "rm", "touch"):
            (self.commands / name).symlink_to(str(shutil.which(name)))

    def has(self, name: str, *cases: str) -> None:
        """Put a command there: each case is a shell pattern for its arguments and what to do."""
        script = self.commands / name
        body = "\n".join(f"    {case} ;;" for case in cases)
        script.write_text(f'#!/bin/sh\ncase "$*" in\n{body}\nesac\n', encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def has_python(self, *, uv_exits: int = 0) -> None:
        """Put a new enough python3 there whose venv, pip and uv are as good as real."""
        uv = f'#!/bin/sh\necho "$*" >> uv.txt\nexit {uv_exits}\n'
        self.has(
            "python3",
            "*'venv --clear'*) rm -rf .venv; mkdir -p .venv/bin; cp \"$0\" .venv/bin/python",
            f"*'pip install'*) echo \"$*\" > pip.txt; printf '%s' '{uv}' > .venv/bin/uv; chmod +x .venv/bin/uv",
        )

    def make(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the installer there."""
        return subprocess.run(
            [self.folder / ".ci" / "make-venv"],
            env={"PATH": str(self.commands), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def is_ready(self) -> bool:
        """Say whether make would take the environment as done."""
        return (self.folder / ".venv" / ".ready").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a shell and nothing else."""
    return Machine(tmp_path)


def test_machine_without_python_is_told_what_to_install(machine):
    """The message is the command to run."""
    done = machine.make()
    assert done.returncode == 1
    assert "this machine has no python3" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
    assert not (machine.folder / ".venv").exists()


def test_too_old_python_is_named_with_what_to_install(machine):
    """An old Debian's python3 is not used until something breaks in it."""
    machine.has("python3", "*version_info*) exit 1", "*python_version*) echo 3.9.2")
    done = machine.make()
    assert done.returncode == 1
    assert "need Python 3.11 or newer; this machine's python3 is 3.9.2" in done.stderr
    assert "apt-get install python3.11 python3.11-venv" in done.stderr
    assert not (machine.folder / ".venv").exists()


def test_python_without_venv_is_told_the_package(machine):
    """Debian splits venv off; its own message comes half-way and leaves a broken folder."""
    machine.has("python3", "*ensurepip*) exit 1", "*-venv*) echo python3.11-venv")
    done = machine.make()
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert not (machine.folder / ".venv").exists()


def test_shim_of_a_python_that_is_not_there_is_passed_over(machine):
    """A version manager puts names on the path that do not run."""
    machine.has("python3.13", "*) echo 'command not found' >&2; exit 127")
    machine.has_python()
    assert machine.make().returncode == 0
    assert machine.is_ready


def test_named_python_that_is_unfit_is_refused(machine):
    """Whoever names one does not get another."""
    machine.has_python()
    done = machine.make(PYTHON="python2.7")
    assert done.returncode == 1
    assert "PYTHON=python2.7 is not a Python 3.11 or newer" in done.stderr
    assert not machine.is_ready


def test_packages_come_with_hashes_and_the_stamp_comes_last(machine):
    """Nothing is installed but from a lock, and the project itself brings nothing along."""
    machine.has_python()
    assert machine.make().returncode == 0
    pip = (machine.folder / "pip.txt").read_text(encoding="utf-8")
    assert "--require-hashes --requirement requirements-bootstrap.lock" in pip
    sync, project = (machine.folder / "uv.txt").read_text(encoding="utf-8").splitlines()
    assert sync == "pip sync --quiet --require-hashes requirements.lock"
    assert {"--no-deps", "--no-build-isolation"} <= set(project.split())
    assert machine.is_ready


def test_interrupted_installation_leaves_no_stamp_and_is_done_again(machine):
    """A stamp from before does not survive an attempt that failed either."""
    machine.has_python()
    assert machine.make().returncode == 0
    machine.has_python(uv_exits=1)
    shutil.copy(machine.commands / "python3", machine.folder / ".venv" / "bin" / "python")
    assert machine.make().returncode != 0
    assert not machine.is_ready
    machine.has_python()
    shutil.copy(machine.commands / "python3", machine.folder / ".venv" / "bin" / "python")
    assert machine.make().returncode == 0
    assert machine.is_ready


def test_broken_environment_is_made_anew(machine):
    """The Python that an environment was made with may be gone after an upgrade of the machine."""
    machine.has_python()
    (machine.folder / ".venv" / "bin").mkdir(parents=True)
    (machine.folder / ".venv" / "bin" / "python").symlink_to(machine.commands / "gone")
    assert machine.make().returncode == 0
    assert machine.is_ready


def dry(*arguments: str) -> str:
    """Say what make would run."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, env=clean
    )
    return done.stdout


def test_second_make_is_a_look_at_one_file(tmp_path):
    """With the stamp newer than locks and pyproject.toml nothing is installed; with an older one it is."""
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "make-venv", tmp_path / ".ci")
    (tmp_path / ".venv").mkdir()
    stamp = tmp_path / ".venv" / ".ready"
    stamp.touch()
    assert "make-venv" not in dry("-C", str(tmp_path), "test")
    for name in ("requirements.lock", "requirements-bootstrap.lock", "pyproject.toml"):
        os.utime(tmp_path / name, (stamp.stat().st_mtime + 5, stamp.stat().st_mtime + 5))
        assert "make-venv" in dry("-C", str(tmp_path), "test")
        os.utime(tmp_path / name, (stamp.stat().st_mtime - 5, stamp.stat().st_mtime - 5))


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("drill",), ".venv/bin/rollback drill"),
        (("drill", "REALTIME=1"), ".venv/bin/rollback drill --realtime"),
        (("drill", "REALTIME=0"), ".venv/bin/rollback drill"),
        (("drill", "ONLY=vercel_rollback_p0"), ".venv/bin/rollback drill --only vercel_rollback_p0"),
        (("lab",), ".venv/bin/rollback lab"),
    ],
    ids=" ".join,
)
def test_make_passes_on_what_it_is_asked(arguments, command):
    """The commands of the Makefile are those of the `rollback` command, with their switches."""
    assert command in [" ".join(line.split()) for line in dry(*arguments).splitlines()]


def test_lint_runs_every_check_and_stops_at_the_first_that_fails():
    """No check's result is thrown away."""
    lines = dry("lint").splitlines()
    for tool in (
        "ruff format --check",
        "ruff check",
        "mypy",
        "lint-imports",
        "nbstripout --verify",
        "detect-secrets-hook",
    ):
        assert any(tool in line for line in lines), tool
    assert [line for line in lines if "|| true" in line or line.startswith("-")] == []


def test_official_tools_are_installed_when_their_lock_is_newer(tmp_path):
    """Once, without running anybody's scripts; a missing or older installation is made anew before the tests."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    folder = tmp_path / "tests" / "conformance"
    stamp = folder / "node_modules" / ".ready"
    stamp.parent.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(TOOLS / name, folder)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").touch()
    asked = ("-C", str(tmp_path), "-o", ".venv/.ready", "conformance")
    first = dry(*asked)
    assert first.index(" ci ") < first.index("-m pytest")
    assert "--ignore-scripts" in first
    stamp.touch()
    assert " ci " not in dry(*asked)
    os.utime(folder / "package-lock.json", (stamp.stat().st_mtime + 5,) * 2)
    assert " ci " in dry(*asked)


def test_continuous_integration_runs_every_check():
    """What a developer can run by make and what decides about a change are the same."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in script if line.startswith("make ")] == [
        "make lint",
        "make test",
        "make conformance",
    ]


def test_clean_keeps_records_and_secrets():
    """What a run left is nobody's to tidy up."""
    assert "incidents" not in dry("clean")
    assert ".secrets" not in dry("clean")
