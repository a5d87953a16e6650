"""Record what came of a training run that the manual cites, as a row of docs/runs.jsonl.

    python scripts/record_run.py FOLDER [--commit COMMIT]

`maspo train RECIPE --out FOLDER` makes the folder. The commit is that of its provenance, or is given where an
installed package does not know it. The pages show these rows and nothing else of such runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

RUNS = Path(__file__).resolve().parents[1] / "docs" / "runs.jsonl"


def main() -> None:
    """Append one row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--commit")
    options = parser.parse_args()
    summary = json.loads((options.folder / "summary.json").read_text("utf-8"))
    origin = json.loads((options.folder / "provenance.json").read_text("utf-8"))
    commit = origin["commit"] or options.commit
    if commit is None:
        parser.error("the run does not know its commit: give --commit")
    row = {
        "recipe": summary["recipe"],
        "seed": summary["seed"],
        "date": origin["started"][:10],
        "commit": commit,
        "versions": {"python": origin["versions"]["python"], **origin["versions"]},
        "threads": origin["hardware"]["threads"],
        "problems": summary["after"]["problems"],
        "samples": summary["after"]["samples"],
        **{
            when: {
                "mean_tokens": round(summary[when]["mean_tokens"], 1),
                **{
                    score: [round(value, 6) for value in (summary[when][score], *interval)]
                    for score, interval in summary[when]["intervals"].items()
                },
            }
            for when in ("before", "after")
        },
        "difference": {
            score: [round(value, 6) for value in three]
            for score, three in summary["difference"].items()
        },
        "train_seconds": round(summary["train_seconds"]),
        "total_seconds": round(summary["total_seconds"]),
    }
    with RUNS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
