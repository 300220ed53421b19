"""Putting it together: injected values over the environment's file over defaults, checked as a whole.

- Every refusal comes before any request, and leaves no file.
- Outside drills an injected platform or policy must be exactly the file's; a drill may override it key by key.
- The operator is one of the people of the environment.
- `public` holds no secret, no phone number and no mail address.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollback_lib.errors import BadParameters
from rollback_lib.model import Redactor, digest_of
from rollback_lib.parameters.contacts import Contacts, Person, load_contacts
from rollback_lib.parameters.effective import effective_platform, effective_policy, refuse_override
from rollback_lib.parameters.home import project_home
from rollback_lib.parameters.hosts import address_of, fault_in_drill, fault_outside_drills
from rollback_lib.parameters.layer import Layer, known_environment, read_layer, refuse_placeholders
from rollback_lib.parameters.namespace import given_values, refuse_secrets
from rollback_lib.parameters.platform import Platform, signers_file
from rollback_lib.parameters.policy import Policy
from rollback_lib.parameters.run import RunParameters
from rollback_lib.parameters.secrets import Secrets, redactor_of
from rollback_lib.parameters.words import UNTOUCHED, Place, came, dotted, faults

__all__ = ["Resolved", "refuse_webhook_elsewhere", "resolve"]

# Which run it is and who lets it through, not what it does.
_NOT_DECISIVE = frozenset({"confirm", "incident", "mode", "new_run", "run", "take_over"})
_SHOWN_ERRORS = frozenset({"bool_type", "literal_error", "string_type", "dict_type"})


@dataclass(frozen=True)
class Resolved:
    """Everything that a run is told."""

    parameters: RunParameters
    platform: Platform = field(repr=False)
    policy: Policy = field(repr=False)
    contacts: Contacts = field(repr=False)
    home: Path = field(repr=False)
    secrets: Secrets = field(repr=False)
    injected: tuple[str, ...]  # the names whose values differ from the defaults

    @property
    def operator(self) -> Person:
        """Return who operates."""
        return self.contacts.person(self.parameters.operator)

    @property
    def archive_root(self) -> Path:
        """Return the archive's folder; a relative one is under the project's.

        Raises:
            BadParameters: The archive is an address, which needs a store that this version does not have.
        """
        if "://" in self.platform.archive:
            raise BadParameters(
                f"platform.archive is {self.platform.archive}; records can only be kept in a folder.",
                UNTOUCHED,
                "Set platform.archive to a folder, such as incidents.",
            )
        return self.home / Path(self.platform.archive).expanduser()

    @property
    def signers(self) -> Path:
        """Return the file of the keys that may approve; a relative one is under the project's folder."""
        return signers_file(self.platform, self.parameters.environment)

    def public(self) -> dict[str, Any]:
        """Return all of it as JSON-like data for the journal: parameters by name, and what they led to."""
        told = self.parameters.model_dump(mode="json")
        whole = told | {
            "platform": self.platform.model_dump(mode="json"),
            "policy": self.policy.model_dump(mode="json"),
            "contacts": self.contacts.public(),
            "injected": list(self.injected),
            "secrets": self.secrets.sources(),
        }
        cleaned: dict[str, Any] = self.secrets.redactor.clean(whole)
        return cleaned

    def fingerprint(self) -> str:
        """Return a digest of what decides the run's doing; another one means that it is another run.

        The effective platform and policy are part of it; which run it is, its mode and what opens its gates are not.
        """
        told = self.parameters.model_dump(mode="json", exclude=set(_NOT_DECISIVE))
        effective = {
            "platform": self.platform.model_dump(mode="json"),
            "policy": self.policy.model_dump(mode="json"),
        }
        return digest_of(told | effective)


def resolve(
    namespace: Mapping[str, Any],
    model: type[RunParameters],
    *,
    cells: Sequence[str],
    home: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    ask: Callable[[str], str] | None = None,
    needs: Iterable[str] = (),
) -> Resolved:
    """Check everything that a notebook was given, before anything is sent or written.

    Does not look at the platforms: whether an id exists there is found out by the first step.

    Args:
        namespace: The notebook's `globals()`.
        model: The procedure's parameters.
        cells: Sources of the cells run so far (`notebook_cells`).
        home: The project's folder; None looks for it.
        environ: Environment variables: the project's folder, the secrets and their file.
        ask: Prompts for a missing secret without echo; used in interactive mode only.
        needs: Secrets without which the procedure cannot run.

    Raises:
        BadParameters: Something in it is wrong, missing or misspelt. Nothing was sent; nothing was written.
    """
    given = given_values(namespace, tuple(model.model_fields), cells)
    root = (home or project_home(None, environ)).resolve()
    refuse_secrets(given, redactor_of(environ))  # before any value of it is repeated
    environment = known_environment(_value(given, model, "environment"))
    interactive = _value(given, model, "mode") == "interactive"
    secrets = Secrets.open(environment, root, environ, ask if interactive else None)
    refuse_secrets(given, secrets.redactor)
    parameters = _parameters(model, given, secrets.redactor)
    layer = read_layer(root, environment, secrets.redactor)
    refuse_override(layer, "platform", parameters.platform)
    refuse_override(layer, "policy", parameters.policy)
    refuse_placeholders(layer, root)
    platform = effective_platform(layer, parameters.platform, root)
    policy = effective_policy(layer, parameters.policy)
    contacts = load_contacts(root, environment)
    injected = _injected(parameters)
    parameters = _with_operator(parameters, layer, contacts)
    secrets.redactor.learn(one.phone for one in contacts.people.values())  # so that no text carries one out
    secrets.require(needs)
    refuse_webhook_elsewhere(secrets, environment)
    return Resolved(parameters, platform, policy, contacts, root, secrets, injected)


def refuse_webhook_elsewhere(secrets: Secrets, environment: str) -> None:
    """Hold the webhook to the rule of all addresses: a drill's alert must not reach the real channel.

    Raises:
        BadParameters: It leads where this environment must not. Nothing was sent.
    """
    name = "SLACK_WEBHOOK_URL"
    value = secrets.optional(name)
    if value is None:
        return
    try:
        address = address_of(value.get_secret_value())
        fault = fault_in_drill(address) if environment == "drill" else fault_outside_drills(address)
    except ValueError as exc:
        fault = str(exc)
    if fault is not None:
        raise BadParameters(
            f"{name} ({secrets.source(name)}) {fault}.",
            UNTOUCHED,
            f"Take {name} away, or give the one of this environment.",
        ) from None


def _value(given: Mapping[str, Any], model: type[RunParameters], name: str) -> Any:
    return given.get(name, model.model_fields[name].default)


def _parameters(model: type[RunParameters], given: dict[str, Any], redactor: Redactor) -> RunParameters:
    try:
        return model.model_validate(given)
    except ValidationError as exc:
        told = zip(faults(exc), exc.errors(include_url=False), strict=True)
        listed = dict.fromkeys(
            _sentence(place, text, error["type"], error["input"]) for (place, text), error in told
        )
        said = redactor.redact("; ".join(listed))
    # Raised without its cause: pydantic's own error repeats whatever came.
    raise BadParameters(f"{said}.", UNTOUCHED, "Correct the parameters named above, then run all cells.")


def _sentence(place: Place, text: str, kind: str, value: Any) -> str:
    if place[0] == "confirm":
        return "confirm must be text, or a mapping of gate ids to texts"  # pydantic tells it twice
    said = f"{dotted(place)} {text}" + (f" ({came(value)})" if kind in _SHOWN_ERRORS else "")
    if kind == "string_type" and isinstance(value, int | float) and len(place) == 1:
        said += f"""; on the command line: -p '{place[0]}="{value}"'"""  # a shell takes bare quotes away
    return said


def _with_operator(parameters: RunParameters, layer: Layer, contacts: Contacts) -> RunParameters:
    """Name the operator; a drill that names none has the persona of its file."""
    operator = parameters.operator
    if not operator and layer.environment == "drill":
        operator = str(layer.tree.get("operator") or "")
    if not operator:
        raise BadParameters(
            f"operator is empty; known for {layer.environment}: {', '.join(contacts.people)}.",
            UNTOUCHED,
            "Set operator to your key in parameters/contacts.yaml.",
        )
    contacts.person(operator)
    return parameters.model_copy(update={"operator": operator})


def _injected(parameters: RunParameters) -> tuple[str, ...]:
    fields = type(parameters).model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    return tuple(sorted(name for name in fields if getattr(parameters, name) != defaults[name]))
