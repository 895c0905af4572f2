#!/bin/sh
# Every command once on real images, on a subset, with few epochs. Passes over where the files are not there.
#   PNEUMOCLI_DATA, PNEUMOCLI_WEIGHTS and XRAYS (a folder of images) name them;
#   else they are looked for in ../shared/data.
set -eu
shared=${SHARED:-../shared/data}
export PNEUMOCLI_DATA=${PNEUMOCLI_DATA:-$shared/pneumoniamnist.npz}
export PNEUMOCLI_WEIGHTS=${PNEUMOCLI_WEIGHTS:-$shared/resnet50_notop_stages1to4_imagenet.h5}
XRAYS=${XRAYS:-$shared/xrays}
if [ ! -f "$PNEUMOCLI_DATA" ] || [ ! -f "$PNEUMOCLI_WEIGHTS" ]; then
    echo "no real data here: passed over"
    exit 0
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
export PNEUMOCLI_RUNS="$directory/runs" PNEUMOCLI_CACHE="$directory/cache"
small="--image-size 64 --subset 240 --head-epochs 2 --tune-epochs 1"

pneumocli fetch
pneumocli train $small
pneumocli cv --folds 2 $small
pneumocli ensemble --split val
pneumocli evaluate "$PNEUMOCLI_RUNS/train-1"
pneumocli evaluate --ensemble "$PNEUMOCLI_RUNS" --format json >"$directory/figures.json"
python -m json.tool "$directory/figures.json" >/dev/null
if [ -d "$XRAYS" ]; then
    pneumocli predict "$XRAYS"
fi
