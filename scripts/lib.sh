# shellcheck shell=bash
# Shared by the scripts beside it, which unpack packages of Debian 12 under target/adapters/ and install nothing:
# no root needed, and the system's own driver stays the default. Sourced at the top of the checkout.

adapters=$PWD/target/adapters

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# unpack [--whole] NAME SUITE PACKAGE...: the packages' files under target/adapters/NAME, kept from one run to the next. Whole:
# with all that they depend on, so that NAME is a system's root.
unpack() {
    local get=(download)
    [ "$1" != --whole ] || { get=(install --yes --no-install-recommends --download-only) && shift; }
    local name=$1 suite=$2 debs=$adapters/debs-$1 mirror
    shift 2
    [ -d "$adapters/$name" ] && return
    # The packages were built against this release's libraries.
    # shellcheck source=/dev/null
    [ "$(. /etc/os-release && echo "$ID $VERSION_ID")" = "debian 12" ] || die "$name can be had on Debian 12 only"
    # The machine's own mirror, whichever way its sources are written.
    mirror=$(apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/bookworm/InRelease'.*|\1|p" | head -n 1)
    [ -n "$mirror" ] || die "no mirror of Debian 12 among this machine's apt sources"

    # An apt with sources, lists and cache of its own: it can be anybody's, and has the backports too. What is installed does
    # not matter to it, since a newer version than the suite's would be in its way.
    rm -rf "$debs"
    mkdir -p "$debs/lists/partial" "$debs/cache/archives/partial"
    printf "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror %s main\n" \
        bookworm bookworm-backports > "$debs/sources.list"
    cat > "$debs/apt.conf" <<EOF
Dir::Etc::sourcelist "$debs/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$debs/lists";
Dir::State::status "/dev/null";
Dir::Cache "$debs/cache";
APT::Sandbox::User "root";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
EOF
    say "downloading $* from $suite"
    (
        cd "$debs" || exit
        apt-get -qq -c apt.conf update
        apt-get -qq -c apt.conf -t "$suite" "${get[@]}" "$@"
        find . -name '*.deb' -print0 | xargs -0 -I '{}' dpkg -x '{}' root
        mv root "$adapters/$name"
    ) >&2
    rm -rf "$debs"
}

# environment NAME LINE...: the lines as target/adapters/NAME.env, to be sourced. They are printed too.
environment() {
    local name=$1
    shift
    printf '%s\n' "$@" | tee "$adapters/$name.env"
    say "to use it: . $adapters/$name.env"
}

# libraries NAME FILE: the folder under target/adapters/NAME that holds the library, whose own libraries must be there too.
libraries() {
    local library missing
    library=$(find "$adapters/$1" -name "$2")
    missing=$(LD_LIBRARY_PATH=${library%/*} ldd "$library" | awk '/not found/ { print $1 }')
    [ -z "$missing" ] || die "libraries are missing, which \`apt-get install mesa-vulkan-drivers\` brings:" "$missing"
    echo "${library%/*}"
}

# debian SUITE FOLDER: a root much as Debian's slim image of the suite. For root, with debootstrap, which it installs from Debian's
# or Ubuntu's packages. Status 3 where that cannot be.
debian() {
    local suite=$1 base=$adapters/debian-$1-slim new
    if [ ! -e "$base" ]; then
        command -v debootstrap > /dev/null || { apt-get update -q; apt-get install -y --no-install-recommends debootstrap; } >&2 \
            || { say "this needs debootstrap"; return 3; }
        mkdir -p "$adapters"
        new=$(mktemp -d "$base.XXXX")
        chmod 755 "$new"
        debootstrap --variant=minbase "$suite" "$new" http://deb.debian.org/debian >&2 \
            || { say "no mirror of Debian's packages"; rm -rf "$new"; return 3; }
        # As there, documentation and translations are left out of what is installed later, and packages are not kept.
        {
            printf 'path-exclude /usr/share/%s/*\n' doc groff info linda lintian locale man
            echo 'path-include /usr/share/doc/*/copyright'
        } > "$new/etc/dpkg/dpkg.cfg.d/docker"
        echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin"; };' \
            > "$new/etc/apt/apt.conf.d/docker-clean"
        mv -T "$new" "$base"
    fi
    cp -a "$base" "$2"
}

# lend FOLDER: what the host lends to such a root: processes, devices, names of hosts. Run in a mount namespace of its own.
lend() {
    mkdir -p "$1"/{proc,dev,etc}
    mount --rbind /proc "$1/proc"
    mount --rbind /dev "$1/dev"
    local file
    for file in hosts resolv.conf; do
        touch "$1/etc/$file"
        mount --bind "/etc/$file" "$1/etc/$file"
    done
}
