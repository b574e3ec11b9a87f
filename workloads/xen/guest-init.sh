#!/bin/sh
# First program of the guest.
NAME=dom1
. /etc/strata/common.sh
. /etc/strata/capture.conf
mount_all
load_modules
ip link set lo up
tries=0
until [ -e /sys/class/net/eth0 ]; do
    tries=$((tries + 1))
    [ "$tries" -gt 100 ] && fail "no network interface (eth0)"
    usleep 100000
done
ip link set eth0 up
ip addr add "$GUEST_ADDRESS/24" dev eth0
ip route add default via "$GATEWAY"
say up

echo "$WARM_UP" > /run/warm-up
watch_warm_up sh /run/warm-up
nc "$DOM0_ADDRESS" 7100 < /dev/null > /dev/null 2>&1
echo "$COMMAND" > /run/command
say recording

# The recorder cannot begin within a guest that SVM runs: dom0 executes the marker in its place, and
# begins or ends the event trace.
mark() {
    if [ "$EVENTS" = yes ]; then
        nc "$DOM0_ADDRESS" "$((7101 + $1))" < /dev/null > /dev/null 2>&1
    else
        strata-mark "$1"
    fi
}
mark 1
sh /run/command > /run/strata/output 2>&1
status=$?
mark 2

[ "$status" = 0 ] || cat /run/strata/output > /dev/console
say "status $status"
send "$DOM0_ADDRESS" 7101
poweroff -f
