"""The company's app: what a visitor, a check and a browser get."""

from __future__ import annotations

import pytest
from simulated import Company

from rollback_lib.simulator import Broken, BrokenPage, Fault
from rollback_lib.simulator.company import MEMBER_EMAIL, PAGES

WORKING = Broken(pages=(), health_red=False)


@pytest.fixture
def company():
    """A world whose pages all work."""
    return Company(broken=WORKING)


@pytest.fixture
def broken():
    """A world in which one page fails, one is empty, and health is red."""
    pages = (
        BrokenPage(path="/membership", status=503),
        BrokenPage(path="/trainer-booking", share=0, marker_missing=True),
    )
    return Company(broken=Broken(pages=pages))


def own_address(company, role, path, secret=""):
    """Ask a deployment at its own address."""
    url = company.world.hosting.deployments[company.role(role)].url
    headers = {"x-vercel-protection-bypass": secret} if secret else {}
    return company.app.get(f"/_deployment/{url}{path}", headers=headers)


def test_each_marker_stands_on_its_own_page_alone(company):
    """Finding a page's marker proves that page; no navigation or error page holds one."""
    texts = {page.path: company.app.get(page.path).text for page in PAGES}
    texts["/"] = company.app.get("/").text
    for page in PAGES:
        assert [path for path, text in texts.items() if page.marker in text] == [page.path]


def test_links_of_a_page_lead_somewhere(company):
    """Every link in the navigation is a page that answers."""
    text = company.app.get("/").text
    links = [part.partition('"')[0] for part in text.split('href="')[1:]]
    assert len(links) == 6
    assert {company.app.get(link).status_code for link in links} == {200}


def test_broken_pages_really_break(broken):
    """A failing page is its status, an empty one is 200 without the marker; the others work."""
    failing, empty, well = (
        broken.app.get(path) for path in ("/membership", "/trainer-booking", "/marketplace")
    )
    assert (failing.status_code, "Membership plans" in failing.text) == (503, False)
    assert (empty.status_code, "Book a trainer" in empty.text) == (200, False)
    assert "Marketplace" in well.text
    health = broken.app.get("/api/health")
    assert (health.status_code, health.json()) == (503, {"status": "error"})


def test_share_of_failures_is_a_share(company):
    """A page that fails for some fails for about as many real requests."""
    some = Company(broken=Broken(pages=(BrokenPage(path="/membership", share=0.5),)))
    statuses = [some.app.get("/membership").status_code for _ in range(60)]
    assert 15 < statuses.count(500) < 45
    assert company.app.get("/membership").status_code == 200


def test_rollback_heals_the_pages(broken):
    """After the domains moved, the same requests work."""
    broken.rollback()
    broken.wait(1)
    assert "Membership plans" in broken.app.get("/membership").text
    assert "Book a trainer" in broken.app.get("/trainer-booking").text
    assert broken.app.get("/api/health").json() == {"status": "ok"}


def test_version_names_who_serves(company):
    """Commit and deployment of what is live, before and after; a build by hand has no commit."""
    bad = company.world.hosting.deployments[company.role("bad")]
    assert company.app.get("/api/version").json() == {"sha": bad.sha, "deployment": bad.id}
    company.rollback("second")
    company.wait(1)
    assert company.app.get("/api/version").json() == {"sha": "", "deployment": company.role("second")}


def test_each_domain_serves_its_own_alias():
    """After a partial move the two domains differ; an unknown name means the first."""
    fault = Fault(service="vercel", kind="partial", method="POST", path="*/rollback/*")
    company = Company(broken=WORKING, faults=(fault,))
    company.rollback()
    company.wait(1)

    def served(host):
        return company.name(company.app.get("/api/version", headers={"host": host}).json()["deployment"])

    hosts = ("derrimut247.drill", "www.derrimut247.drill:443", "127.0.0.1:7404")
    assert [served(host) for host in hosts] == ["stable", "bad", "stable"]


def test_own_address_is_protected(company):
    """401 without the secret or with a wrong one; by header or by query it opens."""
    secret = company.world.bypass
    assert own_address(company, "stable", "/api/health").status_code == 401
    assert own_address(company, "stable", "/api/health", "wrong").status_code == 401
    assert own_address(company, "stable", "/api/health", secret).json() == {"status": "ok"}
    query = own_address(company, "stable", f"/api/health?x-vercel-protection-bypass={secret}")
    assert query.status_code == 200
    entries = company.world.ledger.entries()
    assert [entry.caller for entry in entries[-2:]] == ["VERCEL_AUTOMATION_BYPASS_SECRET"] * 2
    assert secret not in str(company.world.ledger.as_json())


def test_own_address_shows_that_deployment(broken):
    """The candidate is well at its own address while production is not, and the culprit is ill at its own."""
    secret = broken.world.bypass
    assert "Membership plans" in own_address(broken, "stable", "/membership", secret).text
    assert own_address(broken, "bad", "/membership", secret).status_code == 503
    version = own_address(broken, "stable", "/api/version", secret).json()
    assert version["deployment"] == broken.role("stable")
    link = own_address(broken, "stable", "/", secret).text
    assert (
        f'href="/_deployment/{broken.world.hosting.deployments[broken.role("stable")].url}/membership"'
        in link
    )


@pytest.mark.parametrize("role", ["error", "deleted", "canceled"])
def test_own_address_of_what_was_never_built_is_not_found(company, role):
    """404 with the platform's own header."""
    reply = own_address(company, role, "/api/health", company.world.bypass)
    assert (reply.status_code, reply.headers["x-vercel-error"]) == (404, "DEPLOYMENT_NOT_FOUND")


def test_unknown_own_address_is_not_found(company):
    """A host that no deployment has, and a domain, are not addresses of one."""
    headers = {"x-vercel-protection-bypass": company.world.bypass}
    for host in ("nobody.vercel.drill", "derrimut247.drill"):
        assert company.app.get(f"/_deployment/{host}/api/health", headers=headers).status_code == 404


def test_member_signs_in_stays_and_signs_out(company):
    """The form's own fields, a redirect with a session, the name on the next page, and out again."""
    assert 'name="password"' in company.app.get("/sign-in").text
    form = {"email": MEMBER_EMAIL, "password": company.world.token("member")}
    reply = company.app.post("/sign-in", data=form)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    session = {"cookie": reply.headers["set-cookie"].partition(";")[0]}
    assert f"Signed in as {MEMBER_EMAIL}" in company.app.get("/membership", headers=session).text
    assert "derrimut_session=" in company.app.post("/sign-out", headers=session).headers["set-cookie"]


def test_wrong_password_is_refused(company):
    """401 with the form again, and no session; the password is in no ledger."""
    form = {"email": MEMBER_EMAIL, "password": "let-me-in-please"}
    reply = company.app.post("/sign-in", data=form)
    assert (reply.status_code, "set-cookie" in reply.headers) == (401, False)
    assert "Wrong email or password." in reply.text
    assert "let-me-in" not in str(company.world.ledger.as_json())


def test_broken_sign_in_signs_nobody_in():
    """Where the page fails, the form's own request fails too."""
    company = Company(broken=Broken(pages=(BrokenPage(path="/sign-in"),)))
    form = {"email": MEMBER_EMAIL, "password": company.world.token("member")}
    assert company.app.post("/sign-in", data=form).status_code == 500


def test_unknown_page_is_not_found(company):
    """404, also for what can only be looked at and is posted to."""
    assert company.app.get("/nothing/here").status_code == 404
    assert company.app.post("/membership").status_code == 405


def test_every_request_becomes_a_span(broken):
    """Status, release, route and environment as the monitoring sees them."""
    broken.app.get("/membership")
    own_address(broken, "preview_before", "/", broken.world.bypass)
    broken.wait(0.001)
    began_ms = broken.world.began_ms
    spans = [span for span in broken.world.spans(began_ms, began_ms + 1) if span.ts_ms == began_ms]
    bad = broken.world.hosting.deployments[broken.role("bad")]
    failed = next(span for span in spans if span.release == bad.release and span.http_status == 503)
    assert (failed.transaction, failed.status, failed.environment) == (
        "GET /membership",
        "unavailable",
        "production",
    )
    assert "preview" in {span.environment for span in spans}


def test_slow_deployment_makes_a_visitor_wait():
    """The wait is real, and gone after the rollback (seen here by the span, not by a clock)."""
    company = Company(broken=Broken(pages=(), slow_factor=3, health_red=False), traffic_rps=0, latency_ms=1)
    company.app.get("/")
    company.rollback()
    company.wait(1)
    company.app.get("/")
    company.wait(1)
    durations = [span.duration_ms for span in company.requests(0, 2)]
    assert durations == [3, 1]
