#!/usr/bin/env bash
# make bench: builds with optimisation, then measures everything in one run.
# Arguments go to bench.py: --rounds N, --quick, --out FILE, --only PART (see bench.py --help).
set -euo pipefail

cd "$(dirname "$0")/.."
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH" LC_ALL=C.UTF-8

export PYTHONDONTWRITEBYTECODE=1

sh scripts/need.sh wrk nginx
cargo build --release --workspace
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
exec python3 bench/bench.py --programs "$target/release" "$@"
