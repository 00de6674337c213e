#!/usr/bin/env python3
"""Packs the `alexnet` command as a release has it, with its readme, licences and changelog, and writes the SHA-256 beside it:
target/release-files/alexnet-VERSION-TARGET.tar.gz, or .zip for Windows. Equal contents give equal bytes.

    scripts/release-pack.py TARGET PROGRAM
"""

import gzip
import hashlib
import io
import pathlib
import re
import subprocess
import sys
import tarfile
import time
import zipfile

TOP = pathlib.Path(__file__).resolve().parent.parent
FILES = ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT"]


def main(target: str, program: str) -> None:
    windows = "windows" in target
    version = re.search(r'^version = "(.*)"', (TOP / "Cargo.toml").read_text("utf-8"), re.M)[1]
    # The library's own code is the same for both of macOS's processors.
    notices = [sys.executable, TOP / "scripts/release-notices.py", target.replace("universal", "aarch64")]
    contents = {name: (TOP / name).read_bytes() for name in FILES}
    contents["THIRD-PARTY.txt"] = subprocess.run(notices, check=True, stdout=subprocess.PIPE, cwd=TOP).stdout
    executable = "alexnet.exe" if windows else "alexnet"
    contents[executable] = pathlib.Path(program).read_bytes()

    commit = ["git", "-C", TOP, "log", "-1", "--format=%ct"]
    moment = int(subprocess.run(commit, check=True, stdout=subprocess.PIPE).stdout)
    name = f"alexnet-{version}-{target}"
    packed = io.BytesIO()
    if windows:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file, data in sorted(contents.items()):
                info = zipfile.ZipInfo(f"{name}/{file}", time.gmtime(moment)[:6])
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
                archive.writestr(info, data)
    else:
        with gzip.GzipFile("", "wb", 9, packed, moment) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
            for file, data in sorted(contents.items()):
                info = tarfile.TarInfo(f"{name}/{file}")
                info.size, info.mtime, info.mode = len(data), moment, 0o755 if file == executable else 0o644
                archive.addfile(info, io.BytesIO(data))

    path = TOP / "target/release-files" / (name + (".zip" if windows else ".tar.gz"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    # As sha256sum writes it, and reads it on every system.
    path.with_name(path.name + ".sha256").write_bytes(f"{digest}  {path.name}\n".encode())
    sizes = f"{len(contents[executable])} bytes of program, {len(packed.getvalue())} packed"
    print(f"{path.relative_to(TOP)}: {sizes}", file=sys.stderr)
    print(path.as_posix())


if __name__ == "__main__":
    main(*sys.argv[1:])
