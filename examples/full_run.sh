#!/bin/sh
# The run that the README's results come from: all images, three folds, both phases.
#   PNEUMOCLI_DATA=pneumoniamnist.npz PNEUMOCLI_WEIGHTS=weights.h5 sh examples/full_run.sh [OPTIONS OF cv]
# Without these variables the official files are fetched. XRAYS may name image files to answer for.
set -eu
pneumocli fetch
pneumocli cv --folds 3 --recipe original "$@"
pneumocli ensemble
pneumocli evaluate --split val
pneumocli evaluate
if [ -n "${XRAYS:-}" ]; then
    pneumocli predict $XRAYS
fi
