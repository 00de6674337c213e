# shellcheck shell=bash
# What the tests of the package and of the page have in common, to be sourced from the repository's root: a browser, Playwright
# and the command's answers, in $work. Exit 3 where a tool cannot be had.
target=${CARGO_TARGET_DIR:-target}
work=$target/web-test
lack() { echo "${0##*/}: $*" >&2; exit 3; }

CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v google-chrome || true)}
export CHROMIUM
[ -n "$CHROMIUM" ] || lack "no Chromium here: apt-get install chromium, or name one in CHROMIUM"
command -v node > /dev/null || lack "no Node.js here"
tools=(playwright-core@1.65.1 typescript@5.9.3)
mkdir -p "$work"
[ "$(cat "$work/tools" 2> /dev/null)" = "${tools[*]}" ] \
    || npm install --silent --no-save --no-package-lock --prefix "$work" "${tools[@]}" || lack "${tools[*]} do not install"
echo "${tools[*]}" > "$work/tools"

# What the command answers, from the build that the other tests leave.
ALEXNET_PAIRS=$(realpath "$target")/web-test/pairs ./x test --quiet --test comparison lpips_is_that_of_pytorch
./x classify --json examples/pictures/*.[jp][pn]g > "$work/expected.jsonl"
for layer in pool5 fc7; do
    ./x features examples/pictures/ankle-boot.png --layer $layer --output "$work/boot-$layer.npy"
done
for model in torchvision.pth torchvision-legacy.pth torchvision.safetensors exported.onnx v2.caffemodel; do
    ./x classify --weights "tests/data/formats/$model" --json examples/pictures/bag.png > "$work/$model.jsonl"
done
./x explain examples/pictures/ankle-boot.png --output "$work/boot.npy" > /dev/null
