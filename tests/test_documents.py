"""The documents for people: what they name exists, what exists is named, and every link leads somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from repository import NOTEBOOKS, ROOT, texts
from typer.main import get_command

from rollback_lib.cli import app
from rollback_lib.execute import EXIT_CODES
from rollback_lib.parameters import RunParameters
from rollback_lib.parameters.secrets import SECRET_NAMES
from rollback_lib.procedures import ConvexRollback, VercelRollback

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {name: text for name, text in texts(".md").items() if not name.startswith(("notebooks/",))}
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
TABLE_ROW = re.compile(r"^\| (?P<first>(?:[^|\n]|(?<=\\)\|)*?) ?\|(?P<second>[^|\n]*)\|", re.MULTILINE)
FIRST_SCREEN = 40  # lines


def anchors(text: str) -> set[str]:
    """Give the anchors that a Markdown page offers, one a heading."""
    headings = re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_in(text: str) -> list[str]:
    """Give what a page shows as code, each command on one line; comments are taken off."""
    fenced = "".join(FENCE.findall(text)).replace("\\\n", " ").splitlines()
    inline = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    return [line.partition("  #")[0] for line in (*fenced, *inline)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name):
    """A relative link names a file that is there, and an anchor that it has."""
    broken = []
    for link in LINK.findall(FENCE.sub("", DOCUMENTS[name])):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        missing = not target.exists()
        if missing or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


def test_first_screen_says_what_to_type():
    """A newcomer sees the two commands without scrolling."""
    first = "\n".join(README.splitlines()[:FIRST_SCREEN])
    assert re.search(r"^make drill\b", first, re.MULTILINE)
    assert re.search(r"^make test\b", first, re.MULTILINE)


def test_readme_shows_as_many_drills_as_there_are():
    """Whoever compares their first drill with the README finds the same number of scenarios."""
    told = re.search(r"^Drilling (\d+) scenario", README, re.MULTILINE)
    assert told is not None
    assert int(told[1]) == len(list((ROOT / "parameters" / "scenarios").glob("*.yaml")))


def test_every_make_target_is_in_the_readme():
    """Neither a target without a word in the README, nor a word about one that is not there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):.*  ## ", makefile, re.MULTILINE)) - {"help"}
    named = set(
        re.findall(
            r"\bmake ([a-z]+)\b(?=[`\s])", "\n".join(re.findall(r"`[^`\n]+`|^make.*$", README, re.MULTILINE))
        )
    )
    assert targets
    assert named == targets


def test_every_command_is_in_the_readme():
    """Each `rollback` command and each of its options that the documents name is one that it has."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    rows = {
        row["first"].strip("` ").split()[1]
        for row in TABLE_ROW.finditer(README)
        if row["first"].startswith("`rollback ")
    }
    assert rows == set(commands)
    unknown = [
        (name, command, option)
        for name, text in DOCUMENTS.items()
        for line in commands_in(text)
        for command, rest in re.findall(rf"\brollback ({'|'.join(commands)})\b(.*)", line)
        for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest)
        if option not in {option for parameter in commands[command].params for option in parameter.opts}
    ]
    assert unknown == []


def test_exit_codes_are_told_as_they_are():
    """A pipeline is written from this table."""
    told = {
        int(row["first"]): row["second"].strip("` ")
        for row in TABLE_ROW.finditer(README)
        if row["first"].isdigit()
    }
    assert {code: word for code, word in told.items() if word} == {
        code: outcome.value for outcome, code in EXIT_CODES.items()
    }
    assert set(told) == set(range(7))


def test_every_parameter_is_in_the_readme():
    """What the parameters cell offers is explained, and nothing else."""
    section = README.partition("## Parameters and secrets")[2].partition("| file | holds |")[0]
    told = {name for row in TABLE_ROW.finditer(section) for name in re.findall(r"`(\w+)`", row["first"])}
    procedures = (VercelRollback, ConvexRollback)
    assert told == {name for procedure in procedures for name in procedure.parameters_model.model_fields}
    assert told >= set(RunParameters.model_fields)


def test_secrets_in_the_readme_are_known():
    """A name that is misspelt here would be searched for at night."""
    told = set(re.findall(r"`([A-Z][A-Z_]+(?:TOKEN|SECRET|URL|KEY))`", README))
    assert told
    assert told <= set(SECRET_NAMES)
    assert {*VercelRollback.needs, *ConvexRollback.needs} <= told


def test_files_and_folders_that_documents_name_exist():
    """A path in backticks is there, unless a run makes it."""
    made_by_runs = (
        "incidents",
        "attachments",
        ".secrets",
        ".rollback",
        ".torture",
        ".venv",
        "tests/conformance/node_modules",
    )
    gone = {
        (name, path)
        for name, text in DOCUMENTS.items()
        for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text)
        if not path.startswith(made_by_runs)
        and not any((base / path).exists() for base in (ROOT, ROOT / "rollback_lib", (ROOT / name).parent))
    }
    assert gone == set()


def test_readme_does_not_promise_notebooks_that_are_not_there():
    """What a newcomer opens because the README names it is there."""
    named = set(re.findall(r"\b(\d_[a-z_]+)\b", README))
    assert named
    assert named <= {path.stem for path in NOTEBOOKS}


def test_decisions_are_numbered_without_a_gap():
    """Each decision has a number, a status and the four parts of the template."""
    folder = ROOT / "docs" / "decisions"
    found = sorted(folder.glob("*.md"))
    assert [path.name[:4] for path in found] == [f"{number:04}" for number in range(len(found))]
    for path in found[1:]:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]}: ")
        assert re.search(r"^Status: (proposed|accepted|superseded by \d{4})\.$", text, re.MULTILINE)
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
            "Context",
            "Options",
            "Decision",
            "Consequences",
        ]


def test_layers_are_drawn_as_they_are_enforced():
    """The picture of the layers is the contract's."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    enforced = [name for layer in linter["contracts"][0]["layers"] for name in re.split(r"\s*\|\s*", layer)]
    section = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## The layers")[2]
    lines = re.findall(r"```\n(.*?)```", section, re.DOTALL)[0].splitlines()
    drawn = [
        name
        for line in lines
        if not line.startswith(" ")
        for name in re.split(r"\s*[|,]\s*", re.split(r"\s{3,}", line)[0])
    ]
    assert drawn == enforced


def test_changelog_begins_with_what_is_not_released():
    """The next release's notes are written with the change, not at the release."""
    changelog = Path(ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", changelog, re.MULTILINE)[0] == "Unreleased"
    kinds = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
