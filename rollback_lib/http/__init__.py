"""The door: every request of the project to a platform leaves through here.

- A request has a class by its service's table of (verb, path); what is not listed is an effect.
- `read` sends reads only. `change` sends nothing without a pass that is strong enough, and hands each
  attempt to the pass before it leaves (`admit`) and after it came back (`answered`).
- Only reads are retried, bounded in attempts and in total time; a change is sent once. The exception is a
  429: the platform said that it did nothing, so after the wait it asked for, a newly admitted attempt follows.
- A change whose answer is missing is never guessed: no connection is "not sent", an answer is what its status
  says, all else is `OutcomeUnknown`.
- A request has its answer within its timeout, body included. Not bounded: name resolution, and a server that
  sends the head of its answer byte by byte.
- Redirects are not followed, cookies are not kept, bodies are cut at 20 MB.
- Proxies from the environment (HTTPS_PROXY, NO_PROXY) apply to everything but loopback.
- Known secret values appear in no message, no repr and no journal line; the transport's own log stays quiet.
- One client a process, shared by its threads, never sent to another process.

`service` says what a platform is, `reply` what it said, `wire` carries one request (and alone knows httpx),
`door` decides what may leave and how often.
"""

from __future__ import annotations

from rollback_lib.http.door import Api
from rollback_lib.http.reply import Heard, Reply
from rollback_lib.http.service import Limits, Rule, Service, is_limited, path_part
from rollback_lib.http.wire import Transport

__all__ = ["Api", "Heard", "Limits", "Reply", "Rule", "Service", "Transport", "is_limited", "path_part"]
