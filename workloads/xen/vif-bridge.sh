#!/bin/sh
# Called by libxl when the guest's interface comes or goes: $1 is online, offline, add or remove;
# libxl sets vif, bridge and XENBUS_PATH.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
case "$1" in
online | add)
    ip link set "$vif" up
    brctl addif "${bridge:-xenbr0}" "$vif"
    xenstore-write "$XENBUS_PATH/hotplug-status" connected
    ;;
esac
exit 0
