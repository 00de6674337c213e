#!/usr/bin/env bash
# The shaders through Dawn, Chrome's WebGPU, instead of wgpu: every kernel variant of a narrow AlexNet's layers against the twin
# in double precision, and the whole `ungrouped` network against its reference vectors.
#   scripts/test-dawn.sh [wgpudawn] [dawn-python]
# wgpudawn: a recent Dawn, on Mesa 25; dawn-python: one of 2025, on the system's own driver. Both are packages for Python.
# Without names: both. One that cannot be had is skipped, and the last lines say so; exit 1 where numbers differ, 3 when
# neither is there, or not one that was named.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

names=("$@") named=$#
[ $# -gt 0 ] || names=(wgpudawn dawn-python)
export ALEXNET_PYTHON=$adapters/dawn/bin/python3

# test_package NAME VERSION
test_package() {
    [ -x "$ALEXNET_PYTHON" ] || python3 -m venv "$adapters/dawn" || return 3
    "$ALEXNET_PYTHON" -m pip install --quiet --disable-pip-version-check "$1==$2" || return 3
    # 3 where it accepts no driver.
    "$ALEXNET_PYTHON" scripts/dawn.py "$1" || return
    ALEXNET_DAWN=$1 cargo test --quiet -p alexnet-wgpu --lib dawn_computes -- --ignored --nocapture
}

results=() status=3 lacks=0
for name in "${names[@]}"; do
    echo "=== $name"
    code=0
    case $name in
        wgpudawn)
            # A subshell: the driver's environment ends with its test.
            # shellcheck source=/dev/null
            if scripts/mesa25.sh > /dev/null; then
                (. "$adapters/mesa25.env" && test_package wgpudawn 0.32.0.4) || code=$?
            else
                code=3
            fi
            ;;
        dawn-python) test_package dawn-python 0.3.0 || code=$? ;;
        *) die "no package '$name': wgpudawn or dawn-python" ;;
    esac
    case $code in
        0) results+=("$name: passed"); [ $status = 1 ] || status=0 ;;
        3) results+=("$name: SKIPPED, it cannot be had here (the reason stands above)"); lacks=1 ;;
        *) results+=("$name: FAILED"); status=1 ;;
    esac
done
printf '=== Dawn, %s\n' "${results[@]}"
if [ "$named" -gt 0 ] && [ $lacks = 1 ] && [ $status = 0 ]; then exit 3; fi
exit $status
