#!/usr/bin/env bash
# The comparison of action.yml: a table in the job's summary, maps in a folder, and the exit code of `alexnet compare`.
set -euo pipefail

maps=$RUNNER_TEMP/alexnet-maps table=$RUNNER_TEMP/alexnet-compare.md
rm -rf "$maps" "$table"
# One picture has one map.
[ -d "$EXPECTED" ] || { mkdir -p "$maps" && maps=$maps/map.png; }
arguments=(--format markdown --output "$table" --map "$maps")
[ -z "${FAIL_ABOVE-}" ] || arguments+=(--fail-above "$FAIL_ABOVE")
[ -z "${FAIL_ABOVE_LOCAL-}" ] || arguments+=(--fail-above-local "$FAIL_ABOVE_LOCAL")
[ -z "${THRESHOLDS-}" ] || arguments+=(--thresholds "$THRESHOLDS")
[ -z "${MASK-}" ] || arguments+=(--mask "$MASK")

status=0
alexnet compare "${arguments[@]}" -- "$EXPECTED" "$ACTUAL" || status=$?
case $status in
    0) verdict=alike ;;
    1) verdict=different ;;
    *) verdict=error ;;
esac
echo "verdict=$verdict" >> "$GITHUB_OUTPUT"
if [ -e "$table" ]; then
    cat "$table"
    cat "$table" >> "$GITHUB_STEP_SUMMARY"
fi
exit $status
