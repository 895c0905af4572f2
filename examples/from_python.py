"""The core without the command line: cross-validate, then score the ensemble on the test images.

python examples/from_python.py [DIRECTORY] [IMAGE_SIZE]
"""

import sys
from pathlib import Path

from pneumocli.core.backend import load_backend

load_backend()

from pneumocli.core.cache import Cache  # noqa: E402
from pneumocli.core.config import choose_config  # noqa: E402
from pneumocli.core.evaluation import evaluate_run  # noqa: E402
from pneumocli.core.experiments import cross_validate  # noqa: E402
from pneumocli.core.inputs import gather_data, gather_weights  # noqa: E402


def main() -> None:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
    image_size = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    data = gather_data("synthetic", 28)  # or a file's name; None for the official file
    run = cross_validate(
        data,
        gather_weights("none"),  # or "imagenet", or a file's name
        choose_config("original", image_size=image_size, head_epochs=3, tune_epochs=1),
        folds=2,
        runs_dir=directory,
        cache=Cache(directory / "cache"),
    )
    evaluation = evaluate_run(run, data.dataset, "test")
    for name, metrics in evaluation.figures.models.items():
        print(
            f"{name}: AUC {metrics.roc_auc:.3f}, accuracy {metrics.accuracy:.3f} on {metrics.n} drawn images"
        )


if __name__ == "__main__":
    main()
