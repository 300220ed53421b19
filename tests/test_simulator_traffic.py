"""The visitors of a world: what they meet is what error rates are made of."""

from __future__ import annotations

from collections import Counter

import pytest
from simulated import Company

from rollback_lib.simulator import Broken, BrokenPage, Fault, RollingRelease
from rollback_lib.simulator.spans import Span, status_of

HALF_BROKEN = Broken(pages=(BrokenPage(path="/membership", share=0.6),))


@pytest.fixture
def company():
    """A world in which one page fails for some."""
    return Company(broken=HALF_BROKEN)


def test_same_seed_brings_the_same_visitors():
    """Two worlds of one seed show the same spans; another seed shows others."""
    one, two, other = (Company(seed=seed).requests(-60, 0) for seed in (5, 5, 6))
    assert one == two
    assert [span.ts_ms for span in one] != [span.ts_ms for span in other]


def test_asking_often_or_once_shows_the_same(company):
    """What was served does not depend on who looked when."""
    pieces = []
    for _ in range(30):
        company.wait(2)
        now_s = (company.world.now_ms() - company.world.began_ms) / 1000
        pieces += company.requests(now_s - 2, now_s)
    whole = Company(broken=HALF_BROKEN)
    whole.wait(60)
    assert pieces == whole.requests(0, 60)
    assert len(pieces) > 2_000


def test_error_rate_is_what_the_broken_page_makes_it(company):
    """Before the issue the everyday errors; since then the page's share of the visits times its failures."""
    assert company.error_rate(-2400, -1260) == pytest.approx(0.002, abs=0.002)
    assert company.error_rate(-600, 0) == pytest.approx(0.96 * 0.30 * 0.6, abs=0.02)


def test_default_world_is_an_outage():
    """Every page fails; what bots ask for is not found as ever."""
    company = Company()
    assert company.error_rate(-300, 0) == pytest.approx(0.96, abs=0.02)
    statuses = Counter(span.http_status for span in company.requests(-300, 0))
    assert statuses[200] == 0
    assert statuses[404] / sum(statuses.values()) == pytest.approx(0.04, abs=0.01)


def test_rollback_heals_from_the_moment_the_domains_moved(company):
    """The requests before the move fail as before, those after it do not."""
    company.wait(30)
    company.rollback()
    company.wait(60)
    assert company.error_rate(0, 30) > 0.1
    assert company.error_rate(30.4, 90) < 0.01
    releases = {span.release for span in company.requests(31, 90)}
    assert releases == {company.world.hosting.deployments[company.role("stable")].release}


def test_looking_early_does_not_decide_what_comes_later(company):
    """Within one minute: seen as broken, then moved, then seen as well; the rest of the minute was still open."""
    company.wait(10)
    assert company.error_rate(0, 10) > 0.1
    company.rollback()
    company.wait(30)
    assert company.error_rate(10.4, 40) < 0.01


def test_issue_begins_at_its_second():
    """It need not begin on a full minute: the failures do begin then, not earlier and not later."""
    company = Company(broken=Broken(issue_age_s=90))
    assert company.error_rate(-118, -90) < 0.02
    assert company.error_rate(-90, -62) > 0.9


def test_rollback_to_one_that_is_bad_too_heals_nothing():
    """The fault goes with the deployment."""
    company = Company(broken=Broken(pages=HALF_BROKEN.pages, also_broken=1))
    company.rollback("stable")
    company.wait(60)
    assert company.live() == "stable"
    assert company.error_rate(1, 60) > 0.1


def test_cause_outside_the_code_is_not_healed_by_any_rollback():
    """Every deployment fails, before and after the move, on every release."""
    company = Company(broken=Broken(pages=HALF_BROKEN.pages, cause="outside"))
    company.rollback()
    company.wait(60)
    assert company.live() == "stable"
    assert company.error_rate(1, 60) > 0.1


def test_false_alarm_leaves_every_deployment_well():
    """Nothing fails, neither before a move nor after it: only people thought so."""
    company = Company(broken=Broken(pages=HALF_BROKEN.pages, cause="nothing"))
    company.wait(60)
    assert company.live() == "bad"
    assert company.error_rate(1, 60) < 0.01
    company.rollback()
    company.wait(60)
    assert company.error_rate(1, 60) < 0.01
    assert company.world.outcome_view().healthy


def test_partial_move_heals_in_part():
    """The host that stayed behind still serves the bad build to its share of the visitors."""
    fault = Fault(service="vercel", kind="partial", method="POST", path="*/rollback/*")
    company = Company(faults=(fault,))
    company.rollback()
    company.wait(60)
    assert company.error_rate(1, 60) == pytest.approx(0.96 * 0.2, abs=0.03)


def test_rolling_release_shares_the_traffic():
    """The canary takes its part of the visitors, until it is stopped."""
    company = Company(rolling_release=RollingRelease(percentage=25))
    canary = company.world.hosting.deployments[company.role("hotfix")].release
    seen = company.requests(-120, 0)
    assert sum(span.release == canary for span in seen) / len(seen) == pytest.approx(0.25, abs=0.03)
    company.rollback()
    company.wait(60)
    assert not [span for span in company.requests(1, 60) if span.release == canary]


def test_slow_deployment_is_slow_and_its_successor_is_not():
    """Latency is a property of who serves."""
    company = Company(broken=Broken(pages=(), slow_factor=8, health_red=False))
    company.rollback()
    company.wait(30)

    def median(since_s, until_s):
        durations = sorted(span.duration_ms for span in company.requests(since_s, until_s))
        return durations[len(durations) // 2]

    assert median(-60, 0) == pytest.approx(8 * 120, rel=0.1)
    assert median(1, 30) == pytest.approx(120, rel=0.1)


def test_what_is_no_request_of_a_visitor_is_there_too(company):
    """Previews, another project, spans below a request and browsers reach the monitoring as well."""
    began_ms = company.world.began_ms
    spans = company.world.spans(began_ms - 120_000, began_ms)
    assert {span.environment for span in spans} == {"production", "preview"}
    assert {span.project for span in spans} == {"web", "admin"}
    assert {span.op for span in spans} == {"http.server", "db", "pageload"}
    assert {span.is_transaction for span in spans} == {True, False}
    assert None in {span.status for span in spans}
    assert [span.ts_ms for span in spans] == sorted(span.ts_ms for span in spans)


def test_nothing_is_shown_before_it_happened(company):
    """The window ends now, whatever is asked for, and is open at its end."""
    began_ms = company.world.began_ms
    spans = company.world.spans(began_ms - 10_000, began_ms + 600_000)
    assert max(span.ts_ms for span in spans) < began_ms
    assert company.world.spans(began_ms, began_ms + 60_000) == []
    assert company.world.spans(began_ms, began_ms - 60_000) == []


def test_history_has_an_end_and_only_asked_minutes_are_made():
    """At least an hour reaches back; no more than the history is made, and no minute that nobody asked for."""
    company = Company(traffic_rps=4)
    began_ms = company.world.began_ms
    company.world.spans(began_ms - 90_000, began_ms - 30_000)
    assert sorted(company.world._traffic._blocks) == [-2, -1]
    oldest = company.world.spans(0, began_ms)[0]
    assert 3_600_000 < began_ms - oldest.ts_ms <= 5_400_000


def test_forgotten_minute_comes_back_the_same():
    """Long worlds keep no more than their history, and nothing is different when it is asked for again."""
    company = Company(traffic_rps=2, history_s=300)
    first = company.requests(-60, 0)
    company.wait(900)
    company.requests(840, 900)
    assert min(company.world._traffic._blocks) > 5
    assert company.requests(-60, 0) == first


def test_real_request_is_one_more_span(company):
    """What somebody asks the app for stands among the visitors' requests."""
    before = len(company.requests(0, 5))
    company.wait(1)
    company.app.get("/ai-plan", headers={"host": "derrimut247.drill"})
    company.wait(4)
    mine = [
        span
        for span in company.requests(0, 5)
        if span.user is None and span.ts_ms == company.world.began_ms + 1_000
    ]
    assert before == 0
    assert "GET /ai-plan" in {span.transaction for span in mine}


def test_world_without_visitors_has_no_spans():
    """No traffic is no data, not an error rate of zero."""
    company = Company(traffic_rps=0)
    assert company.world.spans(0, company.world.began_ms) == []


@pytest.mark.parametrize(
    ("http_status", "status"),
    [
        (200, "ok"),
        (308, "ok"),
        (400, "invalid_argument"),
        (401, "unauthenticated"),
        (404, "not_found"),
        (429, "resource_exhausted"),
        (500, "internal_error"),
        (501, "unimplemented"),
        (502, "internal_error"),
        (503, "unavailable"),
        (504, "deadline_exceeded"),
    ],
)
def test_span_status_follows_from_the_http_code(http_status, status):
    """The mapping of the monitoring's own client library."""
    assert status_of(http_status) == status


def test_span_cannot_be_edited(company):
    """A span is a fact."""
    span = company.requests(-60, 0)[0]
    assert isinstance(span, Span)
    with pytest.raises(AttributeError):
        span.http_status = 200
