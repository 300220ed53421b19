"""Secrets come from the environment, a private file or a prompt, and are never seen."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest
from parameters_project import VercelParameters, configured, opened, project, snapshot

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import SECRET_NAMES, Secrets, resolve
from rollback_lib.parameters.dotenv import parse
from rollback_lib.parameters.secrets import variable_of

TOKEN = "vcp_0123456789abcdefABCDEF"
OTHER = "vcp_another_value_of_the_file"


@pytest.fixture
def home(tmp_path):
    """A configured project."""
    return configured(tmp_path)


def write(home, text, mode=0o600, name=".secrets/drill.env"):
    """Write a secrets file with a mode."""
    path = home / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def answering(*answers):
    """Stand in for a person at the prompt; the questions are kept."""
    left, asked = list(answers), []

    def ask(question):
        asked.append(question)
        return left.pop(0)

    return ask, asked


@pytest.mark.parametrize(
    ("environment", "variable"),
    [("production", "VERCEL_TOKEN"), ("staging", "VERCEL_TOKEN"), ("drill", "ROLLBACK_DRILL_VERCEL_TOKEN")],
)
def test_the_environment_variable_comes_first(home, environment, variable):
    """A variable wins over the file, and both values are known to the redactor."""
    write(home, f"VERCEL_TOKEN={OTHER}\n", name=f".secrets/{environment}.env")
    secrets = Secrets.open(environment, home, {variable: TOKEN}, None)
    assert secrets.get("VERCEL_TOKEN").get_secret_value() == TOKEN
    assert secrets.source("VERCEL_TOKEN") == f"environment variable {variable}"
    assert secrets.redactor.redact(f"{TOKEN} {OTHER}") == "[redacted] [redacted]"


@pytest.mark.parametrize("written", [True, False], ids=["with a file", "without"])
def test_a_plain_variable_comes_last_in_a_drill(home, written):
    """A real token in the shell does not go before the world's own; whoever brings a world of their own may name it so."""
    if written:
        write(home, f"VERCEL_TOKEN={OTHER}\n")
    secrets = Secrets.open("drill", home, {"VERCEL_TOKEN": TOKEN}, None)
    assert secrets.get("VERCEL_TOKEN").get_secret_value() == (OTHER if written else TOKEN)
    assert secrets.redactor.redact(TOKEN) == "[redacted]"


def test_a_drills_token_in_the_shell_is_never_used_in_production(home):
    """Nor the other way round."""
    secrets = Secrets.open("production", home, {"ROLLBACK_DRILL_VERCEL_TOKEN": TOKEN}, None)
    assert secrets.optional("VERCEL_TOKEN") is None
    assert secrets.redactor.redact(TOKEN) == "[redacted]"


def test_an_empty_variable_leaves_the_file_its_turn(home):
    """An unset or blank variable does not hide the file's value."""
    write(home, f"VERCEL_TOKEN={OTHER}\n")
    secrets = Secrets.open("drill", home, {"ROLLBACK_DRILL_VERCEL_TOKEN": " "}, None)
    assert secrets.get("VERCEL_TOKEN").get_secret_value() == OTHER
    assert secrets.source("VERCEL_TOKEN") == "file .secrets/drill.env"


def test_each_environment_has_its_own_file(home):
    """A drill does not see production's file."""
    write(home, f"VERCEL_TOKEN={TOKEN}\n", name=".secrets/production.env")
    assert Secrets.open("drill", home, {}, None).optional("VERCEL_TOKEN") is None
    assert Secrets.open("production", home, {}, None).optional("VERCEL_TOKEN") is not None


@pytest.mark.parametrize("named", ["keys/mine.env", "absolute"])
def test_a_named_file_is_read_instead(home, tmp_path, named):
    """ROLLBACK_SECRETS_FILE names another file, in a drill another variable does; a relative one is under the project."""
    write(home, f"VERCEL_TOKEN={OTHER}\n")
    path = write(home if named != "absolute" else tmp_path, f"VERCEL_TOKEN={TOKEN}\n", name="keys/mine.env")
    where = str(path) if named == "absolute" else named
    for environment, name in (
        ("production", "ROLLBACK_SECRETS_FILE"),
        ("drill", "ROLLBACK_DRILL_SECRETS_FILE"),
    ):
        secrets = Secrets.open(environment, home, {name: where}, None)
        assert secrets.get("VERCEL_TOKEN").get_secret_value() == TOKEN
        assert secrets.source("VERCEL_TOKEN").endswith("mine.env")
    drill = Secrets.open("drill", home, {"ROLLBACK_SECRETS_FILE": where}, None)
    assert drill.get("VERCEL_TOKEN").get_secret_value() == OTHER


def test_a_named_file_that_is_missing_is_refused(home):
    """A wrong ROLLBACK_SECRETS_FILE is not passed over."""
    with pytest.raises(BadParameters, match=r"gone\.env cannot be read"):
        Secrets.open("production", home, {"ROLLBACK_SECRETS_FILE": "gone.env"}, None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o700, 0o620, 0o606])
def test_a_file_open_to_others_is_refused_with_the_command(home, mode):
    """Anything but 0600 and 0400 stops the run and says how to close the file."""
    path = write(home, f"VERCEL_TOKEN={TOKEN}\n", mode)
    before = snapshot(home)
    with pytest.raises(BadParameters, match=f"mode {mode:04o}") as refused:
        opened(home)
    assert f"chmod 600 {path}" in str(refused.value)
    assert TOKEN not in "".join(traceback.format_exception(refused.value))
    assert snapshot(home) == before


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(home, mode):
    """A file that only its owner can read serves."""
    write(home, f"VERCEL_TOKEN={TOKEN}\n", mode)
    assert opened(home).secrets.get("VERCEL_TOKEN").get_secret_value() == TOKEN


def test_a_file_is_read_as_dotenv():
    """Comments, export, quotes and spaces around the sign are understood."""
    text = "# mine\n\nexport A=one\nB = 'two # 2'\nC=\"thr'ee\" # three\nD=four#4 # four\nE=\nF=a=b\n"
    assert parse(text, "x.env") == {
        "A": "one",
        "B": "two # 2",
        "C": "thr'ee",
        "D": "four#4",
        "E": "",
        "F": "a=b",
    }


@pytest.mark.parametrize("line", [TOKEN, f"VERCEL TOKEN={TOKEN}", f"=  {TOKEN}", f"A=1\nA={TOKEN}"])
def test_a_line_that_is_not_understood_is_refused_unseen(line):
    """The line is named by number, and its text is not repeated."""
    with pytest.raises(BadParameters, match=r"x\.env, line [23]") as refused:
        parse("# first\n" + line, "x.env")
    assert TOKEN not in str(refused.value)


def test_a_missing_secret_is_refused_with_the_three_ways(home):
    """Without anybody to ask, the message names variable, file and prompt."""
    secrets = Secrets.open("production", home, {}, None)
    with pytest.raises(BadParameters) as refused:
        secrets.get("VERCEL_TOKEN")
    for way in ("environment variable VERCEL_TOKEN", ".secrets/production.env", "type it"):
        assert way in refused.value.next_step
    assert secrets.optional("VERCEL_TOKEN") is None
    assert secrets.source("VERCEL_TOKEN") == "not given"


def test_a_person_is_asked_once(home):
    """In interactive mode what is missing is prompted for, remembered and redacted."""
    ask, asked = answering(f" {TOKEN}\n")
    secrets = Secrets.open("staging", home, {}, ask)
    assert secrets.get("VERCEL_TOKEN") == secrets.get("VERCEL_TOKEN")
    assert asked == ["VERCEL_TOKEN for staging: "]
    assert secrets.source("VERCEL_TOKEN") == "typed at the prompt"
    assert secrets.redactor.redact(TOKEN) == "[redacted]"


def test_an_optional_secret_is_never_prompted_for(home):
    """What a run can do without does not hold it up."""
    ask, asked = answering()
    assert Secrets.open("drill", home, {}, ask).optional("SLACK_WEBHOOK_URL") is None
    assert asked == []


def test_a_headless_run_never_prompts(home):
    """A prompt that is at hand is not used headless: nobody would answer."""
    ask, asked = answering(TOKEN)
    with pytest.raises(BadParameters, match="drill needs VERCEL_TOKEN, and it is not given"):
        opened(home, {"mode": "headless"}, ask=ask, needs=("VERCEL_TOKEN",))
    assert asked == []


def test_an_interactive_run_prompts_for_what_it_needs(home):
    """Opening asks for the needed secrets only, before anything is sent."""
    ask, asked = answering(TOKEN)
    resolved = opened(
        home,
        ask=ask,
        needs=("SENTRY_AUTH_TOKEN", "VERCEL_TOKEN"),
        environ={"ROLLBACK_DRILL_SENTRY_AUTH_TOKEN": OTHER},
    )
    assert len(asked) == 1
    assert resolved.secrets.sources() == {
        "VERCEL_TOKEN": "typed at the prompt",
        "SENTRY_AUTH_TOKEN": "environment variable ROLLBACK_DRILL_SENTRY_AUTH_TOKEN",
    }


@pytest.mark.parametrize("failure", [EOFError(), OSError("no terminal"), NotImplementedError("no stdin")])
def test_a_prompt_that_nobody_can_answer_is_a_missing_secret(home, failure):
    """A kernel without standard input leads to the three ways, not to its own error."""

    def ask(_question):
        raise failure

    with pytest.raises(BadParameters, match="VERCEL_TOKEN"):
        opened(home, ask=ask, needs=("VERCEL_TOKEN",))


def test_an_empty_answer_is_a_missing_secret(home):
    """Pressing enter gives no secret."""
    ask, _ = answering("  ")
    with pytest.raises(BadParameters, match="VERCEL_TOKEN"):
        opened(home, ask=ask, needs=("VERCEL_TOKEN",))


def test_production_without_its_secrets_is_refused_naming_all(home):
    """All missing secrets are told at once, and nothing is left behind."""
    before = snapshot(home)
    with pytest.raises(BadParameters, match="production needs VERCEL_TOKEN, SLACK_BOT_TOKEN"):
        opened(
            home,
            {"environment": "production", "operator": "lead", "mode": "headless"},
            needs=("VERCEL_TOKEN", "SENTRY_AUTH_TOKEN", "SLACK_BOT_TOKEN"),
            environ={"SENTRY_AUTH_TOKEN": TOKEN},
        )
    assert snapshot(home) == before


@pytest.mark.parametrize("value", ["vcp_1", f"{TOKEN} x", f"{TOKEN}\nx", f"{TOKEN}\x00", "tökéntokentoken"])
def test_a_value_that_cannot_be_sent_is_refused_when_used(home, value):
    """A cut or mangled token is told apart from a wrong one, without showing it, and only if it is needed."""
    environ = {"ROLLBACK_DRILL_GITHUB_TOKEN": value}
    resolved = opened(home, environ=environ)
    for use in (resolved.secrets.get, resolved.secrets.optional):
        with pytest.raises(BadParameters, match=r"GITHUB_TOKEN \(environment variable") as refused:
            use("GITHUB_TOKEN")
        assert value not in str(refused.value)
    with pytest.raises(BadParameters):
        opened(home, environ=environ, needs=("GITHUB_TOKEN",))


def test_an_unknown_name_is_a_mistake_in_the_code(home):
    """Asking for a secret that does not exist is no operator's error."""
    secrets = Secrets.open("drill", home, {}, None)
    for use in (secrets.get, secrets.optional, secrets.source):
        with pytest.raises(ValueError, match="VERCEL_TOKN"):
            use("VERCEL_TOKN")


def test_a_value_is_in_no_repr_and_no_pickle(home):
    """What is shown or shipped to another process holds no secret."""
    lines = [f"{name}={TOKEN}{at}" for at, name in enumerate(SECRET_NAMES) if name != "SLACK_WEBHOOK_URL"]
    write(home, "\n".join([*lines, f"SLACK_WEBHOOK_URL=http://127.0.0.1:7403/{TOKEN}"]))
    resolved = opened(home)
    for shown in (
        repr(resolved),
        repr(resolved.secrets),
        str(vars(resolved.secrets)),
        str(resolved.public()),
    ):
        assert TOKEN not in shown
    for thing in (resolved.secrets, resolved):
        with pytest.raises(TypeError, match="stay in their process"):
            pickle.dumps(thing)
    with pytest.raises(TypeError, match="stay in their process"):
        copy.deepcopy(resolved.secrets)


@pytest.mark.parametrize(
    "namespace",
    [
        {"reason": f"see {TOKEN}"},
        {"operator": TOKEN},
        {"environment": TOKEN},
        {"mode": TOKEN},
        {"confirm": {"P1.G1": TOKEN}},
        {"confirm": {TOKEN: "x"}},
        {"platform": {"slack": {"incidents_channel": TOKEN}}},
        {"platform": {"app": {"pages": [{"path": f"/{TOKEN}"}]}}},
        {"policy": {"approval_ways": [TOKEN]}},
        {"platform": {"vercel": {"VERCEL_TOKEN": "x"}}},
        {"platform": {"vercel": {"api_token": "unknown to us"}}},
        {"deployment": TOKEN},
        {"dry_run": TOKEN},
    ],
)
def test_a_secret_in_a_parameter_is_refused_unseen(home, namespace):
    """A known value, or a key that speaks of a secret, is refused wherever it stands."""
    before = snapshot(home)
    with pytest.raises(BadParameters, match="written into the notebook's file") as refused:
        opened(home, namespace, environ={"VERCEL_TOKEN": TOKEN})
    assert TOKEN not in "".join(traceback.format_exception(refused.value))
    assert snapshot(home) == before


def test_a_secret_of_the_file_in_a_parameter_is_refused_unseen(home):
    """Values that stand in the secrets file count as known too."""
    write(home, f"SLACK_BOT_TOKEN={TOKEN}\n")
    with pytest.raises(BadParameters, match="A secret was given as a parameter, in impact"):
        opened(home, {"impact": TOKEN})


@pytest.mark.parametrize("name", ["VERCEL_TOKEN", "vercel_token", "slack_secret", "db_password", "apikey"])
def test_a_variable_named_like_a_secret_is_refused_unseen(home, name):
    """A secret assigned in a cell is refused by its name, and its value is not repeated."""
    with pytest.raises(BadParameters, match=f"{name}: a secret is no parameter") as refused:
        resolve({name: TOKEN}, VercelParameters, cells=[f"{name} = '{TOKEN}'"], home=home, environ={})
    assert TOKEN not in str(refused.value)


def test_a_secret_in_a_parameter_file_is_refused_with_its_line(tmp_path):
    """A token that was written into the committed file is found."""
    home = project(tmp_path)
    path = home / "parameters/drill.yaml"
    path.write_text(path.read_text().replace("team_drill", TOKEN))
    with pytest.raises(
        BadParameters, match=r"drill\.yaml, line \d+: platform\.vercel\.team_id holds a secret"
    ) as no:
        opened(home, environ={"VERCEL_TOKEN": TOKEN})
    assert TOKEN not in str(no.value)


@pytest.mark.parametrize(
    ("environment", "webhook", "says"),
    [
        ("drill", "https://hooks.slack.com/services/T0/B0/2718281828", "is not loopback"),
        ("production", "http://hooks.slack.com/services/T0/B0/2718281828", "must be https"),
        ("production", "https://127.0.0.1/services/T0/B0/2718281828", "leads to this machine"),
    ],
)
def test_a_webhook_is_held_to_the_rule_of_all_addresses(tmp_path, environment, webhook, says):
    """A drill's alert cannot reach the real channel, whatever the shell holds; the value is not repeated."""
    tokens = {
        "VERCEL_TOKEN": "vck_0123456789",
        "SENTRY_AUTH_TOKEN": "sntryu_0123456789",
        "SLACK_BOT_TOKEN": "xoxb-2718281828",
    }
    named = {variable_of(environment, name): value for name, value in tokens.items()}
    variable = variable_of(environment, "SLACK_WEBHOOK_URL")
    with pytest.raises(BadParameters, match=says) as caught:
        resolve(
            {"environment": environment, "operator": next(iter(opened_people(tmp_path, environment)))},
            VercelParameters,
            cells=(),
            home=tmp_path / "project",
            environ={**named, variable: webhook},
        )
    assert f"SLACK_WEBHOOK_URL (environment variable {variable})" in caught.value.happened
    assert "2718281828" not in str(caught.value)


def opened_people(folder, environment):
    """Make a configured project, and give the people of one environment by key."""
    from rollback_lib.parameters import load_contacts

    return load_contacts(configured(folder), environment).people
