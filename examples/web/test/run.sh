#!/usr/bin/env bash
# Builds the page and tests it in headless Chromium against the command's answers. Exit 3 where a tool cannot be had.
#   examples/web/test/run.sh
set -euo pipefail
cd "$(dirname "$0")/../../.."
. web/test/prepare.sh

examples/web/build.sh
cp web/test/browser.mjs examples/web/test/page.mjs "$work/"
node "$work/page.mjs" "$target/web-page" "$work"
