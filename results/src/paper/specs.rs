//! Titles of the figures, what the paper has there, and the commands that tell more.

/// What is known of a figure beforehand.
pub(super) struct Spec {
    number: &'static str,
    pub(super) title: &'static str,
    /// What it shows in the paper.
    pub(super) paper: &'static str,
    /// The command that tells more.
    pub(super) command: &'static str,
}

pub(super) fn spec(number: &str) -> &'static Spec {
    SPECS.iter().find(|spec| spec.number == number).unwrap_or(&SPECS[0])
}

const fn of(
    number: &'static str,
    title: &'static str,
    paper: &'static str,
    command: &'static str,
) -> Spec {
    Spec { number, title, paper, command }
}

const SPECS: [Spec; 18] = [
    of(
        "3",
        "Annotated instruction flow",
        "Functions entered around a timer interrupt that ends in dom0, with their modules.",
        "strata annotate CAPTURE",
    ),
    of(
        "4",
        "The flow with counts of caches and TLBs",
        "The rows of Figure 3 with 26 counters each.",
        "strata annotate CAPTURE --stats",
    ),
    of(
        "5",
        "How the numbers come about",
        "The simulator, the trace it writes and the symbols that are matched with it.",
        "strata info CAPTURE",
    ),
    of(
        "6",
        "The life of a packet",
        "Four parts: (a) the guest, (b) grants, (c) the switch, (d) dom0.",
        "strata life CAPTURE",
    ),
    of(
        "7",
        "In the guest: socket, copy, TCP write",
        "Functions of part (a) with instructions since the first.",
        "strata flow CAPTURE --stage socket-to-tcp-write",
    ),
    of(
        "8",
        "TCP transmit and grant, into the hypervisor",
        "Functions between parts (a) and (b).",
        "strata flow CAPTURE --stage tcp-transmit-to-event-channel",
    ),
    of(
        "9",
        "Timer interrupt and switch to dom0",
        "Functions between parts (b) and (c).",
        "strata flow CAPTURE --stage timer-to-context-switch",
    ),
    of(
        "10",
        "In dom0: grant, bridge, driver, event back",
        "Functions of part (d).",
        "strata flow CAPTURE --stage dom0-receive-to-event-back",
    ),
    of(
        "11a",
        "TLB misses, switches and flushes",
        "A snippet: misses are highly correlated with switches and flushes.",
        "strata timeline CAPTURE --window 1k",
    ),
    of(
        "11b",
        "TLB misses and VM switches",
        "Cumulative misses surge at each VM switch.",
        "strata timeline CAPTURE",
    ),
    of(
        "11c",
        "TLB misses after a VM switch",
        "A new CR3 empties the TLBs, and every page touched then misses.",
        "strata timeline CAPTURE --marks vm-switch",
    ),
    of(
        "11d",
        "TLB misses after a grant destroy",
        "Revoking a grant flushes the TLB explicitly, with the same effect.",
        "strata timeline CAPTURE --marks grant-unmap",
    ),
    of(
        "12",
        "Cache misses and VM switches",
        "The rate of cache misses rises with VM switches.",
        "strata timeline CAPTURE --marks vm-switch",
    ),
    of(
        "13",
        "L2 size, transmit",
        "Good scaling up to 4 MB, little gain after, next to none beyond 8 MB.",
        "strata sweep CAPTURE --l2-size 512KiB..32MiB",
    ),
    of(
        "14",
        "TLB entries, transmit",
        "DTLB misses fall up to 128 entries, sharply from 64 to 128; ITLB misses fall slightly.",
        "strata sweep CAPTURE --tlb-entries 16..1024",
    ),
    of("15", "L2 size, receive", "As Figure 13.", "strata sweep CAPTURE --l2-size 512KiB..32MiB"),
    of(
        "16",
        "TLB entries, receive",
        "As Figure 14.",
        "strata sweep CAPTURE --tlb-entries 16..1024",
    ),
    of(
        "17",
        "A global bit for the hypervisor's pages, transmit",
        "It reduces DTLB misses substantially and ITLB misses to a lesser extent.",
        "strata sweep CAPTURE --tlb-entries 16..1024 --tags none,architectural,global-hypervisor,vpid",
    ),
];
