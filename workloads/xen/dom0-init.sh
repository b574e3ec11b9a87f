#!/bin/sh
# First program of dom0.
NAME=dom0
. /etc/strata/common.sh
. /etc/strata/capture.conf
mount_all
mkdir -p /run/xen /run/xenstored /run/lock
load_modules
mount -t xenfs xenfs /proc/xen

export LD_LIBRARY_PATH="$XEN_LIBRARIES"
"$XEN_PROGRAMS/xenstored" --pid-file /run/xenstored.pid || fail "xenstored did not start"
"$XEN_PROGRAMS/xen-init-dom0" > /run/strata/xen-init-dom0.log 2>&1 || fail "xen-init-dom0 failed"
"$XEN_PROGRAMS/xenconsoled" --pid-file=/run/xenconsoled.pid || fail "xenconsoled did not start"

# On a deterministic path the outside world stays unplugged until the recording is over.
plug_in() { ip link set eth0 up; brctl addif xenbr0 eth0; }
ip link set lo up
brctl addbr xenbr0
ip link set xenbr0 up
ip addr add "$DOM0_ADDRESS/24" dev xenbr0
[ -e /sys/class/net/eth0 ] || fail "no network card (eth0)"
[ "$OUTSIDE" = yes ] && plug_in
if [ "$SERVER" = dom0 ]; then
    iperf3 -s -D > /dev/null 2>&1 || fail "the iperf3 server did not start"
fi

cat /boot/guest.cpio /etc/strata/guest-settings.cpio > /run/guest.cpio
# Answers of the guest's requests: its connection closes when one is done.
cat > /run/answer.sh <<'ANSWER'
#!/bin/sh
. /etc/strata/common.sh
census /run/strata/processes
ANSWER
# The event trace is longer than the recording at both ends.
cat > /run/begin.sh <<'BEGIN'
#!/bin/sh
. /etc/strata/capture.conf
mkdir /run/strata/events
# Discards what earlier events left in Xen's buffers, and writes until it is interrupted.
"$XEN_PROGRAMS/xentrace" -D -S 256 -e all /run/strata/events/xentrace.bin \
    < /dev/null > /run/strata/xentrace.log 2>&1 &
echo "$!" > /run/xentrace.pid
sleep 1
strata-mark 1
BEGIN
cat > /run/end.sh <<'END'
#!/bin/sh
strata-mark 2
kill -INT "$(cat /run/xentrace.pid)"
END
chmod 755 /run/*.sh
nc -l -p 7100 -e /run/answer.sh > /dev/null 2>&1 &
if [ "$EVENTS" = yes ]; then
    nc -l -p 7102 -e /run/begin.sh > /dev/null 2>&1 &
    nc -l -p 7103 -e /run/end.sh > /dev/null 2>&1 &
fi
# An input that says nothing and does not end either: at the end of their input nc would hang up
# and the console detach.
mkfifo /run/silence
# Takes the guest's files.
nc -l -p 7101 0<> /run/silence > /run/strata/dom1.tar &
say up

# Shows the guest's console until the guest ends.
"$XEN_PROGRAMS/xl" create -c /etc/xen/guest.cfg \
    0<> /run/silence > /dev/console 2> /run/strata/xl.log || {
    cat /run/strata/xl.log > /dev/console
    fail "xl create failed"
}

[ "$OUTSIDE" = yes ] || plug_in
if [ "$EVENTS" = yes ]; then
    xenalyze --svm-mode --summary --with-pio-enumeration --with-mmio-enumeration \
        /run/strata/events/xentrace.bin > /run/strata/events/xenalyze-summary.txt \
        2> /run/strata/xenalyze.log || fail "xenalyze failed"
fi
census /run/strata/processes
"$XEN_PROGRAMS/xl" dmesg > /run/strata/xen-dmesg 2>&1
"$XEN_PROGRAMS/xl" info > /run/strata/xen-info 2>&1
send "$COLLECTOR" 7000
while :; do sleep 1000; done
