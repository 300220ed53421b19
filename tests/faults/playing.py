"""One scene, played and judged in a process of its own, so that another library can stand in for this one.

`python playing.py SCENE` prints what came of it as JSON: the outcome, the broken invariants, the verdict in words.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # as pytest has it


def main(scene: str) -> None:
    """Play a scene and say what came of it."""
    import stamina
    from scenes import play

    import rollback_lib
    from rollback_lib.drills.oracle import judge

    stamina.set_active(False)
    with tempfile.TemporaryDirectory(prefix="scene-") as scratch:
        case = play(scene, Path(scratch))
        assert case.folder is not None
        record = case.folder / "record.json"
        told = json.loads(record.read_bytes())["outcome"]["outcome"] if record.exists() else None
        verdict = judge(case)
    found = {"outcome": told, "broken": verdict.broken, "verdict": str(verdict)}
    sys.stdout.write(json.dumps(found | {"library": rollback_lib.__file__}))


if __name__ == "__main__":
    main(sys.argv[1])
