#!/usr/bin/env bash
# The npm package as a release has it, target/release-files/alexnet-wgpu-web-VERSION.tgz with its SHA-256, as npm would publish it.
# Exit 3 when a tool for it cannot be had here.
#   scripts/release-web.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

command -v npm > /dev/null || { say "npm is not installed here"; exit 3; }
web/build.sh >&2
mkdir -p target/release-files
file=$(cd target/web-package && npm pack --silent --pack-destination ../release-files)
npm publish --dry-run "target/release-files/$file" >&2
(cd target/release-files && sha256sum "$file" > "$file.sha256")
echo "target/release-files/$file"
