"""How fast, as ratios taken in one run on one machine, each beside the floor that arithmetic sets.

    python examples/benchmark.py --data pneumoniamnist.npz --weights weights.h5 [ROW ...]

Rows: cv scores again jobs views cache precision ensemble predict memory grow folds, all of them by
default; `scores`, `again` and `jobs` use what `cv` has left. `cv`, `jobs` and `views`
train on all images and take most of the time, `--images N` takes fewer. `cv` is the last line of `grow`.

The floor is the number of floating-point operations that cannot be avoided over the rate that a large
matrix product reaches on the same machine; it counts products only, no reading and no writing.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from command_rows import row_again, row_cache, row_cv, row_folds, row_grow, row_jobs, row_memory, row_views
from measuring import Bench
from model_rows import row_ensemble, row_precision, row_predict, row_scores
from rows import Row

from pneumocli.core.backend import load_backend

ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "cv": row_cv,
    "scores": row_scores,
    "again": row_again,
    "jobs": row_jobs,
    "views": row_views,
    "cache": row_cache,
    "precision": row_precision,
    "ensemble": row_ensemble,
    "predict": row_predict,
    "memory": row_memory,
    "grow": row_grow,
    "folds": row_folds,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=4708, help="training images of the long rows")
    parser.add_argument("--output", type=Path, help="write the rows as JSON lines as well")
    parser.add_argument("--folder", type=Path, help="where runs and caches are left, for rows that need them")
    arguments = parser.parse_args()
    load_backend()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        bench = Bench(arguments.data, arguments.weights, arguments.images, folder)
        print("| what | ours | theirs | ratio | floor |\n|---|---|---|---|---|", flush=True)
        for name in arguments.rows:
            for row in ROWS[name](bench):
                print(
                    f"| {row.name} | {row.ours} | {row.theirs} | {row.ratio:.2f} | {row.floor} |", flush=True
                )
                if arguments.output:
                    with arguments.output.open("a") as lines:
                        lines.write(json.dumps(asdict(row)) + "\n")


if __name__ == "__main__":
    main()
