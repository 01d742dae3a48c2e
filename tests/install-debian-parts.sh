#!/bin/sh
# Installs the Debian packages whose programs the tests run: promtool and prometheus (alert rules, dashboards), and
# prometheus-alertmanager (the daemon's own notifications). Does nothing where they are there already. Never starts or
# enables a service, and never fails: where it cannot install, it says what is lacking and which tests will be skipped.
set -u

lacking() {
    names=
    command -v promtool >/dev/null 2>&1 && command -v prometheus >/dev/null 2>&1 || names="$names prometheus"
    command -v prometheus-alertmanager >/dev/null 2>&1 || command -v alertmanager >/dev/null 2>&1 ||
        names="$names prometheus-alertmanager"
    echo "$names"
}

complain() {
    {
        echo "*** $1"
        echo "*** lacking:$(lacking)"
        echo '*** Without prometheus the alert rules and the dashboard are not tested (skipped; with CI=true a failure),'
        echo '*** without prometheus-alertmanager the notifications are not tested against a real one.'
        echo '*** To have them: apt-get install --no-install-recommends prometheus prometheus-alertmanager'
    } >&2
    exit 0
}

packages=$(lacking)
[ -n "$packages" ] || exit 0
command -v apt-get >/dev/null 2>&1 || complain 'there is no apt-get here'
[ "$(id -u)" = 0 ] || complain 'only root may install packages'

# A package may not start its service: invoke-rc.d asks this program, and 101 means no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
fi

record=$(mktemp)
echo "installing$packages, which the tests need" >&2
export DEBIAN_FRONTEND=noninteractive
# $packages is a list of words on purpose.
# shellcheck disable=SC2086
if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends $packages; } >"$record" 2>&1; then
    tail -n 20 "$record" >&2
    rm -f "$record"
    complain 'the packages could not be installed'
fi
rm -f "$record"

# What was installed for tests is not to run from the next boot on.
if command -v systemctl >/dev/null 2>&1; then
    for package in $packages; do
        systemctl --quiet disable "$package.service" >/dev/null 2>&1
    done
fi
[ -z "$(lacking)" ] || complain 'the packages are installed, but their programs are not in PATH'
