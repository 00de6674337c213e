#!/usr/bin/env bash
# Runs the tests on several Vulkan implementations, one after the other.
#   scripts/test-adapters.sh [system] [mesa25] [swiftshader] [-- ARGUMENTS OF CARGO TEST]
# Without names: all three. An adapter that cannot be had is skipped, and the last lines say so; exit 1 when a test failed, 3
# when one that was named cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

names=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        system | mesa25 | swiftshader) names+=("$1") ;;
        *) echo "${0##*/}: no adapter '$1': system, mesa25 or swiftshader" >&2; exit 2 ;;
    esac
    shift
done
[ $# -eq 0 ] || shift
lacking=3
[ ${#names[@]} -gt 0 ] || names=(system mesa25 swiftshader) lacking=0

results=() failed=0 lacks=0
for name in "${names[@]}"; do
    echo "=== adapter $name"
    if [ "$name" != system ] && ! "scripts/$name.sh"; then
        results+=("$name: SKIPPED, it cannot be had here (the reason stands above)")
        lacks=$lacking
        continue
    fi
    # A subshell: each adapter's environment ends with its tests.
    # shellcheck source=/dev/null
    if ({ [ "$name" = system ] || . "target/adapters/$name.env"; } && ./x test "$@"); then
        results+=("$name: passed")
    else
        results+=("$name: FAILED")
        failed=1
    fi
done
printf '=== adapter %s\n' "${results[@]}"
[ $failed = 0 ] || exit 1
exit $lacks
