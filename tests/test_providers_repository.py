"""The app's repository: read only, whatever its settings are, and one commit of it in a folder of its own."""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import shutil
import subprocess
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from app_repository import FIRST, AppRepository, lockfile

from rollback_lib.errors import BadParameters, PlanViolation, Unreachable
from rollback_lib.providers.git import Git
from rollback_lib.providers.push_words import push_message
from rollback_lib.providers.repository import Change, Repository

SCHEMA = "convex/schema.ts"


@pytest.fixture
def app(tmp_path: Path) -> AppRepository:
    """A repository of three commits."""
    made = AppRepository.begin(tmp_path / "app")
    made.commit("first\n\nwith a body", {SCHEMA: "a\nb\n", "convex/users.ts": "u\n", "README.md": "r\n"})
    made.commit("second", {SCHEMA: "a\nc\nd\n", "convex/plans.ts": "p\n", "convex/users.ts": None})
    made.commit("third: readme only", {"README.md": "s\n"})
    return made


@pytest.fixture
def shas(app: AppRepository) -> list[str]:
    """Its commits, oldest first."""
    return app.git("rev-list", "--reverse", "main").split()


@pytest.fixture
def repository(app: AppRepository) -> Repository:
    """What reads it."""
    return Repository(app.folder)


def whole(folder: Path) -> dict[str, tuple[float, bytes]]:
    """Take down every file of a folder, to see that nothing was written there."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime, path.read_bytes()) for path in files}


# Finding commits


def test_commits_of_a_branch_come_newest_first(repository, shas):
    """With their times, author, message and parents."""
    found = repository.history("main")
    assert [commit.sha for commit in found] == shas[::-1]
    oldest = found[-1]
    assert (oldest.subject, oldest.message, oldest.author) == ("first", "first\n\nwith a body", "Ana Example")
    assert oldest.authored_at == oldest.committed_at == datetime.fromtimestamp(FIRST, UTC)
    assert (oldest.parents, found[0].parents) == ((), (shas[1],))
    assert [commit.sha for commit in repository.history("main", limit=1)] == [shas[2]]
    assert [commit.sha for commit in repository.history("main", touching="convex/")] == [shas[1], shas[0]]


def test_branch_of_one_line_shows_each_merge_once(app, repository):
    """What was merged is left out of the branch's own line."""
    app.git("switch", "--quiet", "--create", "side")
    side = app.commit("on the side", {"convex/side.ts": "s\n"})
    app.git("switch", "--quiet", "main")
    app.git("merge", "--quiet", "--no-ff", "--message", "merged", "side")
    assert side in [commit.sha for commit in repository.history("main")]
    assert side not in [commit.sha for commit in repository.history("main", first_parent=True)]


def test_branch_is_read_as_it_was_fetched_too(app, tmp_path):
    """Nobody needs to have it checked out; what is newer at the origin and fetched counts."""
    clone = tmp_path / "clone"
    app.git("clone", "--quiet", str(app.folder), str(clone))
    newer = app.commit("fourth", {"convex/new.ts": "n\n"})
    AppRepository(clone).git("fetch", "--quiet")
    assert Repository(clone).history("main")[0].sha == newer


@pytest.mark.parametrize("digits", [7, 12, 40])
def test_commit_is_found_by_any_clear_part_of_its_sha(repository, shas, digits):
    """It is named by all 40 digits from then on."""
    assert repository.commit(shas[0][:digits]).sha == shas[0]


def test_branch_and_tag_name_a_commit(app, repository, shas):
    """Also a branch of the origin alone."""
    app.git("tag", "v1", shas[0])
    app.git("update-ref", "refs/remotes/origin/hotfix", shas[1])
    assert [repository.commit(name).sha for name in ("main", "v1", "hotfix")] == [shas[2], shas[0], shas[1]]


def test_commit_that_is_not_there_is_said_to_be_missing(repository):
    """With the command that gets it."""
    with pytest.raises(BadParameters) as caught:
        repository.commit("0" * 40)
    assert "There is no commit" in caught.value.happened
    assert "as far as it was fetched" in caught.value.happened
    assert f"git -C {repository.folder} fetch --all" in caught.value.next_step


@pytest.mark.parametrize(
    "name", ["--all", "", "main..HEAD", "main~1", "main^{tree}", "a b", "-1", "@{u}", "HEAD:README.md"]
)
def test_what_is_no_name_is_no_commit(repository, name):
    """No option and no expression of git's gets through."""
    with pytest.raises(BadParameters, match="There is no commit"):
        repository.commit(name)


def test_short_sha_of_several_is_refused(app, repository, shas):
    """Two commits that begin alike: it is said how many, and none is taken."""
    prefix = _store_two_that_begin_alike(app, shas[2])
    with pytest.raises(BadParameters, match=f"{prefix} is the beginning of 2 objects") as caught:
        repository.commit(prefix)
    assert "more of its digits" in caught.value.next_step


def _store_two_that_begin_alike(app: AppRepository, like: str) -> str:
    """Store two commits whose sha begins with the same four digits, which no other object has; return those."""
    body, _, _ = app.git("cat-file", "commit", like).partition("\n\n")
    taken = {line[:4] for line in app.git("rev-list", "--all", "--objects").splitlines()}
    seen: dict[str, str] = {}
    for number in itertools.count():
        text = f"{body}\n\n{number}\n"
        prefix = hashlib.sha1(f"commit {len(text)}\0{text}".encode()).hexdigest()[:4]  # noqa: S324 - git's own
        if prefix in seen and prefix not in taken:
            for one in (seen[prefix], text):
                (app.folder / ".git" / "object").write_text(one)
                app.git("hash-object", "-t", "commit", "-w", ".git/object")
            return prefix
        seen[prefix] = text
    raise AssertionError


def test_shallow_clone_says_what_it_lacks(app, shas, tmp_path):
    """The older commit is not there, and why."""
    clone = tmp_path / "shallow"
    app.git("clone", "--quiet", "--depth=1", f"file://{app.folder}", str(clone))
    found = Repository(clone)
    assert found.state().shallow is True
    with pytest.raises(BadParameters) as caught:
        found.commit(shas[0])
    assert "a shallow clone, which lacks older commits" in caught.value.happened
    assert "fetch --unshallow" in caught.value.next_step


def test_message_of_a_push_leads_to_its_commit(repository, shas):
    """By whatever part of the sha it holds; more than one, or none that is known, leads nowhere."""
    assert repository.mentioned(f"Deployed from Vercel • {shas[1][:7]}").sha == shas[1]
    assert repository.mentioned(f"rollback to {shas[0]} ({shas[0][:12]})").sha == shas[0]
    assert repository.mentioned(f"{shas[0]} or {shas[1]}") is None
    for text in ("Deployed from Vercel", "", "defaced feedbeefcafe", shas[0][:6]):
        assert repository.mentioned(text) is None


@pytest.mark.parametrize(
    "told",
    [
        'Revert "second"\n\nThis reverts commit {}.',
        "This reverts commit {}, reversing\nchanges made to {}.",
        "Mend reminders\n\n(cherry picked from commit {})",
        "Reverts commits {} and {}",
        "Merge commit '{:.7}'",
        'Fixes: {:.12} ("second")',
    ],
    ids=["revert", "of a merge", "picked", "two", "merge", "fixes"],
)
def test_message_that_tells_of_another_commit_does_not_name_it(repository, shas, told):
    """What was reverted, picked or merged is not what was pushed; what the text names besides is."""
    text = told.format(shas[1], shas[0])
    assert repository.mentioned(text) is None
    assert repository.mentioned(f"{text}\nDeploys {shas[2][:12]}").sha == shas[2]


def test_text_that_is_one_commits_leads_to_it(app, repository):
    """Its subject or its whole message, whitespace at the ends apart; a part of either leads nowhere."""
    whole = "Mend the [list]: 50% faster\n\nBecause it was slow.\n\nFixes: abcdef0"
    sha = app.commit(whole, {SCHEMA: "mended\n"})
    app.git("checkout", "--quiet", "-b", "side", "HEAD^")
    beside = app.commit("on a side branch", {SCHEMA: "beside\n"})
    app.git("checkout", "--quiet", "main")
    for text in ("Mend the [list]: 50% faster", f" {whole}\n\n", whole):
        assert repository.worded(text).sha == sha
    assert repository.worded("on a side branch").sha == beside
    parts = (
        "",
        "  ",
        "Mend the",
        "mend the [list]: 50% faster",
        "Because it was slow.",
        f"{whole}0",
        "a\0b",
        ".*",
    )
    assert [text for text in parts if repository.worded(text) is not None] == []


def test_text_of_several_commits_or_of_a_revert_leads_nowhere(app, repository):
    """One subject twice tells nothing, though the rest of one of them does; nor does what git says of a revert."""
    app.commit("again", {SCHEMA: "1\n"})
    second = app.commit("again\n\nwith a reason", {SCHEMA: "2\n"})
    assert repository.worded("again") is None
    assert repository.worded("again\n\nwith a reason").sha == second
    app.git("revert", "--no-edit", "HEAD")
    told = app.git("log", "-1", "--format=%B")
    for text in (told, told.partition("\n")[0]):
        assert text.startswith('Revert "again"')
        assert repository.worded(text) is None


def test_message_of_our_own_leads_to_its_commit_whatever_tags_there_are(app, repository, shas):
    """A tag named like the day of the incident or of the run is no commit's sha."""
    app.git("tag", "20261123", shas[1])
    app.git("tag", "--annotate", "--message", "a day", "20261124", shas[2])
    app.git("branch", "deadbeef", shas[2])
    told = push_message(shas[0], "INC-20261123-2158", "P2-20261124-215800-a1b2")
    assert repository.mentioned(told).sha == shas[0]
    assert repository.mentioned(f"{shas[0]} of INC-20261123-2158").sha == shas[0]
    for text in ("release 20261123", "20261124", "deadbeef"):
        assert repository.mentioned(text) is None
    assert repository.mentioned(push_message("0" * 40, "INC-1", f"P2-{shas[1][:8]}")) is None
    assert repository.commit("20261123").sha == shas[1]  # a person may name it so


def test_branch_named_like_a_sha_does_not_hide_the_commit(app, repository, shas):
    """The digits are the commit's, also where a branch of another has them for its name."""
    app.git("branch", shas[0][:8], shas[2])
    assert repository.mentioned(f"Deployed from Vercel • {shas[0][:8]}").sha == shas[0]


# What the clone is like


def test_state_names_what_is_not_committed(app, repository, shas):
    """It may be live and is in no commit: nobody can push it again."""
    clean = repository.state()
    assert (clean.head, clean.branch, clean.shallow, clean.dirty) == (shas[2], "main", False, ())
    app.write({SCHEMA: "z\n", "convex/new name ü.ts": "n\n"})
    app.git("checkout", "--quiet", "--detach")
    found = Repository(app.folder / "convex").state()
    assert (found.folder, found.branch) == (app.folder, "")
    assert found.dirty == ("convex/new name ü.ts", SCHEMA)


@pytest.mark.parametrize("sub", ["", "nowhere"])
def test_folder_without_a_repository_is_refused(tmp_path, sub):
    """Each question says the same."""
    (tmp_path / "plain").mkdir()
    made = Repository(tmp_path / "plain" / sub)
    for ask in (
        made.state,
        lambda: made.commit("main"),
        lambda: made.history("main"),
        lambda: made.text("a", "b"),
    ):
        with pytest.raises(BadParameters, match=r"no git repository|is no folder"):
            ask()


def test_branch_that_is_not_there_is_refused(repository):
    """The parameter is named."""
    with pytest.raises(BadParameters, match="no branch master") as caught:
        repository.history("master")
    assert "convex.branch" in caught.value.next_step


def test_machine_without_git_says_so(app):
    """And how to get it."""
    with pytest.raises(BadParameters, match="is not on this machine") as caught:
        Repository(app.folder, program="git-that-is-not-there").state()
    assert "apt-get install git" in caught.value.next_step


def test_git_that_hangs_is_given_up(tmp_path):
    """It does not hold up a rollback for ever."""
    slow = tmp_path / "slow-git"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    with pytest.raises(Unreachable, match=r"took longer than 0\.2 s"):
        Git(tmp_path, str(slow), timeout_s=0.2).run("status")


def test_repository_is_read_whatever_its_settings_and_ours_are(app, shas, monkeypatch, tmp_path):
    """No variable redirects it, no hook, monitor, pager or foreign diff is run, and nothing in it changes."""
    touched = tmp_path / "touched"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {touched}\n")
    script.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "diff.external", "core.sshCommand"):
        app.git("config", name, str(script))
    app.git("config", "core.hooksPath", str(tmp_path))
    (tmp_path / "post-checkout").symlink_to(script)
    for name, text in {"GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/nowhere", "GIT_TRACE": str(touched)}.items():
        monkeypatch.setenv(name, text)
    before = whole(app.folder)
    repository = Repository(app.folder)
    assert repository.state().head == shas[2]
    assert repository.changes(shas[0], shas[1])
    assert repository.patch(shas[0], shas[1], SCHEMA)
    repository.checkout(shas[0], tmp_path / "out" / "one")
    assert not touched.exists()
    assert whole(app.folder) == before


def test_repository_of_somebody_else_is_read(app, monkeypatch):
    """By default git refuses it as unsafe; the parameters name it."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to test that
    refused = subprocess.run(["git", "status"], cwd=app.folder, capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr
    monkeypatch.setattr("rollback_lib.providers.git._ENVIRONMENT", _as_somebody_else())
    assert Repository(app.folder).state().branch == "main"


def _as_somebody_else() -> dict[str, str]:
    from rollback_lib.providers import git

    return git._ENVIRONMENT | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}


# What commits hold


def test_text_of_a_file_is_that_of_the_commit(app, repository, shas):
    """Not that of the folder; what it does not have is None."""
    app.write({SCHEMA: "changed\n"})
    assert repository.text(shas[0], SCHEMA) == "a\nb\n"
    assert repository.text(shas[0], "convex/plans.ts") is None
    assert repository.text(shas[0], "convex") is None


@pytest.mark.parametrize(
    ("files", "command", "pushes"),
    [
        (
            {"vercel.json": '{"buildCommand": "npx convex deploy --cmd \'npm run build\'"}'},
            "npx convex deploy --cmd 'npm run build'",
            True,
        ),
        ({"package.json": '{"scripts": {"build": "next build"}}'}, "next build", False),
        (
            {
                "package.json": '{"scripts": {"build": "next build", "vercel-build": "convex deploy --cmd \\"next build\\""}}'
            },
            'convex deploy --cmd "next build"',
            True,
        ),
        (
            {
                "vercel.json": '{"buildCommand": "npm run vercel-build"}',
                "package.json": '{"scripts": {"vercel-build": "yarn push && npm run vercel-build", "push": "convex deploy"}}',
            },
            "npm run vercel-build",
            True,
        ),
        (
            {"package.json": '{"scripts": {"build": "next build", "push": "convex deploy"}}'},
            "next build",
            False,
        ),
        ({"vercel.json": "{}", "package.json": '{"scripts": {"build": "b"}}'}, "b", False),
        ({"vercel.json": "no json"}, "", False),
        ({}, "", False),
    ],
)
def test_build_command_is_found_where_vercel_finds_it(app, repository, files, command, pushes):
    """vercel.json before package.json; whether it pushes the backend too is told."""
    sha = app.commit("build", files | {"x": command})
    found = repository.files(sha)
    assert (found.build_command, found.build_pushes) == (command, pushes)


def test_lockfile_names_the_version_of_the_command_line(app, repository):
    """By the lockfile of the commit; without one nothing is named."""
    text = lockfile(convex="1.31.2")
    sha = app.commit("lock", {"package-lock.json": text})
    found = repository.files(sha)
    assert (found.convex_version, found.lockfile_sha256) == (
        "1.31.2",
        hashlib.sha256(text.encode()).hexdigest(),
    )
    none = repository.files(app.commit("no lock", {"package-lock.json": None}))
    assert (none.convex_version, none.lockfile_sha256) == ("", "")


def test_project_below_the_root_is_read_there(app):
    """The functions' folder says where package.json is."""
    sha = app.commit(
        "apps", {"apps/web/package-lock.json": lockfile(convex="1.2.3"), "apps/web/convex/a.ts": "a"}
    )
    found = Repository(app.folder, "apps/web/convex/")
    assert found.project_folder == "apps/web"
    assert found.files(sha).convex_version == "1.2.3"


def test_difference_of_the_functions_folder_is_listed(repository, shas):
    """Files added, removed and changed, with lines, seen in the direction in which one goes."""
    assert repository.changes(shas[0], shas[2]) == (
        Change("convex/plans.ts", "added", 1, 0),
        Change(SCHEMA, "changed", 2, 1),
        Change("convex/users.ts", "removed", 0, 1),
    )
    assert [change.what for change in repository.changes(shas[2], shas[0])] == ["removed", "changed", "added"]
    assert repository.changes(shas[0], shas[2], folder="")[0].path == "README.md"
    assert "-b\n+c\n+d" in repository.patch(shas[0], shas[2], SCHEMA)


def test_variables_that_a_commits_functions_read_are_named(app, repository):
    """Both ways of reading one; what Convex sets itself and what the frontend reads are no business of the backend's."""
    reads = (
        "process.env.MAIL_FROM; process.env['CLERK_KEY'] + process.env.MAIL_FROM; process.env.CONVEX_SITE_URL"
    )
    sha = app.commit("env", {"convex/mail.ts": reads, "web/page.ts": "process.env.NEXT_PUBLIC_X"})
    assert repository.variables(sha) == ("CLERK_KEY", "MAIL_FROM")
    assert repository.variables(app.commit("none", {"convex/mail.ts": "m"})) == ()


def test_functions_that_a_frontend_names_are_found(app, repository):
    """By path or by the generated api, whole names only; the backend's own mentions do not count."""
    page = "useQuery(api.users.list); fetch('plans:current'); api.plans.currentOld; 'orders:listAll'"
    sha = app.commit("page", {"web/page.tsx": page, "convex/users.ts": "internal: 'orders:list'"})
    asked = ("users:list", "plans:current", "plans:currentOl", "orders:list", "deep/er:fn")
    assert repository.named(sha, asked) == ("plans:current", "users:list")
    assert repository.named(sha, ()) == ()
    assert repository.named(app.commit("deep", {"web/b.ts": "api.deep.er.fn"}), asked[-1:]) == ("deep/er:fn",)


def test_order_of_two_commits_is_known(repository, shas):
    """One is part of the other's history, not the other way round."""
    assert repository.is_ancestor(shas[0], shas[2])
    assert not repository.is_ancestor(shas[2], shas[0])


def test_message_that_would_be_obeyed_by_a_terminal_is_made_readable(app, repository):
    """Messages come from outside."""
    sha = app.commit("red \x1b[31malert\x07", {"x": "y"})
    assert repository.commit(sha).subject == "red [31malert"


# A commit in a folder of its own


def test_checkout_is_the_commit_and_the_clone_knows_nothing_of_it(app, repository, shas, tmp_path):
    """No worktree is registered; nothing in the clone changes."""
    before = whole(app.folder)
    made = repository.checkout(shas[0], tmp_path / "out" / "one")
    assert (made.folder / SCHEMA).read_text() == "a\nb\n"
    assert not (made.folder / "convex/plans.ts").exists()
    assert made.changed() == ()
    assert whole(app.folder) == before
    made.remove()
    assert list((tmp_path / "out").iterdir()) == []
    made.remove()


def test_checkout_again_replaces_what_an_earlier_run_left(repository, shas, tmp_path):
    """Whatever was done to it, and whatever half of it a crash left beside it."""
    out = tmp_path / "out" / "one"
    repository.checkout(shas[0], out)
    (out / SCHEMA).write_text("changed\n")
    (tmp_path / "out" / ".making-one-abc").mkdir()
    made = repository.checkout(shas[2], out)
    assert (out / SCHEMA).read_text() == "a\nc\nd\n"
    assert made.changed() == ()
    assert [path.name for path in out.parent.iterdir()] == ["one"]


def test_checkout_that_was_cut_off_leaves_nothing_by_its_name(repository, shas, tmp_path, monkeypatch):
    """A crash between making and naming: the name stays free."""
    monkeypatch.setattr(Path, "rename", _cut_off)
    with pytest.raises(KeyboardInterrupt):
        repository.checkout(shas[0], tmp_path / "out" / "one")
    assert list((tmp_path / "out").iterdir()) == []


def _cut_off(*_: object) -> None:
    raise KeyboardInterrupt


def test_folder_of_somebody_else_is_not_replaced(repository, shas, tmp_path):
    """Only what was made here is removed here."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(BadParameters, match="was not made by these runbooks"):
        repository.checkout(shas[0], tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all of it"


def test_checkout_of_a_shallow_clone_works(app, shas, tmp_path):
    """Older commits are not needed for it."""
    clone = tmp_path / "shallow"
    app.git("clone", "--quiet", "--depth=1", f"file://{app.folder}", str(clone))
    made = Repository(clone).checkout(shas[2], tmp_path / "one")
    assert made.changed() == ()


def test_checkout_that_is_not_the_commit_any_more_is_refused(repository, shas, tmp_path):
    """What is pushed is what was reviewed; packages and generated code do not count."""
    made = repository.checkout(shas[0], tmp_path / "one")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "index.js").write_text("p")
    made.furnish(tmp_path / "packages")
    (made.folder / "convex" / "_generated").mkdir()
    (made.folder / "convex" / "_generated" / "api.js").write_text("g")
    made.require_unchanged()
    (made.folder / "convex" / "sneaked.ts").write_text("s")
    (made.folder / SCHEMA).write_text("z")
    assert made.changed() == (SCHEMA, "convex/sneaked.ts")
    with pytest.raises(PlanViolation, match=SCHEMA):
        made.require_unchanged()
    other = repository.checkout(shas[0], tmp_path / "one")
    Git(other.folder).out("checkout", "--quiet", "--detach", shas[2])
    assert other.changed() == (f"HEAD ({shas[2][:12]})",)


def test_packages_stand_in_the_checkout_itself_and_are_replaced_by_others(repository, shas, tmp_path):
    """No link leads out of it, and nothing is stored twice."""
    made = repository.checkout(shas[0], tmp_path / "one")
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / f"{name}.js").write_text(name)
        made.furnish(tmp_path / name)
        packages = made.folder / "node_modules"
        assert [path.name for path in packages.rglob("*")] == ["sub", f"{name}.js"]
        assert (packages / "sub" / f"{name}.js").samefile(tmp_path / name / "sub" / f"{name}.js")
        assert packages.resolve() == packages
    made.remove()
    assert (tmp_path / "b" / "sub" / "b.js").read_text() == "b"


@pytest.mark.parametrize(
    ("link", "project"),
    [("node_modules", ""), ("site/node_modules", "site"), ("apps", "apps/site"), ("apps/site", "apps/site")],
    ids=str,
)
def test_link_of_the_commit_takes_no_packages_elsewhere(app, repository, tmp_path, link: str, project: str):
    """What would run with the deploy key is not the lockfile's, and what would be removed is not ours: refused."""
    outside = tmp_path / "outside"
    for place in ("convex", "node_modules", "site/node_modules"):
        (outside / place).mkdir(parents=True)
        (outside / place / "mine.js").write_text("mine")
    before = whole(outside)
    (app.folder / link).parent.mkdir(parents=True, exist_ok=True)
    (app.folder / link).symlink_to(outside)
    app.git("add", "--force", link)
    app.git("commit", "--quiet", "--message", "a link")
    (tmp_path / "packages").mkdir()
    made = repository.checkout(app.git("rev-parse", "main").strip(), tmp_path / "one")
    for ask in (made.require_own_place, partial(made.furnish, tmp_path / "packages")):
        with pytest.raises(BadParameters, match=f"has a link at {link}, where its own packages"):
            ask(project)
    assert whole(outside) == before


def test_packages_that_cannot_be_replaced_are_not_left_in_their_place(
    repository, shas, tmp_path, monkeypatch
):
    """Whoever pushes would push with other packages than the lockfile's."""
    made = repository.checkout(shas[0], tmp_path / "one")
    (made.folder / "node_modules").mkdir()
    (tmp_path / "packages").mkdir()

    def full(*_: object, ignore_errors: bool = False, **__: object) -> None:
        if not ignore_errors:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", full)
    with pytest.raises(PermissionError):
        made.furnish(tmp_path / "packages")


def test_values_survive_pickling(repository, shas):
    """Drills run in worker processes."""
    assert pickle.loads(pickle.dumps(repository.commit(shas[0]))).sha == shas[0]  # noqa: S301 - our own
    assert os.fspath(repository.folder) in repr(repository)
