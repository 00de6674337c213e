#!/usr/bin/env bash
# The page into target/web-page/, ready for any static web server. Exit 3 when a tool for it cannot be had here.
#   examples/web/build.sh
#   python3 -m http.server -d target/web-page     and open http://localhost:8000
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}

web/build.sh
rm -rf "$target/web-page"
mkdir -p "$target/web-page"
cp examples/web/page/* examples/pictures/{ankle-boot,bag,trouser}.png "$target/web-page/"
cp -R "$target/web-package" "$target/web-page/alexnet-web"
