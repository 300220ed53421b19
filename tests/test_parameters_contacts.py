"""People are found by key, Slack id and role, and their phones stay out of sight."""

from __future__ import annotations

import json
import traceback

import pytest
import yaml
from parameters_project import configured, edit, line_number, opened, project, snapshot

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import load_contacts


def changed(home, change):
    """Rewrite the drill's people by a function."""
    path = home / "parameters/contacts.yaml"
    tree = yaml.safe_load(path.read_text())
    change(tree["drill"])
    path.write_text(yaml.safe_dump(tree))


def test_the_personas_hold_their_roles(tmp_path):
    """The simulated company has the people that its world answers for."""
    contacts = load_contacts(project(tmp_path), "drill")
    assert [one.slack for one in contacts.holders("engineering_lead")] == ["U0LEE", "U0DEE"]
    assert [one.key for one in contacts.holders("cto")] == ["cat"]
    assert [one.name for one in contacts.holders("on_call_engineer")] == ["Ana Operator"]
    assert contacts.person("sam").slack == "U0SAM"
    assert contacts.by_slack("U0LEE") == contacts.person("lee")


def test_a_stranger_in_slack_is_nobody(tmp_path):
    """A display name or a key is no Slack id."""
    contacts = load_contacts(project(tmp_path), "drill")
    assert [contacts.by_slack(user) for user in ("U0EVE", "lee", "Lee Lead", "")] == [None] * 4


def test_an_unknown_key_is_refused_with_the_known_ones(tmp_path):
    """The message lists whom one can name, and points to the person behind another name."""
    contacts = load_contacts(project(tmp_path), "drill")
    with pytest.raises(BadParameters, match=r"did you mean ana\?\); known: ana, lee, cat, dee, sam"):
        contacts.person("ana.operator")
    with pytest.raises(BadParameters, match=r"did you mean lee\?"):
        contacts.person("leee")
    with pytest.raises(BadParameters, match="known: ana"):
        contacts.person("")


def test_a_role_that_the_plan_does_not_have_is_a_mistake_in_the_code(tmp_path):
    """Asking for an unknown role is no operator's error."""
    with pytest.raises(ValueError, match="no role 'product_lead'"):
        load_contacts(project(tmp_path), "drill").holders("product_lead")


def test_no_phone_or_mail_address_is_shown(tmp_path):
    """Neither a repr nor what goes to the journal holds a phone number or mail address."""
    resolved = opened(project(tmp_path))
    shown = "\n".join(
        [
            repr(resolved.contacts),
            str(resolved.contacts.person("lee")),
            repr(resolved),
            json.dumps(resolved.public()),
        ]
    )
    assert resolved.contacts.person("lee").phone == "+61 000 000 002"
    assert "+61" not in shown
    assert "@" not in shown


def test_a_phone_number_in_a_text_is_redacted(tmp_path):
    """A phone that somebody typed into the reason does not reach the journal."""
    resolved = opened(project(tmp_path), {"reason": "call Lee on +61 000 000 002"})
    assert resolved.public()["reason"] == "call Lee on [redacted]"


def test_another_environments_people_are_not_looked_at(tmp_path):
    """Production's open placeholders do not stop a drill, and a drill's persona is nobody in production."""
    assert opened(project(tmp_path / "a")).operator.key == "ana"
    with pytest.raises(BadParameters, match="'ana' is nobody"):
        opened(configured(tmp_path / "b"), {"environment": "production", "operator": "ana"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda drill: drill["roles"].pop("cto"), "nobody holds the role cto"),
        (lambda drill: drill["roles"]["cto"].update(person="eve"), "names eve, who is not among the people"),
        (lambda drill: drill["roles"]["cto"].update(deputies=["eve"]), "names eve"),
        (lambda drill: drill["roles"]["cto"].update(deputies=["cat"]), "names somebody twice"),
        (lambda drill: drill["roles"].update(boss={"person": "cat"}), "roles.boss"),
        (
            lambda drill: drill["people"]["sam"].update(slack="U0LEE"),
            "lee and sam have the same Slack user id",
        ),
        (lambda drill: drill["people"]["sam"].update(slack="sam"), "must be a Slack user id"),
        (lambda drill: drill["people"]["sam"].update(phone="call him"), "must be a phone number"),
        (lambda drill: drill["people"]["sam"].update(email="sam"), "must be a mail address"),
        (lambda drill: drill["people"]["sam"].pop("name"), "people.sam.name is missing"),
        (
            lambda drill: drill["people"]["sam"].update(operator_names=["ana"]),
            "ana and sam are both called 'ana'",
        ),
        (lambda drill: drill["people"]["sam"].update(age=7), "people.sam.age is not a known name here"),
        (lambda drill: drill.pop("roles"), "drill.roles is missing"),
        (lambda drill: drill["people"].update({"l\u0435e": drill["people"]["sam"]}), "must be plain letters"),
        (lambda drill: drill["people"].update({"*": drill["people"]["sam"]}), "must be plain letters"),
    ],
)
def test_people_that_do_not_hold_together_are_refused(tmp_path, change, said):
    """Every gap and contradiction among people and roles is told before a run, which leaves nothing."""
    home = project(tmp_path)
    changed(home, change)
    before = snapshot(tmp_path)
    with pytest.raises(BadParameters, match=r"contacts\.yaml, line \d+: drill") as refused:
        opened(home)
    assert said in str(refused.value)
    assert snapshot(tmp_path) == before


def test_an_environment_without_people_is_refused(tmp_path):
    """A missing section is named."""
    home = project(tmp_path)
    edit(home, "contacts.yaml", "\ndrill:\n", "\ndril:\n")
    with pytest.raises(BadParameters, match="has no people for drill"):
        opened(home)


def test_a_wrong_phone_number_is_not_repeated(tmp_path):
    """The error names the line; neither it nor its trace holds the number."""
    home = project(tmp_path)
    edit(home, "contacts.yaml", '"+61 000 000 005"', '"0400 123 456 ext 7"')
    line = line_number(home, "contacts.yaml", "ext 7")
    with pytest.raises(BadParameters, match=rf"line {line}: drill\.people\.sam\.phone") as refused:
        opened(home)
    assert "0400" not in "".join(traceback.format_exception(refused.value))
