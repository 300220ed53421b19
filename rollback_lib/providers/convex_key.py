"""The deploy key of Convex: which deployment it says it is for, and which kind of key it is.

- What a key says is read before it is sent anywhere; only the part behind `|` is secret.
- A key of a whole project, or one that makes previews, is no key of a deployment: nothing is pushed with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr

from rollback_lib.errors import BadParameters

__all__ = ["KEY_NAME", "Credential", "DeployKey"]

KEY_NAME = "CONVEX_DEPLOY_KEY"
_FORM = re.compile(r"(?:(?P<kind>[a-z]+):)?(?P<deployment>[a-zA-Z0-9-]+)\|(?P<secret>[!-~]+)")
_UNTOUCHED = "Nothing was sent."
_WHERE = "Convex dashboard -> the deployment -> Settings -> URL & Deploy Key"


@dataclass(frozen=True)
class DeployKey:
    """A key of one deployment."""

    kind: str  # prod, dev, preview, ...; empty for the admin key of a deployment of one's own
    deployment: str
    whole: SecretStr

    @classmethod
    def read(cls, value: SecretStr, source: str) -> Self:
        """Read what a key says of itself.

        Raises:
            BadParameters: Not the key of a deployment. Nothing was sent.
        """
        text = value.get_secret_value()
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadParameters(
                f"{KEY_NAME} ({source}) is {_what_else(text)}, expected the key of one deployment: prod:<deployment>|<secret>.",
                _UNTOUCHED,
                f"Make a production deploy key ({_WHERE}) and set it whole, in quotes: it holds a | sign.",
            )
        return cls(found["kind"] or "", found["deployment"], value)

    @property
    def secret(self) -> str:
        """Return the part that nobody may see."""
        return self.whole.get_secret_value().partition("|")[2]

    def require(self, deployment: str, source: str) -> None:
        """Refuse a key that says it is for another deployment.

        Raises:
            BadParameters: It is. Nothing was sent.
        """
        if self.deployment != deployment:
            raise BadParameters(
                f"{KEY_NAME} ({source}) is for the {self.kind or 'own'} deployment {self.deployment}, expected {deployment} (convex.deployment).",
                _UNTOUCHED,
                f"Set the deploy key of {deployment} ({_WHERE}), or correct convex.deployment in the parameters.",
            )


@dataclass(frozen=True)
class Credential:
    """What was given as the deploy key, and where; a run that needs none is not held up by a bad one."""

    value: SecretStr | None
    source: str  # environment variable CONVEX_DEPLOY_KEY, file .secrets/production.env, ...

    def key(self, deployment: str) -> DeployKey:
        """Return the key, if it says it is for a deployment. Sends nothing.

        Raises:
            BadParameters: None was given, or it is no key of this deployment.
        """
        if self.value is None:
            raise BadParameters(
                f"There is no deploy key of {deployment}: {KEY_NAME} is not given.",
                _UNTOUCHED,
                f"Make a production deploy key ({_WHERE}) and set {KEY_NAME} to it; then run the open cell again.",
            )
        key = DeployKey.read(self.value, self.source)
        key.require(deployment, self.source)
        return key

    @property
    def presentable(self) -> DeployKey | None:
        """Return the key if it can be one of a deployment; nothing else is sent as one."""
        try:
            return DeployKey.read(self.value, self.source) if self.value is not None else None
        except BadParameters:
            return None


def _what_else(text: str) -> str:
    """Say what a text is that is no key of a deployment, without repeating what may be secret in it."""
    head, bar, _ = text.partition("|")
    if not bar:
        return "no whole key (it has no | sign)"
    if head.startswith("project:"):
        return "the token of a whole project"
    if head.startswith("preview:") and head.count(":") > 1:
        return "a key that makes preview deployments"
    return "of an unknown form"
