#!/usr/bin/env python3
"""Writes the licences of everything that is linked into a package of the workspace for a target, as a release carries them.

    scripts/release-notices.py TARGET [PACKAGE] > THIRD-PARTY.txt     the package is the command, alexnet, if none is named
"""

import json
import pathlib
import subprocess
import sys

NAMES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def texts(folder: pathlib.Path) -> list[str]:
    """The texts of the licence files of a package."""
    found = sorted(path for path in folder.iterdir() if path.name.upper().startswith(NAMES))
    files = [inner for path in found for inner in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return [path.read_text("utf-8", "replace").strip() for path in files if path.is_file()]


def main(target: str, name: str = "alexnet") -> None:
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    [root] = [key for key, package in packages.items() if package["name"] == name]
    # What is linked: neither what builds need nor what tests need.
    linked, rest = set(), [root]
    while rest:
        key = rest.pop()
        if key not in linked:
            linked.add(key)
            rest += [d["pkg"] for d in nodes[key]["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]

    # Each text once, with the packages that have it.
    users: dict[str, list[str]] = {}
    lacking = []
    for package in sorted((packages[key] for key in linked), key=lambda p: (p["name"], p["version"])):
        label = f"{package['name']} {package['version']} ({package['license'] or 'see its file'})"
        own = package["source"] is None and package["name"] != "alexnet-weights"
        found = [] if own else texts(pathlib.Path(package["manifest_path"]).parent)
        for text in found:
            users.setdefault(text, []).append(label)
        if not found and not own:
            lacking.append(f"{label}, {package['repository'] or 'no address'}")
    print(f"{name} is linked with these packages of other authors. Their licences follow, each text once.")
    for text, names in sorted(users.items(), key=lambda item: item[1]):
        print(f"\n{'=' * 80}\n{chr(10).join(names)}\n{'-' * 80}\n{text}")
    if lacking:
        print(f"\n{'=' * 80}\nWithout a licence file of their own, under the licence that their manifest names:")
        print("\n".join(lacking))


if __name__ == "__main__":
    main(*sys.argv[1:])
