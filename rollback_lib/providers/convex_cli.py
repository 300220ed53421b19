"""The official command line of Convex, run on one checked out commit: the only way in which code is pushed here.

- Its version is that of the commit's own lockfile wherever that serves (`command_line`); it runs on the project's own Node, never on the machine's.
- Its environment is built from nothing. The deploy key is in it and nowhere else: not in arguments, not in files.
- It takes a pass like every change: written down before the process begins, and after it has ended.
- What is pushed is the commit: a folder that was changed since is refused, and the message of a push names the commit.
- One push at a time on a machine. If we end, the command line goes on, and who comes next is told (`running`, `left`).
- What it writes is shown and kept redacted, without documents' content and without Convex's answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlsplit

from rollback_lib.clock import Clock
from rollback_lib.errors import BadParameters, PlanViolation, Unreachable
from rollback_lib.model import Answer, Pass, Redactor, RequestClass, Sending, digest_of
from rollback_lib.node import node_binary
from rollback_lib.providers.checkout import Checkout
from rollback_lib.providers.child import Child, Left, Slot, interrupts_put_off
from rollback_lib.providers.command_line import command_line
from rollback_lib.providers.convex_facts import Module
from rollback_lib.providers.convex_key import KEY_NAME, Credential
from rollback_lib.providers.convex_push import (
    Analysis,
    Outcome,
    Refusal,
    Transcript,
    outcome_of,
    refusal_of,
    too_old,
    unknown_option,
)

__all__ = [
    "Allowed",
    "Bundle",
    "CliRun",
    "ConvexCli",
    "Orphan",
    "Telling",
    "cli_path",
    "push_arguments",
]

# What the command line asks a person about; without one it refuses, and names the flag.
Allowed = Literal["--skip-large-indexes-check", "--allow-unstaging-schema"]

LONGEST_DRY_RUN_S = 300.0
LONGEST_PUSH_S = 900.0  # an index that comes back is filled before the code goes live
STARTS_WITHIN_S = 10.0  # what a lease must still be good for; while it runs, `keep` is asked
MESSAGE_LIMIT_BYTES = 1024  # Convex's own
_DEFAULT_CONTROL = "https://api.convex.dev"
_NOWHERE = "http://127.0.0.1:1"  # a port that no request may go to: the newest version is not looked up
_PASSED_ON = ("NODE_EXTRA_CA_CERTS", *(f"{name}_PROXY" for name in ("HTTP", "HTTPS", "NO")))
_STRENGTH = {RequestClass.READ: 0, RequestClass.PREPARE: 1, RequestClass.EFFECT: 2}
_UNTOUCHED = "Nothing was sent."
_STACK = re.compile(r"at \S|Node\.js v|[\^~{}\]]+$")  # what Node writes around the reason of a crash
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_KINDS: Mapping[Outcome, str] = {
    "done": "accepted",
    "refused": "refused",
    "failed": "refused",
    "unclear": "unclear",
}


class CliSettings(Protocol):
    """What the command line needs to know of the parameters."""

    @property
    def url(self) -> str:
        """Return the deployment's address."""

    @property
    def api_url(self) -> str:
        """Return the control plane's address."""

    @property
    def deployment(self) -> str:
        """Return the deployment's name."""


@dataclass(frozen=True)
class Telling:
    """Where a run's output goes, and who is asked whether it may go on.

    Args:
        record: A file that is written anew with all that may be seen; None: none.
        on_line: Gets each line that may be seen.
        keep: Asked each second while it runs; what it raises ends the command line and goes up.
    """

    record: Path | None = None
    on_line: Callable[[str], None] = lambda _: None
    keep: Callable[[], None] | None = None


@dataclass(frozen=True)
class CliRun:
    """What came of one run of the command line."""

    kind: Outcome
    code: int | None  # None: it was ended from outside
    text: str  # redacted; without documents' content and Convex's answers
    refusal: Refusal | None
    analysis: Analysis | None  # of a dry run
    elapsed_s: float
    timed_out: bool = False

    @property
    def ending(self) -> str:
        """Return its last line that says something, for a sentence, without a full stop; a stack says nothing."""
        if self.timed_out:
            return f"it was ended, because it took longer than {self.elapsed_s:.0f} s"
        lines = (line.strip("✖✔ ") for line in reversed(self.text.splitlines()) if line.strip())
        last = next((line for line in lines if not _STACK.match(line)), "no output")
        said = " ".join(last.split()).rstrip(".")
        return f"{said} (exit code {self.code})" if self.code else said


@dataclass(frozen=True)
class Bundle:
    """A commit's code as it would be pushed, as digests; compare with `ConvexClient.live().runs(bundle.modules)`."""

    sha: str
    modules: tuple[Module, ...]
    version: str  # of the convex package that makes it
    schema_sha256: str  # of the schema as text; empty: none


@dataclass(frozen=True)
class Orphan:
    """A command line that an earlier process of ours began."""

    arguments: tuple[str, ...]
    sha: str
    began_at: str  # ISO 8601
    pid: int | None
    running: bool
    result: CliRun | None  # once it has ended

    @property
    def dry(self) -> bool:
        """Say whether it was to change nothing."""
        return "--dry-run" in self.arguments


@dataclass(frozen=True)
class _Run:
    """One run of the command line, as it is asked for."""

    checkout: Checkout
    project: str
    arguments: list[str]
    telling: Telling
    most_s: float

    @property
    def dry(self) -> bool:
        return "--dry-run" in self.arguments


class ConvexCli:
    """Runs the command line for one deployment.

    Args:
        settings: Which deployment.
        credential: Its deploy key.
        redactor: Takes secrets out of what is shown; should know the values of environment variables by then
            (`ConvexClient.variables`).
        clock: For waits and times.
        scratch: A folder of this machine's user, the same for all runs: its lock tells who pushes now.
        environ: From which proxies and certificates are taken, outside drills.
    """

    def __init__(
        self,
        settings: CliSettings,
        credential: Credential,
        redactor: Redactor,
        clock: Clock,
        scratch: Path,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._settings, self._credential = settings, credential
        self._redactor, self._clock, self._environ = redactor, clock, environ
        self._folder = scratch / "convex" / settings.deployment
        self.slot = Slot(self._folder / "push")

    def __repr__(self) -> str:
        return f"ConvexCli({self._settings.deployment!r})"

    def bundle(self, checkout: Checkout, project: str = "", most_s: float = LONGEST_DRY_RUN_S) -> Bundle:
        """Make a commit's code as it would be pushed, and push nothing.

        Asks Convex where the key leads and what is live; changes nothing.

        Args:
            checkout: The commit, with its packages installed.
            project: Where package.json is, below the checkout's folder.
            most_s: It is ended after so many seconds.

        Raises:
            BadParameters: No key of this deployment, no command line among the packages, or one that is too old.
            LeaseHeld: The command line runs already.
            PlanViolation: The folder is not the commit any more.
            Unreachable: The command line did not make it.
        """
        written = self.slot.made / "push"  # holds the key
        arguments = [*push_arguments(dry=True), "--write-push-request", str(written)]
        run = _Run(checkout, project, arguments, Telling(), most_s)
        begin = self._prepared(run)
        with interrupts_put_off() as let_through, self._followed(begin(), run, let_through) as done:
            if option := unknown_option(done.text):
                raise too_old(checkout.sha, option)
            try:
                told = json.loads(written.with_suffix(".json").read_bytes())["appDefinition"]
                return _bundle(checkout.sha, told)
            except (OSError, ValueError, KeyError, TypeError) as exc:
                raise Unreachable(
                    f"The command line did not make the code of {checkout.sha[:12]} as it would be pushed: {done.ending}.",
                    "Nothing was changed.",
                    "Run the cell again; if it stays so, compare what is live by hand (npx convex function-spec --prod).",
                ) from exc

    def dry_run(
        self,
        checkout: Checkout,
        permit: Pass | None,
        telling: Telling,
        *,
        message: str | None = None,
        project: str = "",
        allow: Sequence[Allowed] = (),
        most_s: float = LONGEST_DRY_RUN_S,
    ) -> CliRun:
        """Ask Convex whether it would take the commit's code; its schema is held against the live data.

        Puts no code live and fills no index. Another push that is under way at the same time may fail by it.

        Args:
            checkout: The commit, with its packages installed.
            permit: For a harmless change at least.
            telling: Where the output goes.
            message: Of the push to come: a command line that cannot take it is found out before the gate.
            project: Where package.json is, below the checkout's folder.
            allow: What a person has said yes to.
            most_s: It is ended after so many seconds.

        Raises:
            BadParameters: No key of this deployment, or no command line among the packages. Nothing was sent.
            LeaseHeld: The command line runs already. Nothing was sent.
            PlanViolation: No pass, or the folder is not the commit any more. Nothing was sent.
        """
        arguments = [
            *push_arguments(message, dry=True, allow=allow),
            "--verbose",
        ]  # then it tells what Convex found in the code
        return self._change(_Run(checkout, project, arguments, telling, most_s), permit)

    def deploy(
        self,
        checkout: Checkout,
        message: str,
        permit: Pass | None,
        telling: Telling,
        *,
        project: str = "",
        allow: Sequence[Allowed] = (),
        most_s: float = LONGEST_PUSH_S,
    ) -> CliRun:
        """Push the commit's code: what is live is replaced. Sent once.

        Args:
            checkout: The commit, with its packages installed.
            message: For Convex's audit log; holds the whole sha.
            permit: From the open gate; without it nothing is sent.
            telling: Where the output goes.
            project: Where package.json is, below the checkout's folder.
            allow: What a person has said yes to.
            most_s: It is ended after so many seconds; what it has done by then is not certain.

        Returns:
            `unclear` is no failure: read the audit log, the last push and `ConvexClient.live` before anything is sent again.

        Raises:
            BadParameters: No key, no command line, or a message that Convex would not take. Nothing was sent.
            LeaseHeld: The command line runs already. Nothing was sent.
            PlanViolation: No pass, a message without the sha, or the folder is not the commit. Nothing was sent.

        Plan: Procedure 2, step 4.
        """
        _require_message(message, checkout.sha)
        return self._change(
            _Run(checkout, project, push_arguments(message, allow=allow), telling, most_s), permit
        )

    # What an earlier process left

    def left(self) -> Orphan | None:
        """Return the command line that an earlier process began and did not see the end of; None if there is none.

        What it wrote is redacted by what the redactor knows now.
        """
        running = self.slot.running()
        found = running or self.slot.left()
        if found is None:
            return None
        arguments = tuple(str(part) for part in found.what.get("arguments", ()))
        told = Orphan(
            arguments=arguments,
            sha=str(found.what.get("sha", "")),
            began_at=str(found.what.get("began_at", "")),
            pid=found.pid,
            running=running is not None,
            result=None,
        )
        return told if told.running else replace(told, result=self._result_of(found, dry=told.dry))

    def await_end(self, most_s: float) -> bool:
        """Wait until no command line runs for this deployment; say whether that is so."""
        return self.slot.wait(most_s, self._clock)

    def end(self) -> bool:
        """End the command line that runs; what it has done by then is not certain. Say whether none runs any more."""
        return self.slot.end(self._clock)

    def clear(self) -> None:
        """Remove what the last run left, its unredacted output included; does nothing while one runs."""
        self.slot.clear()

    # Below

    def _change(self, run: _Run, permit: Pass | None) -> CliRun:
        """Let the pass write it down, run it, let the pass write down what came of it."""
        sending = self._sending(run)
        if permit is None or _STRENGTH[permit.request_class] < _STRENGTH[sending.request_class]:
            raise PlanViolation(
                f"convex: {sending.path} is of class {sending.request_class.value}, but was about to be run "
                f"{'without leave' if permit is None else f'with leave for {permit.request_class.value} only'}.",
                _UNTOUCHED,
                "This is a mistake in the runbook, not yours: report it, and push by hand (npx convex deploy).",
            )
        begin = self._prepared(run)
        permit.admit(sending)
        with interrupts_put_off() as let_through:
            try:
                child = begin()
            except BaseException as exc:
                permit.answered(sending, Answer("not_sent", None, str(exc).partition("\n")[0]))
                raise
            try:
                done = self._follow(child, run, let_through)
            except BaseException as exc:
                why = f"the command line was ended: {type(exc).__name__}"
                permit.answered(sending, Answer("unclear", None, why))
                raise
        kind: Any = _KINDS[done.kind]
        permit.answered(sending, Answer(kind, None, self._redactor.redact(done.ending)[:300]))
        return done

    def _prepared(self, run: _Run) -> Callable[[], Child]:
        """Look at all that may keep it from running; return what begins it."""
        key = self._credential.key(self._settings.deployment)
        checkout, folder = run.checkout, run.checkout.folder / run.project
        program = command_line(checkout, run.project).program
        checkout.require_unchanged()
        environ = self._environment(key.whole.get_secret_value())
        command = [str(node_binary()), str(program), *run.arguments]
        what = {"what": f"convex {run.arguments[0]}", "arguments": run.arguments, "sha": checkout.sha}
        return lambda: self.slot.start(command, cwd=folder, environ=environ, what=what, clock=self._clock)

    def _follow(self, child: Child, run: _Run, let_through: Callable[[], None]) -> CliRun:
        with self._followed(child, run, let_through) as done:
            return done

    @contextmanager
    def _followed(self, child: Child, run: _Run, let_through: Callable[[], None]) -> Iterator[CliRun]:
        """Follow it to its end; what it wrote and made is there while inside, and removed after that."""
        try:
            yield self._to_its_end(child, run, let_through)
        finally:
            self.slot.clear()  # as it was written, it may hold secrets

    def _to_its_end(self, child: Child, run: _Run, let_through: Callable[[], None]) -> CliRun:
        telling = run.telling
        transcript = Transcript(self._redactor.redact, telling.on_line)
        began = self._clock.monotonic()
        try:
            ended = child.follow(transcript.take, run.most_s, self._clock, telling.keep, let_through)
        finally:
            if telling.record is not None:
                telling.record.parent.mkdir(parents=True, exist_ok=True)
                telling.record.write_text(transcript.text + "\n", encoding="utf-8")
        elapsed_s = self._clock.monotonic() - began
        done = _result(transcript, ended.code, elapsed_s, dry=run.dry)
        return replace(done, timed_out=ended.timed_out)

    def _result_of(self, left: Left, *, dry: bool) -> CliRun:
        transcript = Transcript(self._redactor.redact, lambda _: None)
        for line in left.output.split("\n"):
            transcript.take(line.rstrip("\r"))
        return _result(transcript, left.code, 0.0, dry=dry)

    def _sending(self, run: _Run) -> Sending:
        about = [self._settings.deployment, self._settings.url, run.checkout.sha, run.arguments]
        path = self._redactor.redact(cli_path(run.arguments))
        does = RequestClass.PREPARE if run.dry else RequestClass.EFFECT
        return Sending("convex", "CLI", path, digest_of(about), does, STARTS_WITHIN_S)

    def _environment(self, key: str) -> dict[str, str]:
        home = self._folder / "home"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        control = self._settings.api_url.rstrip("/")
        told = {
            "PATH": os.pathsep.join((str(node_binary().parent), os.defpath)),
            "HOME": str(home),  # nobody's login
            "NO_COLOR": "1",
            "CI": "1",  # it then reports its errors, documents' content included, to nobody else
            "CONVEX_VERSION_API_ORIGIN": _NOWHERE,
            KEY_NAME: key,
        }
        if control != _DEFAULT_CONTROL:
            told["CONVEX_PROVISION_HOST"] = control
        if urlsplit(control).hostname not in ("127.0.0.1", "localhost", "::1"):
            names = (*_PASSED_ON, *(name.lower() for name in _PASSED_ON))
            told |= {name: self._environ[name] for name in names if self._environ.get(name)}
        return told


def push_arguments(
    message: str | None = None, *, dry: bool = False, allow: Sequence[Allowed] = ()
) -> list[str]:
    """Return the arguments of a push; types are not checked again, which would take a compiler."""
    told = ["--message", message] if message is not None else []
    return ["deploy", "--typecheck", "disable", *(["--dry-run"] if dry else []), *allow, *told]


def cli_path(arguments: list[str]) -> str:
    """Return what a run of the command line is called in the journal, and what a gate must name to let it through.

    Each argument is written so that it is told from the next and holds no `?`, behind which a gate does not look.
    """
    return " ".join(["convex", *(quote(part, safe="-_.~:/@=+,()•") for part in arguments)])


def _result(transcript: Transcript, code: int | None, elapsed_s: float, *, dry: bool) -> CliRun:
    kind = outcome_of(transcript.text, code, dry=dry)
    refusal = refusal_of(transcript.text) if kind != "done" else None
    return CliRun(kind, code, transcript.text, refusal, transcript.analysis, elapsed_s)


def _bundle(sha: str, told: Mapping[str, Any]) -> Bundle:
    """Read the request of a push: new modules come whole, known ones by their digest."""
    fresh = [Module(one["path"], one["environment"], _digest(one)) for one in told["changedModules"]]
    known = [Module(one["path"], one["environment"], one["sha256"]) for one in told["unchangedModuleHashes"]]
    schema = told.get("schema")
    return Bundle(
        sha=sha,
        modules=tuple(sorted((*fresh, *known), key=lambda module: module.path)),
        version=str(told["udfServerVersion"]),
        schema_sha256=_digest(schema) if schema else "",
    )


def _digest(module: Mapping[str, Any]) -> str:
    """Hash a module as Convex does: its source, then its source map."""
    return hashlib.sha256((module["source"] + (module.get("sourceMap") or "")).encode()).hexdigest()


def _require_message(message: str, sha: str) -> None:
    if sha not in message:
        raise PlanViolation(
            f"The message of the push does not name commit {sha}: {message!r}.",
            _UNTOUCHED,
            "This is a mistake in the runbook, not yours: report it, and push by hand (npx convex deploy --message).",
        )
    if len(message.encode()) > MESSAGE_LIMIT_BYTES or _CONTROL.search(message):
        raise BadParameters(
            f"The message of the push is {len(message.encode())} bytes long, expected at most {MESSAGE_LIMIT_BYTES} on one line.",
            _UNTOUCHED,
            "Give a shorter reason in the parameters.",
        )
