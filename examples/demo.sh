#!/bin/sh
# The whole chain in a few minutes: drawn images, random weights, small network input. No network needed.
#   sh examples/demo.sh [DIRECTORY]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=${1:-demo}
export PNEUMOCLI_RUNS="$directory/runs" PNEUMOCLI_CACHE="$directory/cache"

echo "== cross-validate, 3 folds"
pneumocli cv --folds 3 --data synthetic --weights none --image-size 64 \
    --head-learning-rate 0.001 --tune-learning-rate 0.0001
echo "== the folds as one model file, beside its members"
pneumocli ensemble
echo "== the best single model beside the ensemble, on the test images"
pneumocli evaluate --ensemble "$PNEUMOCLI_RUNS"
echo "== answers for image files"
python "$here/draw_chest.py" "$directory/chests"
pneumocli predict "$directory"/chests/*.png
echo "== what is left in $PNEUMOCLI_RUNS"
ls "$PNEUMOCLI_RUNS"/*
