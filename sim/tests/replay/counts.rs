//! What is counted, and for whom.

use crate::stream::{DATA, Step, batches, initial, replay};
use crate::{ByPage, rows, run, vee07};
use strata_sim::{Extent, Nameless, Profile, Replay};
use strata_symbols::{DomainId, Layer};

#[test]
fn each_instruction_is_charged_to_the_function_it_lies_in_even_in_the_middle_of_a_block() {
    let profile =
        replay(&vee07(), ByPage, batches(&[run(0), run(1), run(2)], 50), Extent::default());
    let kernel = Layer::Kernel(DomainId(1));
    let seen: Vec<_> = rows(&profile)
        .into_iter()
        .map(|(l, n, c)| (l, n, c.instructions, c.dtlb.accesses))
        .collect();
    assert_eq!(
        seen,
        [
            (Layer::Hypervisor, "page_0".to_owned(), 3, 2),
            (kernel, "page_0".to_owned(), 1, 0),
            (kernel, "page_1".to_owned(), 1, 1),
            (Layer::User(DomainId(1)), "page_2".to_owned(), 4, 2),
        ]
    );
}

#[test]
fn a_delivery_is_charged_to_the_handler_and_can_be_switched_off() {
    let steps = [run(2), Step::Fault(DATA), run(0)];
    let mut machine = vee07();
    let with = replay(&machine, ByPage, batches(&steps, 50), Extent::default());
    machine.set("event-delivery", "off").expect("a known key");
    let without = replay(&machine, ByPage, batches(&steps, 50), Extent::default());
    let handler = |profile: &Profile| rows(profile)[1].2;
    // Gate, descriptor and RSP0; SS, RSP, RFLAGS, CS, RIP and the error code.
    assert_eq!(
        handler(&with).levels[0].reads.accesses,
        handler(&without).levels[0].reads.accesses + 3
    );
    assert_eq!(
        handler(&with).levels[0].writes.accesses,
        handler(&without).levels[0].writes.accesses + 6
    );
    assert_eq!(
        (with.remarks.synthesised_references, without.remarks.synthesised_references),
        (9, 0)
    );
    assert_eq!(with.total.instructions, without.total.instructions);
}

#[test]
fn accesses_of_an_instruction_that_faulted_count_and_its_fetch_does_not() {
    let profile = replay(&vee07(), ByPage, batches(&[run(3)], 50), Extent::default());
    assert_eq!((profile.total.instructions, profile.total.l1i().accesses), (1, 1));
    assert_eq!(profile.total.dtlb.accesses, 1);
}

#[test]
fn every_iteration_of_a_rep_makes_its_accesses_and_the_instruction_counts_once() {
    let profile = replay(&vee07(), ByPage, batches(&[run(4)], 50), Extent::default());
    assert_eq!((profile.total.instructions, profile.total.rep_iterations), (2, 3));
    assert_eq!(
        (profile.total.levels[0].reads.accesses, profile.total.levels[0].writes.accesses),
        (3, 3)
    );
}

#[test]
fn a_range_beyond_the_trace_is_an_error_that_says_where_the_trace_ends() {
    let extent = Extent { range: 1000..2000, warm_up: 0 };
    let mut replay = Replay::new(&vee07(), Nameless, initial(), extent);
    for mut batch in batches(&[run(0)], 50) {
        replay.batch(&mut batch);
    }
    let error = replay.finish().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("the trace ends at instruction 3"), "{error}");
}
