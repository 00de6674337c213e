#!/usr/bin/env bash
# Whether SECURITY.md is true of the code: its table lists every `unsafe` of the repository, as many of each file as the file
# has, and the tests and files that it names are there.
#   scripts/check-security.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# shellcheck disable=SC2016 # Markdown's code
row='s/^| `\([^`]*\.rs\)` | \([0-9]*\) |.*/\1 \2/p' code='`[A-Za-z0-9_./-]*`'
listed=$(sed -n "$row" SECURITY.md | LC_ALL=C sort)
there=$(git ls-files -co --exclude-standard '*.rs' | xargs grep -cE '\bunsafe( \{| fn| impl)' | sed -n '/:0$/!s/:/ /p' | LC_ALL=C sort)
[ "$listed" = "$there" ] || {
    diff <(echo "$listed") <(echo "$there") >&2 || true
    die "SECURITY.md (<) lists another number of \`unsafe\` than there is (>)"
}
# Names with an underscore are tests, names with a slash are places.
missing=0
while read -r name; do
    case $name in
        */*) [ -e "$name" ] ;;
        [a-z]*_*) git grep -q "fn $name(" -- '*.rs' ;;
    esac || { say "SECURITY.md names what is not there: $name"; missing=1; }
done < <(grep -o "$code" SECURITY.md | tr -d '`' | LC_ALL=C sort -u)
[ $missing = 0 ] || exit 1
echo "every unsafe is listed: $(awk '{ n += $2 } END { print n }' <<< "$there") in $(wc -l <<< "$there") files"
