"""The platform's control plane, as far as the official command line and a runbook ask it.

- It knows one team with one project and its production deployment; a key of another deployment leads to that one.
- The public part wants an access token, the command line's part takes the deployment's own key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from rollback_lib.simulator.convex.backend import Backend
from rollback_lib.simulator.convex.keys import bearer
from rollback_lib.simulator.refusal import Refusal

if TYPE_CHECKING:
    from rollback_lib.simulator.convex.call import Call

__all__ = ["TABLE"]

TEAM, TEAM_ID, PROJECT, PROJECT_ID = "derrimut", 11, "derrimut-platform", 21


def url_for_key(call: Call) -> Response:
    """POST /api/deployment/url_for_key: a JSON string."""
    name = _deployment_of(call)
    address = call.backend.address if name == call.backend.name else f"https://{name}.convex.cloud"
    return JSONResponse(address)


def team_and_project(call: Call) -> Response:
    """POST /api/deployment/team_and_project_for_key."""
    _deployment_of(call)
    return JSONResponse(
        {
            "team": TEAM,
            "project": PROJECT,
            "teamId": TEAM_ID,
            "projectId": PROJECT_ID,
            "reference": None,
            "isDefault": True,
        }
    )


def _deployment_of(call: Call) -> str:
    """Name the deployment of the key that a request shows; a key that nobody made is refused."""
    shown = bearer(call.request.headers.get("authorization"))
    if not any(key.value == shown for key in call.keys if key.service == "convex"):
        raise Refusal(401, "InvalidDeployKey", "The deploy key is not valid")
    return shown.partition("|")[0].rpartition(":")[2]


def token_details(call: Call) -> Response:
    """GET /v1/token_details."""
    _insist(call)
    return JSONResponse({"type": "teamToken", "id": 1, "teamId": TEAM_ID, "name": "runbook", "createTime": 0})


def deployment(call: Call) -> Response:
    """GET /v1/deployments/{name}."""
    _insist(call)
    if call.request.path_params["name"] != call.backend.name:
        raise Refusal(404, "DeploymentNotFound", "Deployment not found")
    return JSONResponse(_described(call.backend))


def deployments(call: Call) -> Response:
    """GET /v1/projects/{id}/list_deployments."""
    _insist(call)
    return JSONResponse([_described(call.backend)])


def default_deployment(call: Call) -> Response:
    """GET /v1/projects/{id}/deployment."""
    _insist(call)
    return JSONResponse(_described(call.backend))


def _insist(call: Call) -> None:
    shown = bearer(call.request.headers.get("authorization"))
    if not shown or not any(key.value == shown for key in call.keys if key.service == "convex_api"):
        raise Refusal(401, "Unauthenticated", "This request needs a valid access token")


def _described(backend: Backend) -> dict[str, Any]:
    pushed = backend.last_push_ms
    return {
        "kind": "cloud",
        "id": 31,
        "name": backend.name,
        "createTime": round(backend.began_ms) - 90 * 86_400_000,
        "lastDeployTime": None if pushed is None else round(pushed),
        "deploymentType": "prod",
        "projectId": PROJECT_ID,
        "creator": 1,
        "previewIdentifier": None,
        "region": "aws-us-east-1",
        "isDefault": True,
        "reference": "production",
        "deploymentUrl": backend.address,
        "class": "s16",
    }


TABLE: dict[str, dict[str, Any]] = {
    "/api/deployment/url_for_key": {"POST": url_for_key},
    "/api/deployment/team_and_project_for_key": {"POST": team_and_project},
    "/v1/token_details": {"GET": token_details},
    "/v1/deployments/{name}": {"GET": deployment},
    "/v1/projects/{id}/list_deployments": {"GET": deployments},
    "/v1/projects/{id}/deployment": {"GET": default_deployment},
}
