"""What the tests of conformance rely on: the tools are the pinned ones, and none of them gets out of this machine."""

from __future__ import annotations

import json

import pytest
from tools import HERE, NODE, place, run, tool

WANTED = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
REACH = "fetch('http://192.0.2.1/').catch(() => {})"


@pytest.mark.parametrize(("package", "script"), [("vercel", "dist/vc.js"), ("@sentry/cli", "bin/sentry-cli")])
def test_tool_is_installed_at_the_version_that_is_asked_for(package, script):
    """A missing tool is a failure, never a test left out; so is another version than the contract's."""
    with place() as where:
        done = run([*tool(package, script), "--version"], where)
    assert (done.returncode, done.stdout.split()[-1]) == (0, WANTED[package])


@pytest.mark.parametrize(
    ("code", "host"),
    [
        (REACH, "192.0.2.1"),
        (REACH.replace("192.0.2.1", "example.com"), "example.com"),
        ("require('net').connect(80, '192.0.2.1')", "192.0.2.1"),
        (f"require('child_process').spawnSync(process.execPath, ['-e', {json.dumps(REACH)}])", "192.0.2.1"),
    ],
    ids=["address", "name", "socket", "child"],
)
def test_what_reaches_for_another_machine_fails_the_test(code, host):
    """A process of Node's is stopped before it leaves, and so is its child."""
    with place() as where, pytest.raises(AssertionError, match=host.replace(".", r"\.")):
        run([str(NODE), "-e", code], where)


def test_program_that_is_no_script_is_caught_by_the_proxy():
    """The Sentry tool is one: were it to speak to another server than ours, it would be seen."""
    command = [*tool("@sentry/cli", "bin/sentry-cli"), "--url", "http://192.0.2.1/", "info"]
    with place() as where, pytest.raises(AssertionError, match=r"GET http://192\.0\.2\.1/"):
        run(command, where, SENTRY_AUTH_TOKEN="sntryu_2718281828")
