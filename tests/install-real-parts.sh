#!/bin/sh
# Has what tests/real needs and PyPI has not: a browser, Java and Maven as packages of this machine, and a tree of Debian
# unstable with PostgreSQL 18 and, from experimental, 19: servers, psql with the device flow, headers, compiler.
#
#   tests/install-real-parts.sh [programs|tree]     both where no word is given
#   PGOAUTHD_DEBIAN_MIRROR=URL                      where apt does not have Debian's packages from
#
# The tree is unpacked below .real/ of the checkout, once; nothing of it is configured or installed, and no service runs.
# apt gets it the way it gets this machine's own packages (mirror, proxy, keys), with lists and cache of its own, so neither
# root nor a mount is needed. Never fails: what cannot be had is said, and the tests that need it are skipped and say so too.
set -u
umask 022

root=$(cd "$(dirname "$0")/.." && pwd)
real=$root/.real
tree=$real/debian
work=$real/debian.partial.$$
record=$real/record.$$

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# Run, or needed to run; to compile the module as an operator would; of both versions, without what they depend on.
wanted='postgresql-18 libpq-oauth dash coreutils sed util-linux libc-bin gcc make libc6-dev libkrb5-dev'
apart='postgresql-server-dev-18'
next='postgresql-19 postgresql-client-19 postgresql-server-dev-19'
next_client='libpq5 libpq-oauth'
# What only a machine that is managed has a use for counts as being there.
declared='debconf locales perl perl-base postgresql-common postgresql-client-common sensible-utils ssl-cert'

complain() {
    {
        echo "*** $1"
        [ ! -s "$record" ] || tail -n 15 "$record" | sed 's/^/***   /'
    } >&2
}

main() {
    mkdir -p "$real" || { echo "*** $real cannot be made" >&2; return; }
    trap 'rm -rf "$work" "$record"' EXIT
    trap 'exit 1' HUP INT TERM
    : >"$record"
    case ${1:-all} in
    all) have_programs; have_tree ;;
    programs) have_programs ;;
    tree) have_tree ;;
    *) echo "usage: $0 [programs|tree]" >&2; exit 2 ;;
    esac
}

# ---- programs of this machine

lacking() {
    names=
    command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || names="$names chromium"
    command -v java >/dev/null 2>&1 || names="$names default-jre-headless"
    command -v mvn >/dev/null 2>&1 || names="$names maven"
    echo "$names"
}

have_programs() {
    names=$(lacking)
    [ -n "$names" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
        complain "lacking:$names; only root can install them, with apt-get; the tests that need them are skipped"
        return 0
    fi
    echo "installing$names, which tests/real needs" >&2
    # $names is a list of words on purpose.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"' \
        sh $names >"$record" 2>&1 || complain "could not install$names; the tests that need them are skipped"
}

# ---- the tree

have_tree() {
    [ "$(stamp)" != "$(cat "$tree/stamp" 2>/dev/null)" ] || return 0
    for program in apt-get dpkg-deb unshare; do
        command -v "$program" >/dev/null 2>&1 || { complain "no tree of Debian without $program"; return 0; }
    done
    [ -r "$keyring" ] || { complain "no tree of Debian without its keys: install debian-archive-keyring"; return 0; }
    mirror=${PGOAUTHD_DEBIAN_MIRROR:-$(find_mirror)}
    if [ -z "$mirror" ]; then
        complain 'no tree of Debian: apt has no mirror of it here, and PGOAUTHD_DEBIAN_MIRROR does not name one'
        return 0
    fi
    echo 'unpacking a tree of Debian unstable with PostgreSQL 18 and 19, which tests/real needs' >&2
    # In a condition, set -e would mean nothing.
    (set -e; make_tree) >"$record" 2>&1
    if [ $? != 0 ]; then
        complain 'the tree of Debian could not be made; the tests that need it are skipped'
        return 0
    fi
    rm -rf "$tree"
    mv "$work" "$tree"
}

# A tree that other versions of these files made is made again.
stamp() {
    cat "$0" "$root/tests/real/run-in-tree.sh" | cksum
}

make_tree() {
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/apart" "$work/next" "$work/next-client"
    describe_source >"$work/apt/sources.list"
    describe_declared >"$work/apt/status"
    own_apt -qq update
    # Lists of words on purpose.
    # shellcheck disable=SC2086
    {
        own_apt -qq -y --no-install-recommends --download-only install $wanted
        (cd "$work/apart" && own_apt -qq download $apart)
        (cd "$work/next" && own_apt -qq -t experimental download $next)
        (cd "$work/next-client" && own_apt -qq -t experimental download $next_client)
    }
    unpack "$work/root" "$work"/apt/archives/*.deb "$work"/apart/*.deb "$work"/next/*.deb
    unpack "$work/root/opt/next" "$work"/next-client/*.deb
    finish "$work/root"
    make_runners
    (cd "$work" && for deb in apt/archives/*.deb apart/*.deb next*/*.deb; do
        dpkg-deb --show --showformat '${Package} ${Version}\n' "$deb"
    done) | sort >"$work/packages"
    rm -rf "$work/apt" "$work/apart" "$work/next" "$work/next-client"
    stamp >"$work/stamp"
}

# The mirror that this machine has Debian from, by what its lists say or, where it has none yet, by its address.
find_mirror() {
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n -e 's/^Debian //p' -e 's#^ \(.*/debian/*\)$#\1#p' | head -n 1
}

describe_source() {
    for suite in unstable experimental; do
        echo "deb [signed-by=$keyring] $mirror $suite main"
    done
}

describe_declared() {
    for name in $declared; do
        printf 'Package: %s\nStatus: install ok installed\nArchitecture: %s\nVersion: 9999\nMulti-Arch: foreign\n' \
            "$name" "$(dpkg --print-architecture)"
        printf 'Maintainer: nobody <nobody@localhost>\nDescription: not needed here\n\n'
    done
}

own_apt() {
    apt-get -o Dir::State="$work/apt" -o Dir::State::status="$work/apt/status" -o Dir::State::lists="$work/apt/lists" \
        -o Dir::Cache="$work/apt" -o Dir::Cache::archives="$work/apt/archives" \
        -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=- \
        -o APT::Sandbox::User= -o Acquire::Languages=none -o APT::Update::Post-Invoke-Success::= "$@"
}

# Programs, libraries and headers, without documents and translations.
unpack() {
    into=$1
    shift
    mkdir -p "$into"
    for name in bin sbin lib lib64; do
        mkdir -p "$into/usr/$name"
        ln -s "usr/$name" "$into/$name"
    done
    for deb in "$@"; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$into" --no-same-owner --keep-directory-symlink \
            --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
            --exclude='./usr/share/info/*' --exclude='./usr/share/perl/*' --exclude='./usr/share/lintian/*'
    done
}

# Places for what is mounted while a program runs; nothing that acts as another user.
finish() {
    (cd "$1" && mkdir -p dev proc tmp var/tmp etc mnt && chmod 755 . && : >etc/passwd && : >etc/group)
    [ -e "$1/bin/sh" ] || ln -s dash "$1/bin/sh"
    find "$1" -type f -perm /6000 -exec chmod ug-s {} +
}

# PostgreSQL's programs as programs of this machine: pg_config names places of this machine, psql 19 has the libpq of its
# own version.
make_runners() {
    cp "$root/tests/real/run-in-tree.sh" "$work/run"
    next_libraries=$(cd "$work/root" && echo opt/next/usr/lib/*-linux-*)
    for version in 18 19; do
        mkdir -p "$work/$version/bin"
        place=/usr/lib/postgresql/$version/bin
        make_runner initdb "exec \"\$run\" $place/initdb \"\$@\""
        make_runner postgres "exec \"\$run\" $place/postgres \"\$@\""
        make_runner pg_config "\"\$run\" $place/pg_config \"\$@\" | sed \"s#^/usr/#\${run%/run}/root/usr/#\""
    done
    version=18 make_runner psql 'exec "$run" /usr/lib/postgresql/18/bin/psql "$@"'
    version=19 make_runner psql "exec \"\$run\" env LD_LIBRARY_PATH=/$next_libraries /usr/lib/postgresql/19/bin/psql \"\$@\""
}

make_runner() {
    printf '#!/bin/sh\nrun=$(cd "$(dirname "$0")/../.." && pwd)/run\n%s\n' "$2" >"$work/$version/bin/$1"
    chmod 755 "$work/$version/bin/$1"
}

main "$@"
