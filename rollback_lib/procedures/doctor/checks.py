"""A check: its name, the function that looks, and what to do where a platform refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollback_lib.procedures.doctor.finding import Finding
from rollback_lib.procedures.doctor.readings import Readings

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """One question about one subject; `look` may raise, and what it raises becomes a finding."""

    subject: str
    title: str
    look: Callable[[Readings], Finding]
    if_refused: str = ""
