#!/bin/sh
# Build the wheel, install it in an environment of its own, and run it from an empty directory.
# The libraries are those of the environment that builds.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python -m build --wheel --outdir "$directory/dist" . >/dev/null
libraries=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python -m venv "$directory/venv"
"$directory/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$directory"/dist/*.whl
site=$("$directory/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$libraries" >"$site/libraries.pth"
cd "$directory"
"$directory/venv/bin/python" -c "
import pneumocli
assert pneumocli.__file__.startswith('$directory'), pneumocli.__file__"
"$directory/venv/bin/pneumocli" --version
PNEUMOCLI_CACHE="$directory/cache" PNEUMOCLI_RUNS="$directory/runs" "$directory/venv/bin/pneumocli" train --data synthetic --weights none \
    --image-size 32 --subset 24 --head-epochs 1 --tune-epochs 0 --quiet
"$directory/venv/bin/pneumocli" report --runs "$directory/runs" --quiet
echo "the wheel works"
