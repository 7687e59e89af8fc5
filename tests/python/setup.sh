#!/usr/bin/env bash
# setup.sh: makes sure that the Python programs which tests run are at hand, installing what is missing: schemathesis, which tries an
# HTTP interface against its description, and quantumrandom, a client of random bytes.
#
# They lie in one folder outside the repository, ${QRNG_PYTHON_CACHE:-~/.cache/qrng-python}. Remove it to have it made anew.
# Prints the folder of the programs on standard output, and what it does on standard error. Exit code 1: something cannot be had.
set -euo pipefail

# Raised whenever the list below changes.
readonly RECIPE=2
readonly WANTED=(schemathesis==4.32.5 quantumrandom==1.9.0 kubernetes-validate==1.37.0)

root=${QRNG_PYTHON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/qrng-python}
place=$root/$RECIPE
if [ ! -e "$place/whole" ]; then
    cd "$(dirname "$0")/../.."
    sh scripts/need.sh python3 >&2
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        sh scripts/need.sh --package python3-venv >&2
    fi
    echo "python programs of the tests: installing ${WANTED[*]}" >&2
    mkdir -p "$root"
    # One at a time; whoever waited finds it done.
    exec 9>"$root/lock"
    flock 9
    if [ ! -e "$place/whole" ]; then
        rm -rf "$place"
        python3 -m venv "$place" >&2
        "$place/bin/pip" --quiet --disable-pip-version-check install "${WANTED[@]}" >&2
        touch "$place/whole"
    fi
fi
echo "$place/bin"
