#!/bin/sh
# packages.sh PROFILE DIRECTORY VERSION: makes the .debs of what was built with PROFILE (release, dev).
set -eu
cd "$(dirname "$0")/.."
profile=$1 directory=$2 version=$3
mkdir -p "$directory"
for package in qrng-cli qrng-collector qrng-gateway qrng-http qrng-adapter; do
    cargo deb --quiet --no-build --fast --strip --profile "$profile" --package "$package" \
        --deb-version "$version" --output "$directory/" >/dev/null
done
