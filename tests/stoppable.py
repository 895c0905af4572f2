"""A small cross-validation in a process of its own, to be killed: `python stoppable.py RUNS CACHE`.

It prints "ready" when the work begins, a line a step, and "done" with the run's folder at the end.
"""

import sys
from pathlib import Path
from typing import Any

import conftest

from pneumocli.core.backend import load_backend
from pneumocli.core.config import Precision, TrainConfig

CONFIG = TrainConfig(
    image_size=32,
    batch_size=8,
    head_units=32,
    dropout=0.3,
    head_epochs=4,
    head_learning_rate=1e-2,
    head_patience=2,
    tune_layers=7,
    tune_epochs=4,
    tune_learning_rate=1e-3,
    tune_patience=2,
    views=2,
    crop_area=0.6,
    flip=True,
    probe=0.05,
    precision=Precision.FLOAT32,
    deterministic=True,
)


def main(runs_dir: str, cache: str) -> None:
    load_backend(deterministic=True)
    from small import RANDOM_WEIGHTS, describe

    from pneumocli.core.cache import Cache
    from pneumocli.core.experiments import cross_validate
    from pneumocli.core.progress import Progress
    from pneumocli.core.synthetic import draw_dataset

    def tell(step: Progress) -> None:
        print(step.stage, step.done, flush=True)

    options: dict[str, Any] = {"listen": tell, "notify": lambda line: print(f"- {line}", flush=True)}
    print("ready", flush=True)
    run = cross_validate(
        describe(draw_dataset(train=40, val=12, test=3)),
        RANDOM_WEIGHTS,
        CONFIG,
        2,
        runs_dir=Path(runs_dir),
        cache=Cache(Path(cache)),
        backbone_builder=conftest.build_tiny_backbone,
        **options,
    )
    print("done", run.path, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
