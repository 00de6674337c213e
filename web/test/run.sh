#!/usr/bin/env bash
# Builds the npm package, installs its tarball as a user would, and tests it in headless Chromium against the command's answers.
# Exit 3 where a tool cannot be had.
#   web/test/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. web/test/prepare.sh

web/build.sh

# In a folder of its own, from the tarball alone.
user=$(realpath "$work")/user
rm -rf "$user"
mkdir -p "$user"
tarball=$(cd "$target/web-package" && npm pack --silent --pack-destination "$user")
echo "$tarball: $(wc -c < "$user/$tarball") bytes"
echo '{ "private": true, "type": "module" }' > "$user/package.json"
(cd "$user" && npm install --silent --no-audit --no-fund "./$tarball")
cp web/test/user/* "$user/"
# The examples of the documentation, each as a function.
awk '/^```js$/ { print "export async function example" ++n "() {"; inside = 1; next }
    /^```$/ { if (inside) print "}"; inside = 0 }
    inside && !/^import /' README.md web/README.md docs/guide/src/browser.md >> "$user/examples.ts"
[ "$(grep -c '^export async' "$user/examples.ts")" -ge 5 ]
for program in page examples worker; do
    libraries=es2022,dom
    [ $program != worker ] || libraries=es2022,webworker
    "$work/node_modules/.bin/tsc" --strict --target es2022 --module nodenext --lib $libraries "$user/$program.ts"
done
cp web/test/browser.mjs web/test/package.mjs "$work/"
node "$work/package.mjs" "$user" "$work"
