"""The command line with a small network, to be stopped by Ctrl-C: `python interruptible.py STAGE ARGUMENTS`.

It prints "now" on stdout when a stage whose name holds STAGE has begun, and leaves time to stop it there.
"""

import signal
import sys
import time
from functools import partial
from typing import Any

import conftest

from pneumocli import cli
from pneumocli.core.backend import load_backend
from pneumocli.core.progress import Listener, Progress


def main(stage: str, *arguments: str) -> None:
    # Who runs the tests in the background of a script has Ctrl-C ignored in all they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    load_backend()
    from pneumocli.core import evaluation, experiments

    def watching(listen: Listener) -> Listener:
        steps = 0

        def heard(step: Progress) -> None:
            nonlocal steps
            if stage in step.stage:
                steps += 1
                if steps == 2:
                    print("now", flush=True)
                if steps >= 2:
                    time.sleep(0.1)
            listen(step)

        return heard

    def watched(work: Any) -> Any:
        return lambda *args, listen, **rest: work(*args, listen=watching(listen), **rest)

    for name in ("train_single", "cross_validate"):
        whole = partial(getattr(experiments, name), backbone_builder=conftest.build_tiny_backbone)
        setattr(experiments, name, watched(whole))
    evaluation.evaluate_run = watched(evaluation.evaluate_run)
    sys.argv = ["pneumocli", *arguments]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
