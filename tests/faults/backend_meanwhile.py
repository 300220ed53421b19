"""What happens meanwhile on the bad days of procedure 2, and what is looked at besides when they are over."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backend_company import Company

from rollback_lib.consent.gates import LOOK_COUNTS_S
from rollback_lib.journal import Line
from rollback_lib.node import cache_folder
from rollback_lib.providers.checkout import Checkout
from rollback_lib.simulator import Fault
from rollback_lib.simulator.convex.code import Module, PushedApp
from rollback_lib.simulator.convex_app import prepared

__all__ = [
    "clone_is_as_it_was",
    "colleague_pushes",
    "colleague_pushes_during_the_checkout",
    "convex_goes_down_once_it_is_live",
    "gate_has_shown",
    "key",
    "log_loses",
    "only_its_schema_is_bad",
    "shallow_clone",
    "somebody_works_in_the_clone",
    "three_of_four_queries_failed",
    "was_observed_before_anything_else",
]

Lines = tuple[Line, ...]


def colleague_pushes(company: Company) -> None:
    """Somebody else puts a mended version live."""
    company.backend.push_by_colleague("hotfix")


def colleague_pushes_during_the_checkout(company: Company) -> None:
    """Laying the commit out for the push takes its time; that is when somebody puts a mended version live."""
    furnish = Checkout.furnish

    def slowly(checkout: Checkout, packages: Path, project: str = "") -> None:
        furnish(checkout, packages, project)
        colleague_pushes(company)
        time.sleep(LOOK_COUNTS_S + 0.1)

    company.patch.setattr(Checkout, "furnish", slowly)


def only_its_schema_is_bad(company: Company) -> None:
    """What the last push broke is an index that is gone: its functions are the good ones."""
    good = PushedApp.from_request(prepared("good", cache_folder()).request)
    schema = company.backend.evaluated(good).schema
    assert schema is not None
    tree = json.loads(schema.text)
    next(table for table in tree["tables"] if table["indexes"])["indexes"].pop()
    module = Module("schema.js", f"export default {{ export: () => {json.dumps(json.dumps(tree))} }};")
    bad = replace(good, schema=module)
    company.backend.releases["schema"] = bad
    last = company.backend.audit.rows[-1]
    company.backend.install(bad, last.metadata["message"], last.at_ms + 1000)


def convex_goes_down_once_it_is_live(company: Company) -> None:
    """From the moment at which the push is live nothing is answered any more."""
    pushes, faults = company.backend.pushes, company.serving.world.faults
    finish = pushes.finish

    def last_act(tree: Mapping[str, Any], actor: Mapping[str, Any]) -> dict[str, Any]:
        done = finish(tree, actor)
        fault = {"service": "convex", "kind": "503", "nth": {"from": 1}}
        faults.add((Fault.model_validate(fault),))
        return done

    company.patch.setattr(pushes, "finish", last_act)


def log_loses(nth: Any) -> Callable[[Company], None]:
    """From now on some answers of the log of calls are lost: that one of them, or those that it names."""

    def lose(company: Company) -> None:
        fault = {"service": "convex", "kind": "reset_before", "path": "/api/stream_function_logs", "nth": nth}
        company.serving.world.faults.add((Fault.model_validate(fault),))

    return lose


def somebody_works_in_the_clone(company: Company) -> None:
    """There are changes that are in no commit, and a file that git does not know."""
    (company.repository / "convex" / "users.ts").write_text("// half a thought\n")
    (company.repository / "notes.txt").write_text("not for git\n")
    company.seen["clone"] = _state_of(company)


def clone_is_as_it_was(company: Company, _: Lines) -> None:
    """Nothing was checked out, stashed, fetched or removed."""
    assert _state_of(company) == company.seen["clone"]
    assert "users.ts" in company.seen["clone"]


def shallow_clone(company: Company) -> dict[str, Any]:
    """Let the run have a clone with the newest commit alone."""
    place = company.folder / "shallow"
    source = f"file://{company.repository}"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", source, str(place)], check=True)
    return {"platform": {"convex": {"repository": str(place)}}}


def key(value: str) -> Callable[[Company], None]:
    """Give the run another deploy key."""

    def give(company: Company) -> None:
        name = next(one for one in company.serving.variables if one.endswith("CONVEX_DEPLOY_KEY"))
        company.patch.setenv(name, value)

    return give


def was_observed_before_anything_else(_: Company, lines: Lines) -> None:
    """After an answer that says nothing Convex was asked, before anything was sent again or called done."""
    told = [line.event for line in lines if line.event.startswith("effect.")]
    answered = [place for place, line in enumerate(lines) if line.event == "effect.answered"]
    unclear = [place for place in answered if lines[place].data["kind"] == "unclear"]
    assert unclear, told
    for place in unclear:
        following = next(line.event for line in lines[place + 1 :] if line.event.startswith("effect."))
        assert following == "effect.observed", told


def three_of_four_queries_failed(_: Company, lines: Lines) -> None:
    """Each query has its own check, and the one that is well has passed."""
    checks = {line.data["id"]: line.data["status"] for line in lines if line.event == "check"}
    queried = {name: status for name, status in checks.items() if name.startswith(("P2.S7", "P2.C3"))}
    assert queried == {
        "P2.C3": "failed",
        "P2.S7.1": "failed",
        "P2.S7.2": "failed",
        "P2.S7.3": "passed",
    }


def gate_has_shown(words: str) -> Callable[[Company, Lines], None]:
    """The gate had these words, in what it asked about or among what the rollback does not undo."""

    def look(_: Company, lines: Lines) -> None:
        (shown,) = (line for line in lines if line.event == "gate.shown")
        told = (*shown.data["will_not_undo"], *shown.data["effect"].values())
        assert any(words in text for text in told), told

    return look


def frontend_is_still_open(function: str) -> Callable[[Company, Lines], None]:
    """The functions that are there are not blamed, and close and channel say once who calls what is gone."""

    def look(company: Company, lines: Lines) -> None:
        (check,) = (line.data for line in lines if line.event == "check" and line.data["id"] == "P2.C2")
        assert check["status"] == "unknown", check
        assert check["seen"].startswith("0.00 % of "), check
        left = [text for text in lines[-1].data["still_open"] if function in text]
        posted = [one.text for one in company.serving.world.slack.messages("C0INCIDENTS")]
        told = [text for text in posted if "Still open" in text]
        for texts in (left, told):
            (text,) = texts
            assert f"(calls that failed, {check['source'][-21:]}: {function} " in text
            assert "roll the frontend back as well (procedure 1)" in text
            assert text.count("roll the frontend back") == 1

    return look


def _state_of(company: Company) -> str:
    told = [
        subprocess.run(
            ["git", *words], cwd=company.repository, capture_output=True, text=True, check=True
        ).stdout
        for words in (
            ("status", "--porcelain=v1", "--branch"),
            ("rev-parse", "HEAD"),
            ("for-each-ref",),
            ("worktree", "list"),
            ("diff",),
        )
    ]
    return "\n".join(told)
