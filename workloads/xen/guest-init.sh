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

# The warm-up settles page tables, caches of the kernel and connections; the census watches it.
echo "$WARM_UP" > /run/warm-up
sh /run/warm-up > /run/warm-up.log 2>&1 &
warm_up=$!
while kill -0 "$warm_up" 2> /dev/null; do
    census /run/strata/processes
    usleep 100000
done
wait "$warm_up" || { cat /run/warm-up.log > /dev/console; fail "the warm-up failed: $WARM_UP"; }
nc "$DOM0_ADDRESS" 7100 < /dev/null > /dev/null 2>&1
echo "$COMMAND" > /run/command
say recording

strata-mark 1
sh /run/command > /run/strata/output 2>&1
status=$?
strata-mark 2

[ "$status" = 0 ] || cat /run/strata/output > /dev/console
say "status $status"
send "$DOM0_ADDRESS" 7101
poweroff -f
