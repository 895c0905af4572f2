#!/bin/sh
# The whole chain in a few minutes: drawn images, random weights, small network input. No network needed.
#   sh examples/demo.sh [DIRECTORY]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=${1:-demo}
export PNEUMOCLI_RUNS="$directory/runs" PNEUMOCLI_CACHE="$directory/cache"

echo "== cross-validate, 3 folds"
# Random weights learn slowly: more and smaller steps than with pretrained ones.
pneumocli cv --folds 3 --recipe original --data synthetic --weights none --image-size 96 --batch-size 16 \
    --head-epochs 60 --head-learning-rate 0.0003 --head-patience 20 --tune-epochs 2
echo "== the folds as one model file, beside its members"
pneumocli ensemble
echo "== the best single model beside the ensemble, on the test images"
pneumocli evaluate --ensemble "$PNEUMOCLI_RUNS"
echo "== answers for image files"
python "$here/draw_chest.py" "$directory/chests"
pneumocli predict "$directory"/chests/*.png
echo "== one page that says all of it"
pneumocli report
echo "== what is left in $PNEUMOCLI_RUNS"
ls "$PNEUMOCLI_RUNS"/*
