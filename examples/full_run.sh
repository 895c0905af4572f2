#!/bin/sh
# The run that the README's results come from: all images, three folds, the default recipe.
#   PNEUMOCLI_DATA=pneumoniamnist.npz PNEUMOCLI_WEIGHTS=weights.h5 sh examples/full_run.sh [OPTIONS OF cv]
# Without these variables the official files are fetched. XRAYS may name a folder of images to answer for.
set -eu
pneumocli fetch
pneumocli cv --folds 3 "$@"
pneumocli ensemble
pneumocli evaluate --split val --ensemble "${PNEUMOCLI_RUNS:-runs}"
pneumocli evaluate --ensemble "${PNEUMOCLI_RUNS:-runs}"
if [ -n "${XRAYS:-}" ]; then
    pneumocli predict "$XRAYS"
fi
