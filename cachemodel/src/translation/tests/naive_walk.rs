//! Page walks restated from `docs/models.md`.

use super::naive_rules::{Context, Tags};
use crate::machine::{Machine, Vendor, WalkSpec};
use crate::page::Mapping;
use crate::translation::ControlEvent as Event;
use crate::translator::{NestedWalk, PageWalk, TableWalk};

/// The entry used last in front.
#[derive(Debug)]
struct Recent {
    entries: Vec<(Tags, u64)>,
    most: usize,
}

impl Recent {
    fn touch(&mut self, tags: Tags, number: u64) {
        self.entries.retain(|&entry| entry != (tags, number));
        self.entries.insert(0, (tags, number));
        self.entries.truncate(self.most);
    }
}

#[derive(Debug)]
pub(super) struct NaiveWalker {
    /// Of PML5, PML4, PDPT and page-directory entries.
    upper: [(u32, Recent); 4],
    nested: Recent,
    vendor: Vendor,
}

fn number(va: u64, shift: u32) -> u64 {
    va << 7 >> 7 >> shift
}

impl NaiveWalker {
    pub(super) fn new(machine: &Machine) -> Self {
        let recent = |most: u32| Recent { entries: Vec::new(), most: most as usize };
        let WalkSpec { pml5_cache, pml4_cache, pdpte_cache, pde_cache, nested_cache, .. } =
            *machine.walk();
        Self {
            upper: [
                (48, recent(pml5_cache)),
                (39, recent(pml4_cache)),
                (30, recent(pdpte_cache)),
                (21, recent(pde_cache)),
            ],
            nested: recent(nested_cache),
            vendor: machine.vendor(),
        }
    }

    pub(super) fn walk(&mut self, va: u64, walk: &PageWalk, context: &Context) -> Vec<u64> {
        let mut reads = Vec::new();
        let (guest, nested) = match walk {
            PageWalk::Plain(tables) => (tables, None),
            PageWalk::Nested(walk) => (&walk.guest, Some(walk)),
        };
        let own = context.tags_for(Mapping::identity(0));
        // Table `level + 1` is known from the entry of table `level`.
        let known = (0..guest.levels() - 1).rev().find(|&level| {
            let shift = guest.index_shift(level);
            let Some((_, cache)) = self.upper.iter_mut().find(|(of, _)| *of == shift) else {
                return false;
            };
            let entry = (own, number(va, shift));
            let found = cache.entries.contains(&entry);
            if found {
                cache.touch(entry.0, entry.1);
            }
            found
        });
        let start = known.map_or(0, |level| level + 1);
        for level in start..guest.levels() {
            if let Some(walk) = nested.filter(|_| level > start || known.is_none()) {
                self.translate(walk, level, context, &mut reads);
            }
            reads.push(guest.entry(level, va).0);
        }
        if let Some(walk) = nested {
            self.translate(walk, guest.levels(), context, &mut reads);
        }
        for level in start..guest.levels() - 1 {
            let shift = guest.index_shift(level);
            if let Some((_, cache)) = self.upper.iter_mut().find(|(of, _)| *of == shift) {
                cache.touch(own, number(va, shift));
            }
        }
        reads
    }

    fn nested_tags(&self, context: &Context) -> Tags {
        match self.vendor {
            Vendor::Amd => Tags { asid: context.asid(), ..Tags::default() },
            _ => Tags { root: context.root(), ..Tags::default() },
        }
    }

    fn translate(
        &mut self,
        walk: &NestedWalk,
        which: usize,
        context: &Context,
        reads: &mut Vec<u64>,
    ) {
        let frame = walk.guest_frames[which];
        let tags = self.nested_tags(context);
        if !self.nested.entries.contains(&(tags, frame)) {
            let tables: &TableWalk = &walk.nested[which];
            reads.extend((0..tables.levels()).map(|level| tables.entry(level, frame << 12).0));
        }
        self.nested.touch(tags, frame);
    }

    /// `context` is that before the event.
    pub(super) fn control(&mut self, event: Event, context: &Context) {
        for (shift, cache) in &mut self.upper {
            cache.entries.retain(|&(tags, kept)| {
                !context.drops(event, tags, &|va| number(va, *shift) == kept, true)
            });
        }
        let amd = self.vendor == Vendor::Amd;
        let here = self.nested_tags(context);
        self.nested.entries.retain(|&(tags, frame)| {
            !match event {
                Event::Reset | Event::SystemManagement => true,
                Event::Invept { kind: 1, root } => tags.root == Some(root & 0x000f_ffff_ffff_f000),
                Event::Invept { kind: 2, .. } => tags.root.is_some(),
                Event::EptViolation { gpa, .. } => {
                    context.root().is_some() && tags == here && frame == gpa >> 12
                }
                Event::GuestEntry { tlb_control, asid, .. } if amd => {
                    tlb_control == 1 || matches!(tlb_control, 3 | 7) && tags.asid == asid
                }
                Event::Invlpgb(broadcast) if amd && broadcast.nested => {
                    let here = context.asid();
                    let asid = if here == 0 { broadcast.asid } else { Some(here) };
                    asid.is_none_or(|asid| tags.asid == asid)
                }
                // On Intel no INVLPGB exists; told nevertheless, it is of all.
                Event::Invlpgb(broadcast) => {
                    let asid =
                        if context.asid() == 0 { broadcast.asid } else { Some(context.asid()) };
                    broadcast.nested && asid.is_none_or(|asid| asid == 0)
                }
                _ => false,
            }
        });
    }
}
