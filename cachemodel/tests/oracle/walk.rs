//! Page walks and the caches that shorten them.

use strata_cachemodel::{Mapping, NestedWalk, PageWalk, TableWalk, Vendor, WalkSpec};

use crate::events::{Context, Event, Tags};
use crate::rules::Candidate;

/// Lowest address bits that entries of each paging-structure cache do not share: those of the PDE
/// cache first.
const SHIFTS: [u32; 4] = [21, 30, 39, 48];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    tags: Tags,
    /// Address bits above the shift; in the nested cache a guest-physical frame.
    number: u64,
}

/// One fully associative cache, the entry used last in front.
#[derive(Debug, Clone)]
struct Recent {
    entries: Vec<Known>,
    most: usize,
}

impl Recent {
    fn new(most: u32) -> Self {
        Self { entries: Vec::new(), most: most as usize }
    }

    fn knows(&self, known: Known) -> bool {
        self.entries.contains(&known)
    }

    fn touch(&mut self, known: Known) {
        self.entries.retain(|entry| *entry != known);
        self.entries.insert(0, known);
        self.entries.truncate(self.most);
    }
}

/// The paging-structure caches of one CPU.
#[derive(Debug, Clone)]
pub(crate) struct Walker {
    /// In the order of `SHIFTS`.
    structures: [Recent; 4],
    nested: Recent,
}

impl Walker {
    pub(crate) fn new(spec: &WalkSpec) -> Self {
        let sizes = [spec.pde_cache, spec.pdpte_cache, spec.pml4_cache, spec.pml5_cache];
        Self { structures: sizes.map(Recent::new), nested: Recent::new(spec.nested_cache) }
    }

    /// Physical addresses that the walk for `va` reads, in order.
    pub(crate) fn walk(&mut self, va: u64, walk: &PageWalk, context: &Context) -> Vec<u64> {
        let mut reads = Vec::new();
        match walk {
            PageWalk::Plain(tables) => {
                let start = self.first_level(va, tables, context);
                for level in start..tables.levels() {
                    reads.push(tables.entry(level, va).0);
                    self.remember(va, tables, level, context);
                }
            }
            PageWalk::Nested(walk) => self.walk_nested(va, walk, context, &mut reads),
        }
        reads
    }

    fn walk_nested(&mut self, va: u64, walk: &NestedWalk, context: &Context, reads: &mut Vec<u64>) {
        let tables = &walk.guest;
        let start = self.first_level(va, tables, context);
        for level in start..tables.levels() {
            // What is known of the table where a shortened walk begins is where it is in memory.
            if level == 0 || level > start {
                self.translate_nested(walk, level, context, reads);
            }
            reads.push(tables.entry(level, va).0);
            self.remember(va, tables, level, context);
        }
        self.translate_nested(walk, tables.levels(), context, reads);
    }

    fn translate_nested(
        &mut self,
        walk: &NestedWalk,
        which: usize,
        context: &Context,
        reads: &mut Vec<u64>,
    ) {
        let frame = walk.guest_frames[which];
        let known = Known { tags: nested_tags(context), number: frame };
        if !self.nested.knows(known) {
            let tables = &walk.nested[which];
            reads.extend((0..tables.levels()).map(|level| tables.entry(level, frame << 12).0));
        }
        self.nested.touch(known);
    }

    /// Where the walk begins: the table behind the deepest entry that is known, else the root.
    fn first_level(&mut self, va: u64, tables: &TableWalk, context: &Context) -> usize {
        for level in (1..tables.levels()).rev() {
            let Some((cache, known)) = behind(va, tables, level - 1, context) else { continue };
            if self.structures[cache].knows(known) {
                self.structures[cache].touch(known);
                return level;
            }
        }
        0
    }

    /// The walk passed the entry of table `level`.
    fn remember(&mut self, va: u64, tables: &TableWalk, level: usize, context: &Context) {
        if level + 1 == tables.levels() {
            return;
        }
        if let Some((cache, known)) = behind(va, tables, level, context) {
            self.structures[cache].touch(known);
        }
    }

    pub(crate) fn control(&mut self, event: Event, context: &Context) {
        for (cache, shift) in self.structures.iter_mut().zip(SHIFTS) {
            cache.entries.retain(|known| {
                let serves = |va: u64| va << 7 >> 7 >> shift == known.number;
                let tags = known.tags;
                let start = known.number << shift;
                !context.drops(event, &Candidate { tags, serves: &serves, start, structure: true })
            });
        }
        self.nested.entries.retain(|known| !drops_nested(context, event, known));
    }
}

/// The cache that keeps the entry of table `level`, and under what.
fn behind(va: u64, tables: &TableWalk, level: usize, context: &Context) -> Option<(usize, Known)> {
    let shift = tables.index_shift(level);
    let cache = SHIFTS.iter().position(|&known| known == shift)?;
    let tags = Tags { global: false, ..context.tags(Mapping::identity(0)) };
    Some((cache, Known { tags, number: va << 7 >> 7 >> shift }))
}

fn nested_tags(context: &Context) -> Tags {
    let nested_root = context.guest.and_then(|guest| guest.nested_root);
    let (asid, nested_root) = match context.vendor {
        Vendor::Amd => (context.place().0, None),
        _ => (0, nested_root),
    };
    Tags { asid, nested_root, pcid: 0, domain: 0, space: 0, global: false }
}

fn drops_nested(context: &Context, event: Event, known: &Known) -> bool {
    let amd = context.vendor == Vendor::Amd;
    match event {
        Event::Invept { kind: 1, root } => known.tags.nested_root == Some(root),
        Event::Invept { kind: 2, .. } | Event::Reset => true,
        Event::EptViolation { gpa, .. } => {
            known.tags == nested_tags(context) && known.number == gpa >> 12
        }
        Event::SystemManagement => true,
        Event::Invlpgb(named) => {
            let guest = context.guest.map(|guest| guest.asid);
            let asid = guest.or(named.asid);
            amd && named.nested && asid.is_none_or(|asid| known.tags.asid == asid)
        }
        Event::GuestEntry { tlb_control: 1, .. } => amd,
        Event::GuestEntry { tlb_control: 3 | 7, asid, .. } => amd && known.tags.asid == asid,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walker(pde: u32) -> (Walker, Context) {
        let machine = strata_cachemodel::preset::named("vee07").unwrap();
        let spec = WalkSpec { pde_cache: pde, nested_cache: 8, ..WalkSpec::default() };
        (Walker::new(&spec), Context::new(&machine))
    }

    #[test]
    fn a_known_page_directory_entry_leaves_one_read() {
        let (mut walker, context) = walker(1);
        let walk = PageWalk::Plain(TableWalk::new(&[1, 2, 3, 4], 12));
        assert_eq!(walker.walk(0x1000, &walk, &context), [0x1000, 0x2000, 0x3000, 0x4008]);
        assert_eq!(walker.walk(0x2000, &walk, &context), [0x4010]);
        let large = PageWalk::Plain(TableWalk::new(&[1, 2, 3], 21));
        assert_eq!(walker.walk(0x3000, &large, &context).len(), 3);
        walker.control(Event::Invlpg(0x8000_0000), &context);
        assert_eq!(walker.walk(0x4000, &walk, &context).len(), 4);
    }

    /// Four guest tables and the page, each behind a nested walk of four: 24 reads.
    #[test]
    fn a_walk_in_two_dimensions_reads_24_entries_and_what_is_known_less() {
        let (mut walker, context) = walker(0);
        let nested = TableWalk::new(&[10, 11, 12, 13], 12);
        let guest = TableWalk::new(&[1, 2, 3, 4], 12);
        let guest_frames = [21, 22, 23, 24, 25, 0];
        let walk = NestedWalk { guest, guest_frames, nested: [nested; 6] };
        assert_eq!(walker.walk(0x1000, &PageWalk::Nested(walk), &context).len(), 24);
        assert_eq!(walker.walk(0x1000, &PageWalk::Nested(walk), &context).len(), 4);
        let other_page = NestedWalk { guest_frames: [21, 22, 23, 24, 26, 0], ..walk };
        assert_eq!(walker.walk(0x2000, &PageWalk::Nested(other_page), &context).len(), 8);
    }
}
