#!/usr/bin/env bash
# Everything a change must pass: format, lints, dependencies, shell files, and every test.
#
# The last line is `N passed, N failed, N skipped`. A check that is not a test of cargo's (format,
# lints, ...) counts only when it fails or is skipped. Exit code 0: nothing failed and tests ran.
#
# A test that cannot run on this machine appends `test name: reason` to the file named by
# QRNG_SKIP_LOG and returns; cargo counts it as passed, so it is subtracted from those.
set -euo pipefail

# A job in the background of a shell without job control ignores SIGINT, and so do all programs that it starts: those
# under test would wait for ever for the interrupt that a test sends them.
if [ "${1-}" != --default-signals ]; then
    exec env --default-signal=INT,QUIT bash "$0" --default-signals
fi

cd "$(dirname "$0")/.."
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export CARGO_TERM_COLOR=never LC_ALL=C.UTF-8
exec </dev/null

work=$(mktemp -d)
fuse_mode=
clean_up() {
    if [ -n "$fuse_mode" ]; then
        chmod "$fuse_mode" /dev/fuse || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

export QRNG_SKIP_LOG="$work/skipped"
: >"$QRNG_SKIP_LOG"
: >"$work/other-skips"
: >"$work/cargo-test"
failed_checks=()

title() { printf '\n== %s\n' "$*"; }

loudly() {
    printf '\n!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!\n'
    printf '!!!! %s\n' "$*"
    printf '!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!\n\n'
}

skip_check() { # NAME REASON
    printf '%s: %s\n' "$1" "$2" >>"$work/other-skips"
    loudly "SKIPPED: $1: $2"
}

check() { # NAME COMMAND...
    local name=$1
    shift
    title "$name"
    if "$@"; then
        return 0
    fi
    failed_checks+=("$name")
    printf 'FAILED: %s\n' "$name"
}

install_needs() {
    local program
    # `cc` cannot be done without; tests that miss another one say so and count as skipped.
    sh scripts/need.sh cc || return 1
    for program in fusermount3 openssl strace python3 ps udevadm unshare ip dd shellcheck rngtest ent dieharder script systemd-nspawn mmdebstrap lintian promtool curl pollinate setpriv perl npm faketime chromium curl-config \
        xxd hexdump busybox gawk ruby php lua5.4 tclsh node sqlite3 socat gpg gpgconf go ekeyd-egd-linux cryptsetup keytool apache2 stunnel nginx haproxy rngd podman crun; do
        sh scripts/need.sh "$program" || true
    done
    # What this cannot get is asked for again by the tests, which then say why they are skipped.
    bash tests/vm/setup.sh full >/dev/null || true
    bash tests/python/setup.sh >/dev/null || true
    bash tests/mcp/setup.sh >/dev/null || true
    if ! cargo deny --version >/dev/null 2>&1; then
        echo "installing cargo-deny, because it is missing (this takes some minutes)"
        cargo install --locked --quiet cargo-deny || true
    fi
    if ! cargo deb --version >/dev/null 2>&1; then
        echo "installing cargo-deb, because it is missing (this takes some minutes)"
        cargo install --locked --quiet cargo-deb || true
    fi
}

# An ordinary user can mount only if the device is open to all, as fuse3's udev rule makes it. Where
# no udev runs (containers) it often is not: opened for the tests, and set back at the end.
open_fuse() {
    if [ "$(id -u)" -eq 0 ] && [ -c /dev/fuse ] && [ "$(stat -c %a /dev/fuse)" != 666 ]; then
        fuse_mode=$(stat -c %a /dev/fuse)
        echo "/dev/fuse has mode $fuse_mode: opened (0666) for the tests of ordinary users, until the end"
        if ! chmod 0666 /dev/fuse; then
            fuse_mode=
        fi
    fi
}

shell_files() {
    local files
    mapfile -t files < <(git ls-files -- '*.sh' .ci/run 2>/dev/null)
    if [ "${#files[@]}" -eq 0 ]; then
        mapfile -t files < <(find . -name target -prune -o -name '*.sh' -print && echo .ci/run)
    fi
    shellcheck "${files[@]}"
}

dependencies() {
    if ! cargo deny --version >/dev/null 2>&1; then
        skip_check "cargo deny" "cargo-deny is missing and could not be installed"
        return 0
    fi
    check "licences, bans and sources of dependencies" cargo deny --workspace check --hide-inclusion-graph licenses bans sources
    title "known vulnerabilities of dependencies"
    # Fetched if possible; an older copy at hand is better than none.
    if timeout 120 cargo deny --workspace fetch db >"$work/fetch" 2>&1; then
        check "advisories" cargo deny --workspace check advisories
    elif cargo deny --offline --workspace check advisories >"$work/advisories" 2>&1; then
        loudly "the advisory database could not be fetched: checked against the older copy at hand"
    elif grep -Eq '^error\[(vulnerability|unmaintained|unsound|notice|yanked|advisory)' "$work/advisories"; then
        cat "$work/advisories"
        failed_checks+=("advisories")
    else
        tail -n 3 "$work/fetch"
        skip_check "advisories" "no advisory database at hand, and none could be fetched: known vulnerabilities were NOT looked for"
    fi
}

run_tests() {
    cargo test --workspace --no-fail-fast 2>&1 | tee "$work/cargo-test"
}

# Sums a word's numbers (`passed`, `failed`, `ignored`) over cargo's result lines.
count() {
    awk -v word="$1" '
        /^test result:/ { for (i = 2; i <= NF; i++) if ($i == word || $i == word ";") sum += $(i - 1) }
        END { print sum + 0 }' "$work/cargo-test"
}

report() {
    local passed failed ignored skipped
    sort -u "$QRNG_SKIP_LOG" -o "$QRNG_SKIP_LOG"
    skipped=$(wc -l <"$QRNG_SKIP_LOG")
    ignored=$(count ignored)
    passed=$(($(count passed) - skipped))
    failed=$(($(count failed) + ${#failed_checks[@]}))
    # A test program that did not compile or was killed leaves no result line.
    if [ "$1" -ne 0 ] && [ "$(count failed)" -eq 0 ]; then
        failed=$((failed + 1))
        failed_checks+=("cargo test (see above: something did not compile, or a test program died)")
    fi
    title "report"
    if [ "${#failed_checks[@]}" -gt 0 ]; then
        printf 'failed: %s\n' "${failed_checks[@]}"
    fi
    grep -E '^test .* \.\.\. FAILED$' "$work/cargo-test" | sed -E 's/^test (.*) \.\.\. FAILED$/failed: \1/' || true
    sed 's/^/skipped: /' "$QRNG_SKIP_LOG" "$work/other-skips"
    grep -E '^test .* \.\.\. ignored' "$work/cargo-test" | sed -E 's/^test (.*) \.\.\. ignored/skipped: \1: ignored/' || true
    skipped=$((skipped + ignored + $(wc -l <"$work/other-skips")))
    if [ "$passed" -le 0 ]; then
        echo "no test ran"
    fi
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

title "what the tests need"
if ! install_needs; then
    failed_checks+=("what the tests need")
fi
open_fuse
check "format" cargo fmt --all -- --check
check "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings
if command -v shellcheck >/dev/null 2>&1; then
    check "shell files" shell_files
else
    skip_check "shellcheck" "it is missing and could not be installed"
fi
dependencies
# Tests start programs of other packages, which cargo does not build for them.
check "build" cargo build --workspace
title "tests"
result=0
run_tests || result=$?
report "$result"
