"""Sentry's own command line meets the simulated Sentry as it meets the real one, in what the two have in common.

It reads and marks releases; it has no way to ask for error rates, which the runbook decides by.
"""

from __future__ import annotations

import subprocess

import pytest
from tools import place, run, tool

from rollback_lib.simulator import Fault, TokenSpec, WorldSpec
from rollback_lib.simulator import company as facts

pytest_plugins = ["served"]

ORGANIZATION = f"/api/0/organizations/{facts.SENTRY_ORGANIZATION}"


def sentry(world, *args: str, token: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line against a company."""
    with place() as where:
        return run(
            [*tool("@sentry/cli", "bin/sentry-cli"), *args],
            where,
            SENTRY_URL=world.serving.addresses["sentry"],
            SENTRY_AUTH_TOKEN=token or world.serving.world.token("SENTRY_AUTH_TOKEN"),
            SENTRY_ORG=facts.SENTRY_ORGANIZATION,
            SENTRY_PROJECT=facts.SENTRY_PROJECT,
        )


def asked(world) -> list[tuple]:
    """List the requests that the monitoring got, and whether each changed something."""
    return [
        (entry.method, entry.path, entry.status, entry.applied)
        for entry in world.serving.world.ledger.entries()
        if entry.service == "sentry"
    ]


def release(world, role: str = "bad") -> str:
    """Return what the monitoring calls a deployment."""
    return world.serving.world.hosting.deployments[world.role(role)].release


def with_scopes(*scopes: str) -> tuple[TokenSpec, ...]:
    """Give the default credentials with another reach of Sentry's."""
    ours = TokenSpec(name="SENTRY_AUTH_TOKEN", service="sentry", scopes=scopes)
    return tuple(ours if token.name == ours.name else token for token in WorldSpec().tokens)


def test_info_tells_what_the_token_may(company):
    """Server, organization and scopes, from the index of the interface."""
    world = company(tokens=with_scopes("org:read", "event:read"))
    done = sentry(world, "info")
    assert done.returncode == 0
    assert [line.strip() for line in done.stdout.splitlines() if "- " in line] == [
        "- event:read",
        "- org:read",
    ]
    assert asked(world) == [("GET", "/api/0/", 200, False)]


@pytest.mark.parametrize("args", [("info",), ("releases", "info", "web@1")], ids=" ".join)
def test_refused_token_is_told_with_its_status(company, args):
    """401, whatever is asked."""
    done = sentry(company(), *args, token="sntryu_2718281828")
    assert done.returncode == 1
    assert "sentry reported an error: Invalid token (http status: 401)" in done.stderr


def test_missing_scope_is_told_with_its_status(company):
    """403, and nothing is made."""
    world = company(tokens=with_scopes("org:read"))
    done = sentry(world, "deploys", "new", "--release", release(world), "-e", "production")
    assert done.returncode == 1
    assert "You do not have permission to perform this action. (http status: 403)" in done.stderr
    assert asked(world) == [("POST", f"{ORGANIZATION}/releases/{release(world)}/deploys/", 403, False)]


def test_release_of_a_deployment_is_there(company):
    """The monitoring knows each build by its release, since when and until when it was seen."""
    world = company()
    done = sentry(world, "releases", "info", release(world))
    assert done.returncode == 0
    assert release(world) in done.stdout
    assert "Last event" in done.stdout
    assert asked(world) == [("GET", f"{ORGANIZATION}/releases/{release(world)}/", 200, False)]


def test_unknown_release_is_no_release(company):
    """Status 404 is an exit code without a word."""
    world = company()
    assert (sentry(world, "releases", "info", "nosuch").returncode, asked(world)[0][2]) == (1, 404)
    done = sentry(world, "deploys", "new", "--release", "nosuch", "-e", "production")
    assert done.returncode == 1
    assert "Release not found" in done.stderr


def test_deploy_that_is_marked_is_listed(company):
    """What a pipeline does after a deployment, and what stands there afterwards."""
    world = company()
    named = ("--release", release(world))
    assert "No deploys found" in sentry(world, "deploys", "list", *named).stdout
    made = sentry(world, "deploys", "new", *named, "-e", "production", "-n", "rollback")
    assert made.stdout.strip() == "Created new deploy rollback for 'production'"
    listed = sentry(world, "deploys", "list", *named).stdout
    assert [cell.strip() for cell in listed.splitlines()[3].split("|")][1:3] == ["production", "rollback"]
    path = f"{ORGANIZATION}/releases/{release(world)}/deploys/"
    assert asked(world)[1] == ("POST", path, 201, True)


def test_release_that_is_made_is_there(company):
    """Named by whoever makes it, in the project's organization."""
    world = company()
    assert sentry(world, "releases", "new", "web@rollback").stdout.strip() == "Created release web@rollback"
    assert "web@rollback" in sentry(world, "releases", "info", "web@rollback").stdout
    assert asked(world)[0] == ("POST", f"{ORGANIZATION}/releases/", 201, True)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("429", "unknown error (http status: 429)"),  # its body is not declared as JSON, as the real one's
        ("500", "Internal Error (http status: 500)"),
        ("reset_before", "Recv failure: Connection reset by peer"),
    ],
)
def test_outage_is_told_as_such(company, kind, words):
    """And is not tried again."""
    world = company(faults=(Fault(service="sentry", path="*/releases/*", kind=kind),))
    done = sentry(world, "releases", "info", release(world))
    assert done.returncode == 1
    assert words in done.stderr
    assert len(asked(world)) == 1
