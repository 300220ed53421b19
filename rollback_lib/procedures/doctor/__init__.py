"""Would a rollback work in this environment? Asked on a quiet day, before anybody needs it.

- Reads only, but for one object that is put into the state store and taken away again, which can be left out.
- One file a subject, each check a small function; a finding is ok, a warning, wrong, unknown or not checked.
"""

from __future__ import annotations

from rollback_lib.procedures.doctor.examining import examine
from rollback_lib.procedures.doctor.finding import Examined, Finding, Status, would_work
from rollback_lib.procedures.doctor.readings import Circumstances

__all__ = ["Circumstances", "Examined", "Finding", "Status", "examine", "would_work"]
