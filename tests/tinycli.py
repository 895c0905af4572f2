"""The command line with the tests' small network: `python tinycli.py cv --data synthetic ...`."""

import sys
from functools import partial

import conftest

from pneumocli import cli
from pneumocli.core.backend import load_backend


def main() -> None:
    # As the commands themselves load it: by other kernels the last digits are others.
    load_backend(training=sys.argv[1] in {"train", "cv", "ensemble"})
    from pneumocli.core import experiments

    for name in ("train_single", "cross_validate"):
        whole = partial(getattr(experiments, name), backbone_builder=conftest.build_tiny_backbone)
        setattr(experiments, name, whole)
    cli.main()


if __name__ == "__main__":
    main()
