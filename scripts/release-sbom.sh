#!/usr/bin/env bash
# Writes the bill of materials of the `alexnet` command, in CycloneDX's form, to target/release-files/alexnet-VERSION.cdx.json: every package
# that it is built of on any of a release's targets, with version, licence and source. Exit 3 where cargo-cyclonedx cannot be had.
#   scripts/release-sbom.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

export PATH=$PWD/target/ci-tools/bin:$PATH
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
command -v cargo-cyclonedx > /dev/null || cargo install --quiet --locked --root target/ci-tools cargo-cyclonedx@0.5.9 >&2 \
    || { say "cargo-cyclonedx cannot be installed here"; exit 3; }
# It writes one beside the manifest of each package of the workspace.
written() { git ls-files --others --exclude-standard '*release-sbom.json'; }
cleanup() { written | xargs -r rm -f; }
trap cleanup EXIT
cargo cyclonedx --quiet --manifest-path cli/Cargo.toml --format json --spec-version 1.5 --target all --override-filename release-sbom >&2
mkdir -p target/release-files
file=target/release-files/alexnet-$version.cdx.json
mv cli/release-sbom.json "$file"
python3 - "$file" "$version" <<'EOF'
import json, sys
bill = json.load(open(sys.argv[1], encoding="utf-8"))
main = bill["metadata"]["component"]
names = {component["name"] for component in bill["components"]}
assert (main["name"], main["version"]) == ("alexnet", sys.argv[2]), main
assert {"alexnet-wgpu", "alexnet-weights", "wgpu", "rustls"} <= names, names
print(f"{sys.argv[1]}: {len(bill['components'])} packages", file=sys.stderr)
EOF
echo "$file"
