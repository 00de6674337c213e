#!/usr/bin/env bash
# The `alexnet` command for Windows, run here under Wine: wgpu's DX12 backend with the shader compiler that comes with Windows,
# Microsoft's FXC, on vkd3d, which is Direct3D 12 on Vulkan, on Mesa 25's software driver. FXC must take every shader, the doctor
# must find all healthy, and the boot must be one.
#   scripts/test-wine.sh [ARGUMENTS OF alexnet.exe]     with arguments: runs these instead
# For Debian 12; as root it installs what is missing. Exit 3 where the tools cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

target=x86_64-pc-windows-gnu
skip() { say "${0##*/}: $*"; exit 3; }
find_wine() { command -v wine64 || command -v /usr/lib/wine/wine64; }
has_tools() { find_wine && command -v Xvfb && command -v x86_64-w64-mingw32-gcc; } > /dev/null
if ! has_tools && [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
    { apt-get update -q; apt-get install -y --no-install-recommends wine64 xvfb gcc-mingw-w64-x86-64; } >&2 || true
fi
has_tools || skip "this needs Wine, Xvfb and MinGW (Debian: apt install wine64 xvfb gcc-mingw-w64-x86-64)"
wine=$(find_wine)
[ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || rustup target add "$target" \
    || skip "this needs Rust's standard library for Windows: rustup target add $target"
scripts/mesa25.sh > /dev/null || skip "this needs Mesa 25"

folder=$adapters/wine
mkdir -p "$folder"
if [ ! -e "$folder/d3dcompiler_47.dll" ]; then
    # A package for Python that carries Microsoft's compiler.
    python3 -m pip download --quiet --no-deps --dest "$folder" --only-binary :all: --python-version 3.12 \
        --platform win_amd64 kivy-deps.angle==0.5.0 || skip "FXC cannot be had"
    python3 - "$folder" <<'EOF'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
package = zipfile.ZipFile(next(folder.glob("kivy_deps*angle-*.whl")))
[name] = [name for name in package.namelist() if name.endswith("/d3dcompiler_47.dll")]
(folder / "d3dcompiler_47.dll").write_bytes(package.read(name))
EOF
fi
# Nothing of the user's Wine is touched, and nothing is asked or installed.
export WINEPREFIX=$folder/prefix WINEDEBUG=${WINEDEBUG:--all} WINEDLLOVERRIDES='mscoree,mshtml=;d3dcompiler_47=n'
server=''
cleanup() {
    "${wine%/*}/wineserver" -k 2> /dev/null || "${wine%/*}/wineserver64" -k 2> /dev/null || true
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
}
trap cleanup EXIT

# Rust's standard library takes its random numbers from a library that Wine 8 lacks.
x86_64-w64-mingw32-gcc -shared -o "$folder/bcryptprimitives.dll" -x c - -ladvapi32 <<'EOF'
#include <windows.h>
BOOLEAN WINAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count) { return SystemFunction036(bytes, (ULONG)count); }
EOF
# Only the library itself has much to compute.
CARGO_PROFILE_DEV_DEBUG=0 cargo build --locked -p alexnet --target "$target" --target-dir target/wine \
    --config 'profile.dev.package."*".opt-level=0'
cp "target/wine/$target/debug/alexnet.exe" "$folder"

Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp 3> "$folder/display" 2> "$folder/server.log" &
server=$!
for _ in $(seq 100); do
    [ ! -s "$folder/display" ] || break
    sleep 0.1
done
[ -s "$folder/display" ] || { cat "$folder/server.log" >&2; die "Xvfb did not start"; }
DISPLAY=:$(cat "$folder/display")
# shellcheck source=/dev/null
. "$adapters/mesa25.env"
# What it names is known by another name through Direct3D.
unset ALEXNET_ADAPTER
export DISPLAY

alexnet() { timeout 600 "$wine" "$folder/alexnet.exe" "$@"; }
if [ $# -gt 0 ]; then
    alexnet "$@"
    exit
fi
# Every shader that needs no subgroups, in every configuration that the planner can choose.
rm -rf "$folder/shaders"
ALEXNET_SHADERS=$folder/shaders cargo test --quiet -p alexnet-wgpu --lib every_shader_is_valid
x86_64-w64-mingw32-gcc -O1 -o "$folder/fxc.exe" scripts/fxc.c
(cd "$folder/shaders" && "$wine" "$folder/fxc.exe" ./*.fxc.hlsl)

alexnet adapters
alexnet doctor --backend dx12
alexnet classify --backend dx12 examples/pictures/ankle-boot.png | tee "$folder/log"
grep -q "Ankle boot" "$folder/log" || die "the boot was not seen to be one"
