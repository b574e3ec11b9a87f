//! Many sizes and schemes at once against TLBs that are run one by one.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::against_naive::{Step, Tables, mix, step};
use super::naive_rules::Context;
use crate::counts::Counts;
use crate::machine::{Machine, TagScheme};
use crate::page::{Mapping, PageSize};
use crate::translation::{ControlEvent, ControlRegisters, Side, Sizes, TlbSizes, TranslationUnit};

const SCHEMES: [&str; 8] = [
    "none",
    "architectural",
    "global-hypervisor",
    "vpid",
    "pcid",
    "vpid+pcid",
    "global-hypervisor+vpid",
    "global-hypervisor+pcid",
];

fn machine(vendor: &str, tags: &str, itlb: u64, dtlb: u64) -> Machine {
    Machine::from_toml(&format!(
        "name = \"m\"\ntags = \"{tags}\"\nvendor = \"{vendor}\"\n\
         [l1]\nsize = 64\nways = 1\nline-size = 64\n\
         [itlb]\nentries = {itlb}\nways = \"full\"\n[dtlb]\nentries = {dtlb}\nways = \"full\"\n"
    ))
    .unwrap()
}

/// A machine's TLBs, and what they counted.
struct Alone {
    unit: TranslationUnit,
    tags: TagScheme,
    sizes: [u64; 2],
    counts: Counts,
}

impl Alone {
    fn access(&mut self, side: Side, va: u64, mapping: Mapping, now: u64) {
        let tlb = match side {
            Side::Instruction => &mut self.counts.itlb,
            Side::Data => &mut self.counts.dtlb,
        };
        if self.unit.front(side, va, now).is_some() {
            tlb.all.add(false);
            return;
        }
        let found = self.unit.look_up(side, va, mapping, now);
        tlb.all.add(found.missed);
        tlb.stale_hits += u64::from(found.stale);
        self.counts.walks.walks += u64::from(found.missed);
    }

    fn counted(&self) -> Counts {
        let mut counts = self.counts;
        [counts.itlb.flushed, counts.dtlb.flushed, _] = self.unit.flushed();
        counts.flushes = self.unit.flush_counts();
        counts
    }
}

/// The page of an address has always the same size and is always global or not.
fn steady(tables: &Tables, va: u64, context: &Context) -> Mapping {
    let size = PageSize::ALL[(mix(&[va >> 30]) % 3) as usize];
    let page = mix(&[va >> size.shift()]);
    let space = mix(&[context.registers().cr3 >> 12]) % 2;
    let base = (mix(&[page, space, tables.version(va)]) & 0xff) << 18;
    Mapping::new(base + (va >> 12 & size.inner_mask()), size)
        .with_global(page >> 16 & 3 == 0)
        .with_hypervisor(page >> 20 & 3 == 0)
        .with_device(page >> 24 & 7 == 0)
}

/// Runs all at once and each alone. Returns how many could not be told at once.
fn compare(
    vendor: &str,
    sizes: [&[u64]; 2],
    steps: &[Step],
    mapping: impl Fn(&Tables, u64, &Context) -> Mapping,
) -> Result<usize, TestCaseError> {
    let tags: Vec<TagScheme> = SCHEMES.iter().map(|tags| tags.parse().unwrap()).collect();
    let mut alone = Vec::new();
    for (name, &tags) in SCHEMES.iter().zip(&tags) {
        for (&itlb, &dtlb) in sizes[0].iter().zip(sizes[1]) {
            let machine = machine(vendor, name, itlb, dtlb);
            assert!(TlbSizes::fit(&machine));
            let unit = TranslationUnit::new(&machine, 0);
            alone.push(Alone { unit, tags, sizes: [itlb, dtlb], counts: Counts::default() });
        }
    }
    let filter = machine(vendor, "none", sizes[0][0], sizes[1][0]);
    let [itlb, dtlb] = sizes.map(<[u64]>::to_vec);
    let wanted = TlbSizes { itlb, dtlb, tags };
    let mut at_once = TranslationUnit::new(&filter, 0);
    at_once.filter_for(Sizes::new(&filter, &wanted));
    let mut context = Context::new(&filter);
    let mut tables = Tables { versions: Default::default() };
    for (now, step) in (1..).zip(steps) {
        match *step {
            Step::Access { side, va } => {
                let mapping = mapping(&tables, va, &context);
                alone.iter_mut().for_each(|alone| alone.access(side, va, mapping, now));
                if at_once.front(side, va, now).is_none() {
                    at_once.look_up(side, va, mapping, now);
                    at_once.sizes().unwrap().settle(side);
                }
            }
            Step::Event(event) => {
                for alone in &mut alone {
                    alone.unit.control(event);
                }
                at_once.control(event);
                if context.happens(event) {
                    context.apply(event);
                }
            }
            Step::Remap { va, bytes } => {
                tables.change(va, bytes);
                alone.iter_mut().for_each(|alone| alone.unit.forget_translation(va, bytes));
                at_once.forget_translation(va, bytes);
            }
            Step::SetRegisters(registers) => {
                alone.iter_mut().for_each(|alone| alone.unit.set_registers(registers));
                at_once.set_registers(registers);
                context.set_registers(registers);
            }
        }
    }
    let sizes = at_once.sizes().unwrap();
    let mut lost = 0;
    for alone in &alone {
        let [itlb, dtlb] = alone.sizes;
        let expected = alone.counted();
        let Some(sized) = sizes.counts(itlb, dtlb, alone.tags) else {
            lost += 1;
            continue;
        };
        let mut found = Counts::default();
        found.itlb.all.accesses = expected.itlb.all.accesses;
        found.dtlb.all.accesses = expected.dtlb.all.accesses;
        sized.replace_in(&mut found);
        prop_assert_eq!(found, expected, "{:?} {:?}", alone.tags, alone.sizes);
    }
    Ok(lost)
}

/// Rising sizes for both sides.
fn sizes() -> impl Strategy<Value = [Vec<u64>; 2]> {
    let of_side = || proptest::collection::btree_set(1..24u64, 4);
    (of_side(), of_side()).prop_map(|(itlb, dtlb)| [itlb, dtlb].map(Vec::from_iter))
}

fn vendor() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["intel", "amd", "intel-p6"])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..600)
}

proptest! {
    #[test]
    fn all_sizes_at_once_are_each_alone(vendor in vendor(), sizes in sizes(), steps in steps()) {
        let [itlb, dtlb] = &sizes;
        compare(vendor, [itlb, dtlb], &steps, Tables::mapping)?;
    }

    #[test]
    fn pages_that_keep_size_and_globality_are_followed(
        vendor in vendor(),
        sizes in sizes(),
        mut steps in steps(),
    ) {
        // Which global entries a change of PAE or SMEP drops depends on the PCID they were made
        // under; without PGE pages are not global.
        const CONSTANT: u64 = 1 << 5 | 1 << 7 | 1 << 20;
        steps.retain(|step| !matches!(step, Step::Event(ControlEvent::Reset)));
        for step in &mut steps {
            if let Step::Event(ControlEvent::WriteCr4(cr4))
            | Step::SetRegisters(ControlRegisters { cr4, .. }) = step
            {
                *cr4 = *cr4 & !CONSTANT | ControlRegisters::default().cr4 & CONSTANT;
            }
        }
        let [itlb, dtlb] = &sizes;
        let lost = compare(vendor, [itlb, dtlb], &steps, steady)?;
        prop_assert_eq!(lost, 0);
    }
}

/// `c b a FLUSH c` with c global, in two entries: c was the oldest and is gone, so 4 misses. Were
/// it kept in order when a and b go, it would be found.
#[test]
fn what_survives_a_flush_keeps_its_depth() -> TestCaseResult {
    let page = |number: u64| Step::Access { side: Side::Data, va: number << 12 };
    let [a, b, c] = [1, 2, 3];
    let steps = [page(c), page(b), page(a), Step::Event(ControlEvent::WriteCr3(0x9000)), page(c)];
    let mapping = |_: &Tables, va: u64, _: &Context| {
        Mapping::new(va >> 12, PageSize::Size4K).with_global(va >> 12 == c)
    };
    let sizes: &[u64] = &[1, 2, 3, 4];
    assert_eq!(compare("intel", [sizes, sizes], &steps, mapping)?, 0);
    let filter = machine("intel", "none", 1, 1);
    let tags = vec![TagScheme::Architectural];
    let wanted = TlbSizes { itlb: vec![1], dtlb: vec![1, 2, 3], tags };
    let mut unit = TranslationUnit::new(&filter, 0);
    unit.filter_for(Sizes::new(&filter, &wanted));
    let context = Context::new(&filter);
    let tables = Tables { versions: Default::default() };
    for (now, step) in (1..).zip(&steps) {
        match *step {
            Step::Access { side, va } => {
                unit.look_up(side, va, mapping(&tables, va, &context), now);
                unit.sizes().unwrap().settle(side);
            }
            Step::Event(event) => {
                unit.control(event);
            }
            _ => unreachable!("the steps above are of two kinds"),
        }
    }
    let misses = [2, 3].map(|size| {
        let mut counts = Counts::default();
        counts.dtlb.all.accesses = 4;
        let sized = unit.sizes().unwrap().counts(1, size, TagScheme::Architectural).unwrap();
        sized.replace_in(&mut counts);
        counts.dtlb.all.misses
    });
    assert_eq!(misses, [4, 3]);
    Ok(())
}
