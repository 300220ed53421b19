"""Tokens and other secrets: from the environment, a private file or a prompt, and never shown.

- Looked for in that order; a headless run never prompts.
- A drill has variables of its own, which come first, then its file: a real token in somebody's shell is used in a drill
  only where neither is there.
- The file is refused unless it is readable by its owner alone.
- Every value is taught to the redactor before anybody gets it, also those that no one asks for.
- A value is in no repr, no error and no pickle: each process resolves its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from pydantic import SecretStr

from rollback_lib.errors import BadParameters
from rollback_lib.model import SHORTEST_SECRET, Redactor
from rollback_lib.parameters.dotenv import read_private
from rollback_lib.parameters.words import UNTOUCHED

__all__ = ["SECRET_NAMES", "Secrets", "redactor_of", "secrets_file", "variable_of"]

SECRET_NAMES = (
    "VERCEL_TOKEN",
    "VERCEL_AUTOMATION_BYPASS_SECRET",
    "SENTRY_AUTH_TOKEN",
    "SLACK_BOT_TOKEN",
    "SLACK_WEBHOOK_URL",
    "CONVEX_DEPLOY_KEY",
    "CONVEX_ACCESS_TOKEN",
    "GITHUB_TOKEN",
    "STORE_ACCESS_KEY_ID",
    "STORE_SECRET_ACCESS_KEY",
)
DRILL_PREFIX = "ROLLBACK_DRILL_"
_FILE_VARIABLE = "ROLLBACK_SECRETS_FILE"
_SENDABLE = re.compile(r"[!-~]+")  # what can stand in a header: printable ASCII without the space


@dataclass(frozen=True)
class _Found:
    value: SecretStr
    source: str


@dataclass
class Secrets:
    """The secrets of one environment. `open` is the way to make one."""

    environment: str
    file_shown: str  # the file's name for messages
    redactor: Redactor = field(default_factory=Redactor, repr=False)
    ask: Callable[[str], str] | None = field(default=None, repr=False)
    _found: dict[str, _Found] = field(default_factory=dict, repr=False)
    _odd: dict[str, str] = field(default_factory=dict, repr=False)  # name -> source of what cannot be one

    @classmethod
    def open(
        cls, environment: str, home: Path, environ: Mapping[str, str], ask: Callable[[str], str] | None
    ) -> Secrets:
        """Collect what the environment variables and the file give.

        Args:
            environment: Whose secrets: production, staging or drill.
            home: The project's folder.
            environ: The process's environment variables.
            ask: Prompts a person without echo; None where nobody is there to answer.

        Raises:
            BadParameters: The file is readable by others, missing though named, or malformed. Nothing was sent.
        """
        path, is_named = secrets_file(environment, home, environ)
        shown = str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
        secrets = cls(environment, shown, ask=ask)
        secrets.redactor.learn(_all_variables(environ))  # also those that are not this environment's
        if environment == "drill":  # the plain names, for where nothing of the drill's own is
            secrets._learn_variables(environ, "production")
        if is_named or path.exists():
            secrets._learn_all(read_private(path, shown), f"file {shown}")
        secrets._learn_variables(environ, environment)
        return secrets

    def get(self, name: str) -> SecretStr:
        """Return a secret, prompting for it if somebody is there.

        Raises:
            BadParameters: It is nowhere; the message says the three ways to give it. Nothing was sent.
        """
        found = self.optional(name)
        if found is None:
            self.require((name,))
            return self._found[name].value
        return found

    def optional(self, name: str) -> SecretStr | None:
        """Return a secret if it was given, without prompting.

        Raises:
            BadParameters: What was given cannot be a secret. Nothing was sent.
        """
        _refuse_unknown(name)
        if name in self._odd:
            raise _not_one(name, self._odd[name])
        found = self._found.get(name)
        return found.value if found is not None else None

    def source(self, name: str) -> str:
        """Say where a secret came from, such as `environment variable VERCEL_TOKEN`; `not given` if nowhere."""
        _refuse_unknown(name)
        found = self._found.get(name)
        return found.source if found is not None else "not given"

    def sources(self) -> dict[str, str]:
        """Say where each given secret came from."""
        return {name: self._found[name].source for name in SECRET_NAMES if name in self._found}

    def require(self, names: Iterable[str]) -> None:
        """Make sure that each secret is there, prompting for what is missing if somebody is there.

        Raises:
            BadParameters: Some are nowhere; all of them are named. Nothing was sent.
        """
        missing = [name for name in names if self.optional(name) is None]
        if self.ask is None:
            if missing:
                raise self._missing(missing)
            return
        for name in missing:
            self._learn(name, self._prompt(name), "typed at the prompt")
            if name not in self._found:
                raise self._missing([name])

    def usable(self) -> Secrets:
        """Return the same without what cannot be a secret, which then counts as not given."""
        return replace(self, _odd={})

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: a value must not end up in another process's files."""
        raise TypeError("secrets stay in their process: resolve the parameters again in the other one")

    def _prompt(self, name: str) -> str:
        assert self.ask is not None
        try:
            return self.ask(f"{name} for {self.environment}: ")
        except (EOFError, OSError, NotImplementedError) as exc:  # a kernel without standard input
            raise self._missing([name]) from exc

    def _learn_variables(self, environ: Mapping[str, str], kind: str) -> None:
        for name in SECRET_NAMES:
            variable = variable_of(kind, name)
            self._learn(name, environ.get(variable, ""), f"environment variable {variable}")

    def _learn_all(self, values: Mapping[str, str], source: str) -> None:
        for name in SECRET_NAMES:
            self._learn(name, values.get(name, ""), source)

    def _learn(self, name: str, raw: str, source: str) -> None:
        """Take a value in; one that cannot be a secret is refused when it is asked for, not before."""
        value = raw.strip()  # a token copied from a file often ends in a newline
        if not value:
            return
        self.redactor.learn([value])
        self._found.pop(name, None)
        if len(value) < SHORTEST_SECRET or _SENDABLE.fullmatch(value) is None:
            self._odd[name] = source
            return
        self._odd.pop(name, None)
        self._found[name] = _Found(SecretStr(value), source)

    def _missing(self, names: list[str]) -> BadParameters:
        listed, example = ", ".join(names), names[0]
        variable = variable_of(self.environment, example)
        drill = self.environment == "drill"
        begin = (
            "Start the simulated company (rollback simulator), which writes its own; or set"
            if drill
            else "Set"
        )
        return BadParameters(
            f"{self.environment} needs {listed}, and {'it is' if len(names) == 1 else 'they are'} not given.",
            UNTOUCHED,
            f"{begin} the environment variable {variable}, or write {example}=... into {self.file_shown} "
            f"(chmod 600), or open the notebook interactively and type it when asked.",
        )


def redactor_of(environ: Mapping[str, str]) -> Redactor:
    """Return a redactor that knows the environment variables' secrets, before any file is read."""
    redactor = Redactor()
    redactor.learn(_all_variables(environ))
    return redactor


def variable_of(environment: str, name: str) -> str:
    """Name the environment variable that gives a secret, or names its file, in an environment."""
    return DRILL_PREFIX + name.removeprefix("ROLLBACK_") if environment == "drill" else name


def _all_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the values of all secrets in the environment variables, of drills and of the real environments."""
    variables = [variable_of(kind, name) for kind in ("drill", "production") for name in SECRET_NAMES]
    return [environ.get(variable, "").strip() for variable in variables]


def secrets_file(environment: str, home: Path, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Return the file's path, and whether a variable named it: `ROLLBACK_SECRETS_FILE`, in a drill
    `ROLLBACK_DRILL_SECRETS_FILE`. A relative one is under home.
    """
    named = environ.get(variable_of(environment, _FILE_VARIABLE), "").strip()
    if named:
        return home / Path(named).expanduser(), True
    return home / ".secrets" / f"{environment}.env", False


def _not_one(name: str, source: str) -> BadParameters:
    return BadParameters(
        f"{name} ({source}) cannot be a secret: it is shorter than {SHORTEST_SECRET} characters, "
        "or has spaces, control characters or letters outside ASCII in it.",
        UNTOUCHED,
        "Copy it again from the platform, whole and without quotes.",
    )


def _refuse_unknown(name: str) -> None:
    if name not in SECRET_NAMES:
        raise ValueError(f"{name} is no secret that we know: add it to SECRET_NAMES")
