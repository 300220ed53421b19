"""The simulated company's app: one history for one moment, and documents that hold together."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from rollback_lib.simulator.convex_app import (
    CANARY,
    RETIRED,
    REVISIONS,
    Documents,
    build_repository,
    seed_documents,
    variables,
)
from rollback_lib.simulator.convex_app.pushes import cli_version
from rollback_lib.simulator.convex_app.repository import LIVE_BEFORE_S
from rollback_lib.simulator.convex_app.revisions import files
from rollback_lib.simulator.convex_app.seeding import FEWEST

BEGAN_MS = 1_795_730_000_000
LIVE_MS = BEGAN_MS - 1000 * LIVE_BEFORE_S
ROLES = [revision.role for revision in REVISIONS]
DAY_MS = 86_400_000


def git(folder: Path, *arguments: str) -> str:
    """Ask git, as a user would."""
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


class Tables:
    """Keeps documents by table, and gives ids as a deployment does."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, dict[str, Any]]] = {}
        self._numbers = itertools.count()

    def insert(self, table: str, documents: Iterable[dict[str, Any]]) -> list[str]:
        """Take a table's documents."""
        kept = {f"{table}|{next(self._numbers)}": document for document in documents}
        self.documents.setdefault(table, {}).update(kept)
        return list(kept)


def seeded(count: int = 2000, seed: int = 1, since_bad: int = 0) -> tuple[Tables, Any]:
    """Make documents of the usual moment."""
    tables = Tables()
    return tables, seed_documents(Documents(count, seed, BEGAN_MS, LIVE_MS, since_bad), tables.insert)


# --- the repository ------------------------------------------------------------------------------------------


def test_same_moment_gives_the_same_commits(tmp_path):
    """A run's record may name a sha, and the drill's judge finds it again."""
    first, second = (build_repository(tmp_path / name, BEGAN_MS) for name in ("a", "b"))
    assert [commit.sha for commit in first.commits] == [commit.sha for commit in second.commits]
    assert [commit.role for commit in first.commits] == ROLES
    later = build_repository(tmp_path / "c", BEGAN_MS + 60_000)
    assert {commit.sha for commit in later.commits} & {commit.sha for commit in first.commits} == set()
    assert [commit.tree for commit in later.commits] == [commit.tree for commit in first.commits]


def test_repository_is_whole_and_its_tree_is_that_of_main(tmp_path):
    """It is a repository like any other: whole, clean, two branches beside main, no tag."""
    history = build_repository(tmp_path / "app", BEGAN_MS)
    git(history.folder, "fsck", "--strict")
    assert git(history.folder, "status", "--porcelain", "--branch") == "## main"
    assert git(history.folder, "rev-parse", "HEAD") == history.commit("bad").sha
    assert git(history.folder, "for-each-ref", "--format=%(refname)").split() == [
        "refs/heads/hotfix/membership-tier",
        "refs/heads/main",
        "refs/heads/work/waitlist",
    ]


@pytest.mark.parametrize("role", ROLES)
def test_commit_holds_the_files_of_its_revision(tmp_path, role):
    """What git gives for a commit is what the revision says, with the message and the parents it tells."""
    history = build_repository(tmp_path / "app", BEGAN_MS)
    commit = history.commit(role)
    listed = git(history.folder, "ls-tree", "-r", "--name-only", commit.sha).splitlines()
    assert sorted(listed) == sorted(files(role))
    git(history.folder, "checkout", "--quiet", commit.sha)
    assert {path: (history.folder / path).read_bytes() for path in listed} == files(role)
    told = git(history.folder, "show", "--no-patch", "--format=%T%n%P%n%an%n%ct%n%B", commit.sha)
    expected = (commit.tree, " ".join(commit.parents), commit.author, str(commit.committed_ms // 1000))
    assert told == "\n".join((*expected, commit.message))


def test_each_role_changes_what_it_says(tmp_path):
    """A merge has two parents, the frontend's commit leaves the backend alone, and the hotfix is on a branch."""
    history = build_repository(tmp_path / "app", BEGAN_MS)
    sha = {commit.role: commit.sha for commit in history.commits}
    changed = git(history.folder, "diff", "--name-only", sha["merge"], sha["frontend"]).splitlines()
    assert changed
    assert [path for path in changed if not path.startswith("web/")] == []
    assert history.commit("merge").parents == (sha["upgrade"], sha["waitlist"])
    assert git(history.folder, "diff", "--name-only", sha["frontend"], sha["good"]) == "convex/bookings.ts"
    assert git(history.folder, "rev-list", "main").find(sha["hotfix"]) == -1
    assert "convex/feeds.ts" in files("narrow")
    assert "convex/feeds.ts" not in files("merge")
    assert "convex/feeds.ts" in git(history.folder, "diff", "--name-only", sha["upgrade"], sha["merge"])


def test_commits_are_dated_around_the_moment_the_bad_one_went_live(tmp_path):
    """The good one is hours older, the bad one minutes, and the hotfix came after it and before the world began."""
    live_ms = BEGAN_MS - 600_000
    history = build_repository(tmp_path / "app", BEGAN_MS, live_ms)
    at_ms = {commit.role: commit.committed_ms for commit in history.commits}
    assert live_ms - 6 * 3_600_000 < at_ms["good"] < live_ms - 4 * 3_600_000
    assert live_ms - 300_000 < at_ms["bad"] < live_ms < at_ms["hotfix"] < BEGAN_MS
    for commit in history.commits:
        parents = [one for one in history.commits if one.sha in commit.parents]
        assert [one.role for one in parents if one.committed_ms >= commit.committed_ms] == []
    written, committed = git(history.folder, "log", "-1", "--format=%at %ct", "work/waitlist").split()
    assert int(committed) - int(written) == 4 * 86_400


def test_newest_on_main_is_told_for_any_moment(tmp_path):
    """A build of some moment was made of the newest commit then, never of one on a branch."""
    history = build_repository(tmp_path / "app", BEGAN_MS)
    assert history.on_main_at(0) is None
    assert history.on_main_at(LIVE_MS - 3_600_000) == history.commit("good")
    assert history.on_main_at(history.commit("good").committed_ms) == history.commit("good")
    assert history.on_main_at(BEGAN_MS) == history.commit("bad")


def test_nothing_of_the_user_enters_the_repository(tmp_path, monkeypatch):
    """Signing, hooks, line ends and another repository's variables would change shas, or fail."""
    expected = build_repository(tmp_path / "plain", BEGAN_MS)
    config = tmp_path / "gitconfig"
    config.write_text(
        "[user]\n\tname = Me\n[commit]\n\tgpgsign = true\n[core]\n\tautocrlf = true\n\thooksPath = hooks\n"
        "[init]\n\tdefaultObjectFormat = sha256\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    found = build_repository(tmp_path / "app", BEGAN_MS)
    monkeypatch.delenv("GIT_DIR")
    assert [one.sha for one in found.commits] == [one.sha for one in expected.commits]
    assert (found.folder / "package.json").read_bytes() == files("bad")["package.json"]
    assert not (found.folder / ".git" / "hooks").exists()


def test_folder_with_something_in_it_is_left_alone(tmp_path):
    """A wrong path costs nobody's work."""
    (tmp_path / "mine").write_text("work", encoding="utf-8")
    with pytest.raises(FileExistsError):
        build_repository(tmp_path, BEGAN_MS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("role", ROLES)
def test_lockfile_pins_what_the_package_asks_for(role):
    """Hashes and no address; the older revisions pin an older command line than the newer ones."""
    package, lock = (json.loads(files(role)[name]) for name in ("package.json", "package-lock.json"))
    packages = dict(lock["packages"])
    own = packages.pop("")
    assert (own["dependencies"], own["devDependencies"]) == (
        package["dependencies"],
        package["devDependencies"],
    )
    assert [name for name, one in packages.items() if "resolved" in one or "integrity" not in one] == []
    older = ("first", "memberships", "narrow", "waitlist")
    assert cli_version(files(role)) == package["dependencies"]["convex"]
    assert cli_version(files(role)) == ("1.42.3" if role in older else "1.48.0")
    assert package["scripts"]["vercel-build"].startswith("convex deploy --cmd 'npm run build'")
    assert json.loads(files(role)["vercel.json"])["buildCommand"] == "npm run vercel-build"


def read_variables(role: str) -> set[str]:
    """Name the variables that a revision's code reads."""
    code = b"".join(data for path, data in files(role).items() if path.startswith("convex/"))
    return set(re.findall(r"process\.env\.([A-Z_]+)", code.decode()))


def test_variables_are_those_that_the_good_and_the_bad_code_read():
    """An older revision reads one that is gone, which is told by its name."""
    assert read_variables("good") | read_variables("bad") == set(variables(1))
    assert read_variables("good") != read_variables("bad")
    assert read_variables("narrow") - set(variables(1)) == set(RETIRED)
    assert variables(1) == variables(1) != variables(2)


# --- the documents -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [FEWEST, 2000, 20_011])
def test_there_are_as_many_documents_as_asked_for(count):
    """All tables have some, and their numbers are told."""
    tables, told = seeded(count)
    assert {name: len(rows) for name, rows in tables.documents.items()} == told.counts
    assert sum(told.counts.values()) == count
    assert set(told.counts) == {"users", "memberships", "bookings", "orders", "products"}
    assert min(told.counts.values()) > 0


def test_same_seed_gives_the_same_documents():
    """Another seed gives others."""
    assert seeded(seed=1)[0].documents == seeded(seed=1)[0].documents
    assert seeded(seed=1)[0].documents != seeded(seed=2)[0].documents


@pytest.mark.parametrize("since_bad", [0, 30])
def test_every_reference_leads_to_a_document_of_its_table(since_bad):
    """Users, trainers and products that are named are there, and a trainer is one."""
    tables, told = seeded(since_bad=since_bad)
    documents = tables.documents
    for table, field, target in (
        ("memberships", "userId", "users"),
        ("bookings", "userId", "users"),
        ("bookings", "trainerId", "users"),
        ("orders", "userId", "users"),
    ):
        assert {row[field] for row in documents[table].values()} <= set(documents[target])
    items = [item for order in documents["orders"].values() for item in order["items"]]
    assert {item["productId"] for item in items} <= set(documents["products"])
    trainers = {id_ for id_, user in documents["users"].items() if user["role"] == "trainer"}
    assert trainers == set(told.trainers)
    assert {row["trainerId"] for row in documents["bookings"].values()} <= trainers
    assert set(told.members) == set(documents["users"]) - trainers
    early = [
        row
        for table in ("memberships", "bookings", "orders")
        for row in documents[table].values()
        if row["_creationTime"] < documents["users"][row["userId"]]["_creationTime"]
        and row["userId"] != told.canary
    ]
    assert early == []
    assert max(Counter(row["userId"] for row in documents["memberships"].values()).values()) == 1


def test_orders_add_up():
    """The total is that of the items, at the product's price."""
    documents = seeded()[0].documents
    for order in documents["orders"].values():
        assert order["totalCents"] == sum(one["quantity"] * one["unitPriceCents"] for one in order["items"])
        assert {documents["products"][one["productId"]]["priceCents"] for one in order["items"]} == {
            one["unitPriceCents"] for one in order["items"]
        }


def test_no_document_is_newer_than_the_world():
    """Nor older than the revision that made its table."""
    made = {row["_creationTime"] for rows in seeded()[0].documents.values() for row in rows.values()}
    assert max(made) < BEGAN_MS
    assert min(made) >= LIVE_MS - 62 * DAY_MS


def test_canary_is_one_active_member():
    """The plan's own question has an answer: one user with that clerkId, with a membership that goes on."""
    tables, told = seeded(since_bad=5)
    found = [id_ for id_, user in tables.documents["users"].items() if user["clerkId"] == CANARY]
    assert found == [told.canary]
    (membership,) = (row for row in tables.documents["memberships"].values() if row["userId"] == told.canary)
    assert (membership["status"], membership["plan"]) == ("active", "12-month")
    assert "tier" not in membership
    assert len({user["clerkId"] for user in tables.documents["users"].values()}) == told.counts["users"]


@pytest.mark.parametrize("count", [100, 2000])
def test_members_have_used_what_narrow_does_not_know(count):
    """A waitlist's status is a value, and goals are a field, that the older schema refuses."""
    documents = seeded(count)[0].documents
    merged_ms = LIVE_MS - 18 * DAY_MS
    waiting = [row for row in documents["bookings"].values() if row["status"] == "waitlisted"]
    assert waiting
    assert [row for row in waiting if row["_creationTime"] < merged_ms] == []
    goals = [goal for user in documents["users"].values() for goal in user.get("goals", [])]
    assert goals
    assert min(goal["since"] for goal in goals) >= merged_ms


def test_what_the_bad_code_sold_has_a_tier_and_is_as_new():
    """As many as asked for, none without being asked for."""
    assert [row for row in seeded()[0].documents["memberships"].values() if "tier" in row] == []
    sold = [row for row in seeded(since_bad=7)[0].documents["memberships"].values() if "tier" in row]
    assert len(sold) == 7
    assert min(row["_creationTime"] for row in sold) >= LIVE_MS


def test_reminders_are_of_open_bookings_and_in_order():
    """Pending functions outlive a rollback, so a world begins with some; those since the bad push are its own."""
    tables, told = seeded(20_000)
    assert len(told.reminders) == 200
    assert [one.at_ms for one in told.reminders] == sorted(one.at_ms for one in told.reminders)
    bookings = tables.documents["bookings"]
    for one in told.reminders:
        booking = bookings[one.booking]
        assert booking["status"] == "booked"
        assert one.at_ms == booking["startsAt"] - 2 * 3_600_000 > BEGAN_MS
        by_the_bad = booking["_creationTime"] >= LIVE_MS
        assert one.function == ("reminders:send" if by_the_bad else "bookings:remind")


def test_bookings_since_the_bad_push_wait_for_a_function_that_good_lacks():
    """They are told whatever else is; where the bad code sold nothing, nothing waits for it."""
    tables, told = seeded(since_bad=40)
    since = [row for row in tables.documents["bookings"].values() if row["_creationTime"] >= LIVE_MS]
    assert len(since) >= 10
    assert [one.function for one in told.reminders].count("reminders:send") >= 10
    assert {one.function for one in seeded()[1].reminders} == {"bookings:remind"}


@pytest.mark.parametrize(("count", "since_bad"), [(FEWEST - 1, 0), (100, 20), (100, -1)])
def test_impossible_wish_is_refused(count, since_bad):
    """Before anything is handed over."""
    tables = Tables()
    with pytest.raises(ValueError, match="cannot be made"):
        seed_documents(Documents(count, 1, BEGAN_MS, LIVE_MS, since_bad), tables.insert)
    assert tables.documents == {}
