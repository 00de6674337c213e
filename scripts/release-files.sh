#!/usr/bin/env bash
# What a release has beside its archives, written into the folder that holds these: the installers for its version, the Homebrew
# formula, and all checksums in one file.
#   scripts/release-files.sh VERSION FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

version=$1 folder=$2
sed "s/^of_release=\$/of_release=$version/" scripts/install.sh > "$folder/install.sh"
sed "s/^    \\\$version = ''\$/    \$version = '$version'/" scripts/install.ps1 > "$folder/install.ps1"
for file in install.sh install.ps1; do
    grep -q "$version" "$folder/$file" || die "$file takes no version any more"
done
scripts/formula.sh "$version" "$folder" > "$folder/alexnet.rb"
rm -f "$folder/SHA256SUMS"
sums=$(cd "$folder" && find . -type f ! -name '*.sha256' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum)
echo "$sums" > "$folder/SHA256SUMS"
