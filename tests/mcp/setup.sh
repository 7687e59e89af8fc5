#!/usr/bin/env bash
# setup.sh: makes sure that the official clients and the conformance suite of the Model Context Protocol are at hand, downloading
# what is missing by pip and npm as they are set up on this machine.
#
# All lies in one folder outside the repository, ${QRNG_MCP_CACHE:-~/.cache/qrng-test/mcp}:
#   python/   a virtual environment with the Python SDK
#   npm/      the inspector, the conformance suite, and a Node that is new enough for both
# Prints that folder on standard output. Exit code 1: something cannot be had; the last line says what.
set -euo pipefail

readonly SDK=mcp==2.3.0
readonly NPM=(node@22.23.3 @modelcontextprotocol/inspector@2.12.0 @modelcontextprotocol/conformance@0.1.16)
folder=${QRNG_MCP_CACHE:-$HOME/.cache/qrng-test/mcp}

fail() {
    printf 'mcp clients: %s\n' "$*" >&2
    exit 1
}

mkdir -p "$folder/npm"
# Two runs at once would spoil each other.
exec 9>"$folder/lock"
flock 9
want="$SDK ${NPM[*]}"
if [ "$(cat "$folder/have" 2>/dev/null)" != "$want" ]; then
    rm -f "$folder/have"
    sh "$(dirname "$0")/../../scripts/need.sh" python3 npm >&2 || fail "python3 and npm are needed"
    python3 -m venv --clear "$folder/python" >&2 || fail "no virtual environment: install python3-venv"
    "$folder/python/bin/pip" install --quiet "$SDK" >&2 || fail "pip cannot install $SDK"
    (cd "$folder/npm" && npm install --no-audit --no-fund --silent --prefix . "${NPM[@]}" >&2) || fail "npm cannot install ${NPM[*]}"
    "$folder/npm/node_modules/node/bin/node" --version >/dev/null || fail "the installed Node does not run here"
    printf '%s\n' "$want" >"$folder/have"
fi
printf '%s\n' "$folder"
