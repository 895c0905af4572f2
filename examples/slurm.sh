#!/bin/sh
# A cross-validation on a Slurm cluster: a job a fold, of all REPEATS, and a last one that joins them when all
# are done.
#
#   NAME=cv-slurm FOLDS=5 sh examples/slurm.sh --data /shared/xrays --recipe original --deterministic
#
# The options are those of `pneumocli cv`, but for --runs: PNEUMOCLI_RUNS, else ./runs, which all jobs know. That
# and the cache (PNEUMOCLI_CACHE) have to lie on a file system that all nodes share. What Slurm is to be asked for beside that,
# such as --partition or --gpus 1, goes into SBATCH_OPTIONS. A job that failed is sent again by the same
# command: finished folds are not done again.
set -eu

NAME=${NAME:-cv-slurm}
FOLDS=${FOLDS:-3}
REPEATS=${REPEATS:-1}
export NAME FOLDS REPEATS

case "${1:-}" in
fold) # one job of the array
    shift
    exec pneumocli cv --name "$NAME" --folds "$FOLDS" --repeats "$REPEATS" \
        --fold "$SLURM_ARRAY_TASK_ID" --quiet "$@"
    ;;
join) # the last job
    exec pneumocli ensemble "$NAME"
    ;;
esac

# shellcheck disable=SC2086  # several options in one word
array=$(sbatch --parsable --job-name "$NAME" --array "1-$((FOLDS * REPEATS))" ${SBATCH_OPTIONS:-} "$0" fold "$@")
# shellcheck disable=SC2086
sbatch --job-name "$NAME-join" --dependency "afterok:$array" ${SBATCH_OPTIONS:-} "$0" join
