"""Waits for runs in processes of their own: production moves and is observed as always, only sooner than in a drill."""

from __future__ import annotations

from typing import Any

__all__ = ["INGEST_LAG_S", "SHORT_WAITS"]

INGEST_LAG_S = 0.1  # of the world whose telemetry is waited for
SHORT_WAITS: dict[str, Any] = {  # a part of the policy
    "telemetry_lag_s": 0.3,
    "error_window_s": 1,
    "min_requests": 10,
    "verify_poll_s": 0.2,
    "observe_s": 1.0,
    "verify_deadline_s": 8,  # what stays red is looked at no longer
}
