#!/bin/bash
# Installs what `strata capture` needs on Debian 12: QEMU 10 from bookworm-backports and iperf3.
# Run as root. Backports are taken from the mirror that the machine already uses.
set -euo pipefail

codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
if [ "$codename" != bookworm ]; then
    echo "this is ${codename:-no Debian}, not Debian 12 (bookworm): install QEMU 10 or newer with" \
        "its plugins, iperf3, apt and dpkg by hand" >&2
    exit 1
fi
apt-get update -q
if ! apt-cache madison qemu-system-x86 | grep -q 'bpo12'; then
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk '$2 == "bookworm" { print $1; exit }')
    list=/etc/apt/sources.list.d/strata-backports.sources
    cat > "$list" <<EOF
Types: deb
URIs: $mirror
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
    apt-get update -q
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends -t bookworm-backports qemu-system-x86
apt-get install -y -q --no-install-recommends iperf3 gcc libc6-dev
