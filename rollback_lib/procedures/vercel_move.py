"""Procedure 1: the change itself. What a gate is asked, what is sent, how it is undone, whether it pins.

- A rollback is Vercel's instant rollback, or a promote by parameter; each is one request.
- An undo promotes what was left, which ends the pin. Vercel may refuse to promote what was promoted before: then
  the instant rollback to it moves production all the same, and the pin stays. The gate is about both requests.
- Whether production is pinned follows from the request that left last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from rollback_lib.consent.gates import Ask, Gate, what_moved
from rollback_lib.errors import GateClosed, NotApplied
from rollback_lib.model import DeploymentId, GateId, Pass
from rollback_lib.procedures.effects import Effect
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.vercel_facts import Stable, commit_text, state_of, will_not_undo
from rollback_lib.procedures.vercel_watch import Watch
from rollback_lib.providers.vercel import Deployment, move_path

__all__ = ["Kind", "Move"]

Kind = Literal["rollback", "promote"]
_WORDS: dict[Kind, str] = {"rollback": "instant rollback", "promote": "promote"}
_MAY_BE_PROMOTED_BEFORE = (409, 422)
_IS_SO_ALREADY = "already the current production deployment"


@dataclass
class Move:
    """Points production of one run's project at a deployment."""

    session: Session
    kinds: tuple[Kind, ...]  # in the order in which they are tried
    watch: Watch

    @property
    def pins(self) -> bool:
        """Say whether production is, or will be, pinned by it."""
        sent = self.session.journal.last("effect.sending", "P1.S4")
        return self.kinds[0] == "rollback" if sent is None else "/rollback/" in sent.data["path"]

    def ask(self, stable: Stable) -> Ask:
        """Put before a person what is about to happen, from live reads.

        Raises:
            GateClosed: The platform is no longer as step 3 found it; nothing was sent.
            Unreachable: Vercel gave no usable answer.
        """
        project = self.session.clients.vercel.project()
        target, journal = stable.deployment.id, self.session.journal
        moved = what_moved(stable.state, state_of(project, stable.deployment))
        if moved:
            raise GateClosed(
                f"Gate P1.G1 was not shown: the platform changed since step 3 looked ({'; '.join(moved)}).",
                "This run has sent nothing that changes production.",
                "Somebody else may be acting: ask in the incidents channel. Then begin a new run (new_run = True), which looks again.",
            )
        parameters = self.session.parameters
        effect = {
            "what": "; if Vercel refuses that: ".join(_WORDS[kind] for kind in self.kinds),
            "project": f"{project.name} ({project.id})",
            "from": _named(project.production_id, (stable.suspect.deployment, *stable.undone)),
            "to": f"{target} {commit_text(stable.deployment)}",
            "severity": self.session.severity,
            "why": parameters.reason,
            "impact": parameters.impact,
            "looked at on its own address": stable.looked_at,
            "incident": self.session.incident,
            "run": journal.run,
        }
        if stable.undo_of:
            effect["undoes"] = f"run {stable.undo_of}"
        return Ask(
            gate=GateId("P1.G1"),
            title=self.session.plan.step("P1.S4").title,
            environment=parameters.environment,
            effect=effect,
            state=dict(state_of(project, stable.deployment)),
            will_not_undo=will_not_undo(project, stable.deployment, pins=self.pins),
            typed_wanted=project.name,
            requests=tuple(f"POST {move_path(kind, project.id, target)}" for kind in self.kinds),
        )

    def effect(self, stable: Stable) -> Effect:
        """Name the change, how to make it, how to undo it and how to see whether it happened."""
        target = stable.deployment.id
        back = self.session.undo_command("P1.G1")
        return Effect(
            name=f"{' or '.join(self.kinds)} production to {target}",
            step="P1.S4",
            before={"live": stable.live, **stable.state},
            inverse=f"{back} (promotes {stable.live}; in the Vercel dashboard: Deployments, {stable.live}, Promote)",
            send=partial(self._send, stable),
            observe=partial(self.watch.observe, target),
            look="Look which deployment is live (Vercel dashboard, Deployments)",
        )

    def require_unmoved(self, gate: Gate, stable: Stable) -> None:
        """Refuse if the platform is no longer as the gate was decided on.

        Raises:
            GateClosed: It moved; nothing was sent.
            Unreachable: Vercel gave no usable answer; nothing was sent.
        """
        vercel = self.session.clients.vercel
        project, candidate = vercel.project(), vercel.deployment(stable.deployment.id)
        gate.require_unmoved(state_of(project, candidate))

    def _send(self, stable: Stable, permit: Pass) -> None:
        *others, last = self.kinds
        for kind in others:
            try:
                self._send_one(kind, stable, permit)
            except NotApplied:
                if not self._was_promoted_before():
                    raise
            else:
                return
        self._send_one(last, stable, permit)

    def _send_one(self, kind: Kind, stable: Stable, permit: Pass) -> None:
        vercel, target = self.session.clients.vercel, stable.deployment.id
        if kind == "promote":
            vercel.promote(target, permit)
        else:
            vercel.rollback(target, permit, f"{self.session.incident} {self.session.parameters.reason}")

    def _was_promoted_before(self) -> bool:
        """Say whether a refusal may mean no more than that it was promoted before: Vercel gives no code for that."""
        answered = self.session.journal.last("effect.answered", "P1.S4")
        if answered is None or answered.data["status"] not in _MAY_BE_PROMOTED_BEFORE:
            return False
        return _IS_SO_ALREADY not in answered.data["text"]


def _named(live: DeploymentId | None, known: tuple[Deployment, ...]) -> str:
    """Name what is live by its commit as well, where that is known."""
    found = next((deployment for deployment in known if deployment.id == live), None)
    return str(live) if found is None else f"{live} {commit_text(found)}"
