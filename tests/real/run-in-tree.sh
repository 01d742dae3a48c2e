#!/bin/sh
# Runs a program of the tree of Debian beside this file, as the user who calls, in namespaces of its own: what is mounted
# for it is gone when it ends, however it ends. Temporary files, devices and processes are those of this machine.
#
#   run PROGRAM [ARGUMENT…]
set -eu
tree=$(cd "$(dirname "$0")" && pwd)/root

mount_and_run='
    tree=$1 uid=$2 gid=$3
    shift 3
    mount --rbind "$tree" "$tree"
    for place in /dev /proc /tmp /var/tmp; do
        mount --rbind "$place" "$tree$place"
    done
    for file in /etc/passwd /etc/group; do
        mount --bind "$file" "$tree$file"
    done
    cd "$tree"
    pivot_root . mnt
    cd /
    if [ "$uid" = 0 ]; then
        exec "$@"
    fi
    exec unshare --user --map-user="$uid" --map-group="$gid" setpriv --pdeathsig QUIT "$@"
'

# To mount, one has to be root, which any user may be in a namespace of his own. PostgreSQL refuses to run as root, so that
# is taken off again; not in a chroot, where no further namespace may be made. The program ends with its parent, as a
# server has to that the guardian of a demo starts.
if [ "$(id -u)" = 0 ]; then
    exec unshare --mount sh -euc "$mount_and_run" sh "$tree" 0 0 "$@"
fi
exec unshare --user --map-root-user --mount sh -euc "$mount_and_run" sh "$tree" "$(id -u)" "$(id -g)" "$@"
