#!/usr/bin/env bash
# Builds the page and tests it in headless Chromium against the command's answers. Exit 3 where a tool cannot be had.
#   examples/web/test/run.sh
set -euo pipefail
cd "$(dirname "$0")/../../.."
target=${CARGO_TARGET_DIR:-target}
lack() { echo "${0##*/}: $*" >&2; exit 3; }

browser=${CHROMIUM:-$(command -v chromium || command -v google-chrome || true)}
[ -n "$browser" ] || lack "no Chromium here: apt-get install chromium, or name one in CHROMIUM"
command -v node > /dev/null || lack "no Node.js here"
playwright="playwright-core@1.65.1"
mkdir -p "$target/web-test"
[ -e "$target/web-test/$playwright" ] || npm install --silent --no-save --no-package-lock --prefix "$target/web-test" \
    "$playwright" || lack "$playwright does not install"
touch "$target/web-test/$playwright"

examples/web/build.sh
ALEXNET_PAIRS=$(realpath "$target")/web-test/pairs ./x test --quiet --test comparison lpips_is_that_of_pytorch
./x classify --json examples/pictures/*.[jp][pn]g > "$target/web-test/expected.jsonl"
./x explain examples/pictures/ankle-boot.png --output "$target/web-test/boot.npy" > /dev/null
cp examples/web/test/page.mjs "$target/web-test/"
CHROMIUM=$browser node "$target/web-test/page.mjs" "$target/web-page" "$target/web-test"
