# Shared by the first programs of all machines. Sourced, never run.

export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root

# Lines that begin with "strata:" are read by `strata capture`.
say() { echo "strata: $NAME $*" > /dev/console; }

# Ends the capture with a reason.
fail() { say "failed $*"; while :; do sleep 1000; done; }

mount_all() {
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev
    mkdir -p /dev/pts /run/strata
    mount -t devpts pts /dev/pts
    mount -t tmpfs run /run
    mkdir -p /run/strata
    echo 0 > /proc/sys/kernel/kptr_restrict
}

# Loads the modules listed in dependency order.
load_modules() {
    while read -r module; do
        insmod "$module" || fail "could not load the kernel module $module"
    done < /etc/strata/modules
}

# census FILE: appends each process with its executable mappings.
census() {
    for directory in /proc/[0-9]*; do
        [ -e "$directory/exe" ] || continue
        { echo "process ${directory#/proc/} $(tr '\0' ' ' < "$directory/cmdline")"
          grep '^[^ ]* ..x' "$directory/maps"; } 2> /dev/null >> "$1"
    done
}

# watch_warm_up COMMAND…: runs it, with a census all the while. The warm-up settles page tables,
# caches of the kernel and connections.
watch_warm_up() {
    "$@" > /run/warm-up.log 2>&1 &
    warm_up=$!
    while kill -0 "$warm_up" 2> /dev/null; do
        census /run/strata/processes
        usleep 100000
    done
    wait "$warm_up" || { cat /run/warm-up.log > /dev/console; fail "the warm-up failed: $*"; }
}

# send ADDRESS PORT: kallsyms and whatever lies in /run/strata, as a tar.
send() {
    cat /proc/kallsyms > /run/strata/kallsyms
    cat /proc/modules > /run/strata/modules
    cat /sys/kernel/notes > /run/strata/notes
    uname -r > /run/strata/release
    tar -c -f /run/strata.tar -C /run/strata .
    say "sending $(stat -c %s /run/strata.tar)"
    nc "$1" "$2" < /run/strata.tar > /dev/null
}
