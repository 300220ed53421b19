"""What `vercel ls` and `vercel env ls` list of the simulated company."""

from __future__ import annotations

import json
import re

from vercel_cli import linked

from rollback_lib.simulator import company as facts

pytest_plugins = ["served"]

PROJECT = f"/v9/projects/{facts.PROJECT_ID}"
READS = ("GET /v2/user 200", f"GET /teams/{facts.TEAM_SLUG} 200")


def test_ls_lists_the_newest_deployments_of_the_project(company, tmp_path):
    """Twenty of them, newest first, with state and environment; the next page begins where this one ends."""
    world = company()
    ran = world.vercel("ls", folder=linked(tmp_path))
    newest = sorted(
        (
            item
            for item in world.serving.world.hosting.deployments.values()
            if item.project_id == facts.PROJECT_ID
        ),
        key=lambda item: -item.created_ms,
    )
    assert ran.code == 0
    assert ran.out.split() == [f"https://{item.url}" for item in newest[:20]]
    assert ran.requests == (
        *READS,
        f"GET {PROJECT} 200",
        f"GET /v6/deployments?limit=20&projectId={facts.PROJECT_ID} 200",
    )
    rows = {line.split("https://")[1].split()[0]: line for line in ran.said if "● " in line}
    assert "● Ready" in rows[world.url("bad")]
    assert "Production" in rows[world.url("bad")]
    assert "● Error" in rows[world.url("error")]
    assert "Preview" in rows[world.url("preview_before")]
    following = re.search(r"--next (\d+)", ran.said[-1])
    assert following is not None
    page = world.vercel("ls", facts.PROJECT_NAME, "--next", following[1])
    assert page.out.split() == [f"https://{item.url}" for item in newest[20:40]]


def test_ls_filters_by_environment_and_state(company):
    """The filters are the platform's, not the command line's."""
    world = company()
    ran = world.vercel("ls", facts.PROJECT_NAME, "--prod", "--status", "ERROR")
    assert ran.out.split() == [f"https://{world.url('error')}"]
    assert (
        ran.requests[-1]
        == f"GET /v6/deployments?limit=20&projectId={facts.PROJECT_ID}&target=production&state=ERROR 200"
    )


def test_ls_of_an_unknown_project_fails(company):
    """Its name is looked up first."""
    ran = company().vercel("ls", "nosuch")
    assert ran.code == 1
    assert ran.said[-1] == 'Error: The provided argument "nosuch" is not a valid project name'


def test_env_ls_shows_the_variables_and_no_secret(company, tmp_path):
    """One row for each of the project's rows; what is sensitive has no value, what is encrypted a cipher."""
    world = company()
    ran = world.vercel("env", "ls", folder=linked(tmp_path))
    assert ran.code == 0
    assert ran.requests == (
        *READS,
        f"GET {PROJECT} 200",
        f"GET /v10/projects/{facts.PROJECT_ID}/env?source=vercel-cli%3Aenv%3Als 200",
        f"GET /projects/{facts.PROJECT_ID}/custom-environments 200",
    )
    rows = [line.split() for line in ran.out.splitlines() if line.strip()][1:]
    kept = world.serving.world.hosting.variables.rows.values()
    assert [row[0] for row in rows] == [item.key for item in kept]
    secret = next(row for row in rows if row[0] == "STRIPE_SECRET_KEY")
    assert secret[1:4] == ["Hidden", "Secret", "Production"]
    assert not any(item.value in ran.out for item in kept if item.type != "plain")


def test_env_ls_as_json_is_what_the_platform_said(company, tmp_path):
    """Filtered by the environment; the sensitive one has no value at all."""
    ran = company().vercel("env", "ls", "production", "--format", "json", folder=linked(tmp_path))
    rows = {row["key"]: row for row in json.loads(ran.out)["envs"]}
    assert set(rows) == {
        "NEXT_PUBLIC_SITE_URL",
        "NEXT_PUBLIC_CONVEX_URL",
        "CLERK_SECRET_KEY",
        "SENTRY_DSN",
        "STRIPE_SECRET_KEY",
    }
    assert "value" not in rows["STRIPE_SECRET_KEY"]
    assert rows["NEXT_PUBLIC_SITE_URL"]["value"] == "https://derrimut247.drill"


def test_env_ls_outside_a_linked_folder_asks_for_the_project(company):
    """No project, no request for its variables."""
    ran = company().vercel("env", "ls")
    assert ran.code == 1
    assert "linked to a project" in ran.said[-1]
    assert ran.requests == READS


def test_refused_token_is_told_as_such(company, tmp_path):
    """The command line knows a wrong token by a mark in the refusal."""
    ran = company().vercel("env", "ls", folder=linked(tmp_path), token="vck2718281828", scope=None)
    assert ran.code == 1
    assert any("token" in line and "not valid" in line for line in ran.said)
    assert set(ran.requests) == {
        "GET /v2/user 403",
        f"GET /teams/{facts.TEAM_ID} 403",
        f"GET {PROJECT} 403",
    }
