"""``python -m tests.parity [--json] [FILTER …]``: one line a case with its largest deviation."""

import json
import sys

import torch

from tests.parity.goldens import root
from tests.parity.judges import discover, judge, unjudged


def main(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    words = [a for a in arguments if not a.startswith("-")]
    torch.set_num_threads(1)  # two would wait for each other on a busy machine
    if not root().is_dir():
        print(f"no goldens at {root()} (set RECASTER_GOLDENS)", file=sys.stderr)
        return 3
    rows: list[dict[str, object]] = []
    rows_unjudged: list[dict[str, object]] = []
    failed = 0
    for case in discover():
        if words and not any(word in case.id for word in words):
            continue
        try:
            deviations, error = judge(case), ""
        except Exception as problem:
            deviations, error = [], f"{type(problem).__name__}: {problem}"
        ok = not error and bool(deviations) and all(d.ok for d in deviations)
        failed += not ok
        worst = max(deviations, key=lambda d: d.value / max(d.tolerance, 1e-12), default=None)
        rows.append(
            {
                "case": case.id,
                "ok": ok,
                "error": error,
                "deviations": {d.what: [d.value, d.tolerance] for d in deviations},
                "notes": {d.what: d.note for d in deviations if d.note},
            }
        )
        if not as_json:
            said = f"{worst.what} {worst.value:.2e} of {worst.tolerance:.0e}" if worst else error
            said += f" ({worst.note})" if worst and worst.note else ""
            extra = [d for d in deviations if not d.ok]
            print(f"{'ok  ' if ok else 'FAIL'} {case.id:<48} {said[:240]}", flush=True)
            for d in extra[:12]:
                print(f"       {d.what:<40} {d.value:.3e} > {d.tolerance:.0e}")
    for name, why in unjudged():
        if words and not any(word in name for word in words):
            continue
        # Neither passed nor failed: null.
        rows_unjudged.append({"case": name, "ok": None, "not judged": why})
        if not as_json:
            print(f"--   {name:<48} not judged: {why}")
    if as_json:
        rows += rows_unjudged
        print(json.dumps(rows, indent=1))
    else:
        print(f"{len(rows) - failed} of {len(rows)} cases within tolerance")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
