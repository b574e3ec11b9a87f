#!/bin/sh
# Installs what `strata capture` needs on Debian 12 or later, as root. The packages that the guests
# are made of are not installed: a capture fetches and unpacks them itself.
set -eu
export DEBIAN_FRONTEND=noninteractive
install="apt-get install -y --no-install-recommends"

apt-get update
$install gcc iperf3

# QEMU's plugins are usable from version 10 on: Debian 12 has it among its backports.
newest=$(apt-cache madison qemu-system-x86 | awk -F'|' '{ print $2 }' | sed 's/.*://' |
    sort -Vr | head -n 1)
if [ "${newest%%.*}" -lt 10 ]; then
    . /etc/os-release
    # The mirror and its key are those of the machine's own sources.
    awk -v RS= 'NR == 1' /etc/apt/sources.list.d/debian.sources |
        sed "s/^Suites:.*/Suites: $VERSION_CODENAME-backports/" \
            > /etc/apt/sources.list.d/strata-backports.sources
    apt-get update
fi
if apt-cache policy qemu-system-x86 | sed -n 's/^ *Candidate: *//p' | sed 's/.*://' |
    awk -F. '{ exit $1 >= 10 ? 0 : 1 }'; then
    $install qemu-system-x86
else
    . /etc/os-release
    $install -t "$VERSION_CODENAME-backports" qemu-system-x86
fi
qemu-system-x86_64 --version
