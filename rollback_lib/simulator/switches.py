"""How the Sentry and the Slack of one world behave where the real ones leave it open.

- The defaults are the unkind reading: what a careless client gets wrong, it gets wrong here too.
- No switch sets a rate, a count or an answer; those follow from what happened in the world.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rollback_lib.yamlfile import Frozen

__all__ = ["SentrySpec", "SlackSpec"]


class SentrySpec(Frozen):
    """Manners of the monitoring."""

    empty_window: Literal["zeros", "nulls", "no_rows"] = "zeros"  # what a window without traffic answers
    failure_rate_fails: bool = False  # failure_rate() answers 500, as some self-hosted versions do
    sample_rate: float = Field(default=1.0, gt=0, le=1)  # of the spans kept; counts are extrapolated
    data_scanned: Literal["full", "partial"] = (
        "full"  # partial: a table says that it did not look at all of it
    )
    taken_until_s: float | None = None  # after the world began the quota is used up; None: it lasts
    detail: Literal["text", "object"] = "text"  # shape of `detail` in an error
    project_slugs: bool = True  # False: an older server, which takes numeric project ids only
    limit_per_s: int = Field(default=50, ge=1)  # requests per second, caller and endpoint


class SlackSpec(Frozen):
    """Manners of the chat."""

    page_cap: int = Field(default=3, ge=1)  # channels looked at per page, before they are filtered
    reaction_users_shown: int = Field(default=1, ge=0)  # user ids per reaction without `full`
    hidden_channel_error: Literal["channel_not_found", "not_in_channel"] = "channel_not_found"
    bot_not_in: tuple[str, ...] = ()  # channel ids that the bot has been removed from
    archived: tuple[str, ...] = ()  # channel ids that are archived
    edit_window_s: float | None = Field(default=None, ge=0)  # None: messages can be edited without end
    enforce_tiers: bool = False  # answer 429 above the documented calls per minute
    webhook: Literal["works", "action_prohibited", "no_service", "rollup_error"] = "works"
