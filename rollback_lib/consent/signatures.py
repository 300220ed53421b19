"""OpenSSH signatures: the keys that may approve, signing, and verifying, all of it done by `ssh-keygen`.

- A private key is never read here: `ssh-keygen` is given a file's name and asks for a passphrase itself.
- One key is one person: a signers file with a pattern for a name, an authority, or one key under two names counts for
  nothing until it is corrected.
- What is verified is the text that was read, against the signers file as it was read: both are handed over as they are.
- A signature counts by a key that was read here as that person's, not by whatever else `ssh-keygen` finds in the file.
- The namespace names the environment, so that a drill's signature is none in production, whatever key made it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rollback_lib.consent.plain import is_plain
from rollback_lib.errors import NotApproved

__all__ = ["Signers", "fingerprint", "namespace_of", "read_signers", "sign", "verify"]

_LIMIT_S = 20.0  # for a verification, which takes milliseconds
_GOOD = re.compile(
    r'^Good "(?P<namespace>[^"]+)" signature for (?P<who>\S+) with \S+ key (?P<key>SHA256:\S+)$'
)
_KEY_TYPE = re.compile(r"(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+")
_FINGERPRINT = re.compile(r"SHA256:\S+")
_PATTERN = '*?!"'
_BLANK = " \t\r"  # what ssh-keygen passes over: behind any other blank a # begins a name, and no comment
_NOT_SIGNED = "Nothing was signed."


@dataclass(frozen=True)
class Signers:
    """A signers file as it was read: whose keys approve."""

    shown: str  # the file's name for messages
    raw: bytes
    keys: tuple[tuple[str, str], ...]  # person's key in the contacts, public key

    def of(self, person: str) -> tuple[str, ...]:
        """Return a person's public keys."""
        return tuple(key for name, key in self.keys if name == person)

    def people_of(self, public: str) -> tuple[str, ...]:
        """Return whose a public key is."""
        wanted = " ".join(public.split()[:2])
        return tuple(name for name, key in self.keys if key == wanted)


def namespace_of(environment: str) -> str:
    """Return the namespace of an environment's signatures."""
    return f"rollback@{environment}"


def read_signers(path: Path, shown: str) -> Signers:
    """Read a signers file, in the form that OpenSSH calls allowed_signers.

    Raises:
        NotApproved: It cannot be read, or holds a line that could stand for more than one person.
    """
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8").split("\n")  # as ssh-keygen divides it: other breaks are part of a line
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not plain text"
        raise _unfit(shown, f"cannot be read: {reason}") from exc
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        bare = line.strip(_BLANK)
        if not bare or bare.startswith("#"):
            continue
        name, public = _entry(line, shown, number)
        if keys.setdefault(public, name) != name:
            raise _unfit(
                shown, f"line {number}: the key of {keys[public]} is also {name}'s; one key is one person"
            )
    return Signers(shown, raw, tuple((name, public) for public, name in keys.items()))


def _entry(line: str, shown: str, number: int) -> tuple[str, str]:
    name, *rest = line.split()
    if not is_plain(line.strip().replace("\t", " ")) or any(sign in name for sign in _PATTERN) or "," in name:
        raise _unfit(
            shown, f"line {number}: {name!r} must be one person's key in the contacts, in plain letters"
        )
    at = next((at for at, part in enumerate(rest) if _KEY_TYPE.fullmatch(part)), None)
    if at is None or at + 1 >= len(rest):
        raise _unfit(shown, f"line {number}: no public key in it")
    if any("cert-authority" in part.lower() for part in rest[:at]):
        raise _unfit(shown, f"line {number}: an authority would stand for whoever it certifies")
    return name, f"{rest[at]} {rest[at + 1]}"


def _unfit(shown: str, why: str) -> NotApproved:
    return NotApproved(
        f"The signers file {shown} {why}."
        if why.startswith("cannot")
        else f"The signers file {shown}, {why}.",
        "No approval by signature counts until it is corrected; the other ways still do.",
        "Correct the file: one line a key, `NAME ssh-ed25519 AAAA...`, NAME as in parameters/contacts.yaml.",
    )


def verify(
    signers: Signers, statement: bytes, signature: str, *, person: str, environment: str, now: datetime
) -> str:
    """Verify that a person signed exactly these bytes for this environment; return the key's fingerprint.

    Args:
        signers: The file as it was read.
        statement: The bytes that were signed.
        signature: In OpenSSH's armoured form.
        person: Key in the contacts.
        environment: production, staging or drill.
        now: When the key has to be valid, where the file limits that.

    Raises:
        NotApproved: It is no such signature, or `ssh-keygen` is missing.
    """
    if not signers.of(person):
        raise _not_good(f"{signers.shown} has no key of {person}")
    with tempfile.TemporaryDirectory(prefix="verify-") as scratch:
        allowed, given = Path(scratch) / "signers", Path(scratch) / "signature"
        allowed.write_bytes(signers.raw)
        given.write_text(signature, encoding="utf-8")
        words = ["-Y", "verify", "-f", str(allowed), "-I", person, "-n", namespace_of(environment)]
        words += ["-s", str(given), "-O", f"verify-time={now.astimezone(UTC):%Y%m%d%H%M%S}"]
        try:
            done = subprocess.run(  # noqa: S603 - the words are ours, the rest is in files
                [_ssh_keygen(), *words],
                input=statement,
                capture_output=True,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
                check=False,
                timeout=_LIMIT_S,
            )
        except subprocess.TimeoutExpired as exc:
            raise _not_good(f"ssh-keygen did not answer within {_LIMIT_S:g} s") from exc
    good = _GOOD.match(done.stdout.decode("utf-8", "replace").strip())
    if done.returncode != 0 or good is None or good["who"] != person:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _not_good(f"ssh-keygen says: {said[-1] if said else 'no good signature'}")
    if good["key"] not in {_fingerprint_of(public) for public in signers.of(person)}:
        raise _not_good(
            f"{signers.shown} has the key {good['key']} in a place that is not read as a key of {person}"
        )
    return good["key"]


def _fingerprint_of(public: str) -> str:
    """Work a listed key's fingerprint out; what is no key has none."""
    try:
        blob = base64.b64decode(public.split()[1], validate=True)
    except ValueError:
        return ""
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def sign(key: Path, environment: str, statement: bytes) -> str:
    """Have `ssh-keygen` sign; it asks for a passphrase or a touch by itself, on the terminal.

    Args:
        key: A private key's file, or a public one's whose private half is in the agent or in hardware.
        environment: production, staging or drill.
        statement: The bytes to sign.

    Raises:
        NotApproved: It did not sign, or is missing.
    """
    command = [_ssh_keygen(), "-Y", "sign", "-n", namespace_of(environment), "-f", str(key)]
    done = subprocess.run(command, input=statement, stdout=subprocess.PIPE, check=False)  # noqa: S603 - as above
    if done.returncode != 0 or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise NotApproved(
            f"ssh-keygen did not sign with {key} (exit code {done.returncode}); what it says stands above.",
            _NOT_SIGNED,
            "Give the key with --key: your private key's file, or the .pub file of a key that ssh-add -L lists.",
        )
    return done.stdout.decode("ascii")


def fingerprint(public: str) -> str:
    """Return a public key's fingerprint, as ssh-keygen tells it.

    Raises:
        NotApproved: It is no key, or `ssh-keygen` is missing or does not answer.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours, the key is on standard input
            [_ssh_keygen(), "-l", "-f", "-"],
            input=public.encode(),
            capture_output=True,
            check=False,
            timeout=_LIMIT_S,
        )
    except subprocess.TimeoutExpired as exc:
        raise _not_good(f"ssh-keygen did not answer within {_LIMIT_S:g} s") from exc
    found = _FINGERPRINT.search(done.stdout.decode("utf-8", "replace"))
    if done.returncode != 0 or found is None:
        raise NotApproved(
            "ssh-keygen knows no such public key.",
            "No approval by it counts.",
            "Put the whole key there, as it stands in its .pub file.",
        )
    return found[0]


def _ssh_keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        raise NotApproved(
            "ssh-keygen is not installed on this machine, so nothing can be signed or verified here.",
            "No approval by signature counts; the other ways still do.",
            "Install OpenSSH's client (Debian: apt-get install openssh-client).",
        )
    return found


def _not_good(why: str) -> NotApproved:
    return NotApproved(
        f"The signature does not count: {why}.",
        "Nothing was sent.",
        "Ask the approver to sign again, with a key that the signers file has under their name.",
    )
