#!/bin/sh
# First program of the machine that runs KVM.
NAME=linux
. /etc/strata/common.sh
. /etc/strata/capture.conf
mount_all
mount -t tracefs tracefs /sys/kernel/tracing
echo -1 > /proc/sys/kernel/perf_event_paranoid
load_modules
[ -e /dev/kvm ] || fail "kvm-amd found no processor it can use (/dev/kvm)"
say up

# trace FILE COMMAND…: runs it while perf writes what happens into a file.
trace() {
    data=$1
    shift
    perf record -q -a -m 512 -e 'kvm:*' -e irq:irq_handler_entry -e irq:irq_handler_exit \
        -e sched:sched_switch -o "$data" -- "$@" > /run/perf.log 2>&1
}
# report EVENT: perf's own account. It goes to perf's error stream, after complaints about trace
# points that its library cannot read.
report() { perf kvm -i events/perf.data stat report --event "$1" 2>&1 | sed -n '/^Analyze/,$p'; }

cat > /run/marked.sh <<'MARKED'
strata-mark 1
sh /run/command > /run/strata/output 2>&1
status=$?
strata-mark 2
echo "$status" > /run/status
MARKED
echo "$COMMAND" > /run/command
watch_warm_up trace /run/warm-up.data sh /run/command
rm -f /run/warm-up.data
say recording
mkdir /run/strata/events
trace /run/strata/events/perf.data sh /run/marked.sh || {
    cat /run/perf.log > /dev/console
    fail "perf record failed"
}
status=$(cat /run/status)
[ "$status" = 0 ] || cat /run/strata/output > /dev/console
say "status $status"

cd /run/strata
perf script --ns -i events/perf.data > events/perf-script.txt 2>> perf.log
{ report vmexit; report ioport; report mmio; } > events/perf-kvm-stat.txt

# The network was of no use until now.
ip link set eth0 up
ip addr add "$ADDRESS/24" dev eth0
send "$COLLECTOR" 7000
while :; do sleep 1000; done
