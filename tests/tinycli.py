"""The command line with the tests' small network: `python tinycli.py cv --data synthetic ...`."""

from functools import partial

import conftest

from pneumocli import cli
from pneumocli.core.backend import load_backend


def main() -> None:
    load_backend()
    from pneumocli.core import experiments

    for name in ("train_single", "cross_validate"):
        whole = partial(getattr(experiments, name), backbone_builder=conftest.build_tiny_backbone)
        setattr(experiments, name, whole)
    cli.main()


if __name__ == "__main__":
    main()
