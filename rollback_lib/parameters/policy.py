"""How long to wait, how often to ask, how much is enough: the numbers that are ours, not the plan's.

- Every value stands in the environment's file; none is supplied silently.
- Spans are seconds unless the name says hours.
- What cannot work together is refused, such as a verification that ends before its window is full.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rollback_lib.yamlfile import Frozen

__all__ = ["Policy"]

Span = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSpan = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # zero would never end, or never begin
Attempts = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class Policy(Frozen):
    """One environment's numbers, all of them given."""

    # what is seen
    telemetry_lag_s: Span  # how late the error rate arrives
    error_window_s: PositiveSpan  # over which the rate after the rollback is read
    baseline_window_s: PositiveSpan  # over which the rate before it is read
    min_requests: Count  # fewer in a window are no data
    onset_lookback_s: PositiveSpan  # how far back the beginning of the issue is looked for
    issues_lookback_h: PositiveSpan  # how far back Sentry's issues are kept as evidence
    suspect_live_long_h: Span  # live for longer before the issue: code is an unlikely cause
    clock_skew_s: Span  # how far the platforms' clocks may be from ours

    # requests
    request_timeout_s: PositiveSpan
    read_attempts: Attempts
    read_deadline_s: PositiveSpan  # all attempts of one read together
    effect_attempts: Attempts  # only where the platform said that nothing happened
    effect_again_within_s: PositiveSpan  # of its first attempt; later an effect is not sent again unasked
    effect_wait_limit_s: Span  # the longest wait that a platform may ask for
    slack_deadline_s: PositiveSpan  # a message never holds up the rollback for longer

    # the platform's job, and what comes after it
    observe_s: Span  # after a request without an answer, before saying that its outcome is unknown
    poll_first_s: PositiveSpan
    poll_max_s: PositiveSpan
    alias_job_deadline_s: PositiveSpan
    push_limit_s: PositiveSpan  # the command line that pushes a backend's code is ended after it
    push_deadline_s: PositiveSpan  # of a backend's code, after the command line has ended or was lost
    verify_deadline_s: PositiveSpan
    verify_poll_s: PositiveSpan

    # people
    approval_ways: Annotated[tuple[Literal["slack", "signature", "spoken"], ...], Field(min_length=1)]
    approval_wait_s: Span  # headless: how long to wait at the gate before ending in refused
    approval_poll_s: PositiveSpan
    approval_ttl_s: PositiveSpan  # an approval older than this no longer counts

    # who acts now
    lease_ttl_s: PositiveSpan  # a run that was not heard of for this long no longer holds the environment
    heartbeat_s: PositiveSpan  # how often the holder is heard of
    lease_expired: Literal[
        "take", "ask"
    ]  # whether an expired lease is taken unasked, or has to be named to be taken

    # the end
    unverified_is_success: bool  # whether plain papermill exits with 0 for completed_unverified

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.poll_first_s > self.poll_max_s:
            raise ValueError("poll_first_s must not be more than poll_max_s")
        if self.request_timeout_s > self.read_deadline_s:
            raise ValueError("request_timeout_s must not be more than read_deadline_s")
        if self.telemetry_lag_s + self.error_window_s > self.verify_deadline_s:
            raise ValueError(
                "verify_deadline_s must leave room for telemetry_lag_s and error_window_s together, "
                "else nothing can ever be verified"
            )
        if 3 * self.heartbeat_s > self.lease_ttl_s:
            raise ValueError(
                "lease_ttl_s must be at least three times heartbeat_s, else a hiccup loses the lease"
            )
        if self.request_timeout_s + 2 >= self.lease_ttl_s:
            raise ValueError(
                "lease_ttl_s must be more than request_timeout_s and 2 s, else no change fits into a lease"
            )
        if self.approval_poll_s > self.approval_wait_s > 0:
            raise ValueError("approval_poll_s must not be more than approval_wait_s")
        return self
