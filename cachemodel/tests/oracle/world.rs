//! Page tables for random streams: what is behind each address in each address space.

use std::collections::HashMap;

use strata_cachemodel::{Mapping, NestedWalk, PageSize, PageWalk, TableWalk, Translator};

use crate::events::Context;

/// Few, so that pages share frames.
pub(crate) const FRAMES: u64 = 12;

/// An address space: of a guest (by its nested root) or the host, and its CR3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Space {
    guest: Option<(u16, Option<u64>)>,
    cr3: u64,
}

impl Space {
    pub(crate) fn of(context: &Context) -> Self {
        let guest = context.guest.map(|guest| (guest.asid, guest.nested_root));
        Self { guest, cr3: context.registers.cr3 >> 12 & 0xff_ffff }
    }

    fn number(self) -> u64 {
        let guest = self.guest.map_or(0, |(asid, root)| 7 + u64::from(asid) + root.unwrap_or(0));
        self.cr3 + 3 * guest
    }
}

/// The page tables: what was never mapped is mapped somewhere all the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    remapped: HashMap<(Space, u64), Mapping>,
}

/// What the world says of one address space.
pub(crate) struct View<'a> {
    pub(crate) world: &'a World,
    pub(crate) space: Space,
}

impl World {
    pub(crate) fn remap(&mut self, space: Space, va: u64, mapping: Mapping) {
        self.remapped.insert((space, va >> 12), mapping);
    }

    fn mapping(&self, space: Space, va: u64) -> Mapping {
        let page = va >> 12;
        self.remapped.get(&(space, page)).copied().unwrap_or_else(|| usual(space, page))
    }
}

/// The upper half belongs to the kernel or hypervisor, the same in all spaces.
fn usual(space: Space, page: u64) -> Mapping {
    let upper = page >> 51 == 1;
    let own = if upper { 0 } else { space.number() };
    let size = PageSize::ALL[match page & 0xfff_fff {
        0x200..0x400 => 1,
        0x4_0000..0x8_0000 => 2,
        0x80..0x90 => 1,
        _ => 0,
    }];
    let frame = match size {
        PageSize::Size4K => (page + 5 * own) % FRAMES,
        _ => (own % 2) << 20 | page & ((1 << (size.shift() - 12)) - 1),
    };
    Mapping::new(frame, size).with_global(upper).with_hypervisor(page % 2 == 1 && upper)
}

impl Translator for View<'_> {
    fn mapping(&mut self, va: u64) -> Mapping {
        self.world.mapping(self.space, va)
    }

    fn walk(&mut self, va: u64) -> Option<PageWalk> {
        let shift = self.mapping(va).size().shift();
        if (va >> 12) % 7 == 3 {
            return None;
        }
        let space = self.space.number();
        let levels = if space.is_multiple_of(5) { 5 } else { 4 };
        let tables = levels - (shift - 12) as usize / 9;
        let frame = |level: usize| match level {
            0 => 20 + space % 3,
            _ => 24 + (level as u64 * 3 + (va >> 39) + space) % 6,
        };
        let frames: Vec<u64> = (0..tables).map(frame).collect();
        let guest = TableWalk::new(&frames, shift);
        let Some((_, Some(root))) = self.space.guest else { return Some(PageWalk::Plain(guest)) };
        let mut guest_frames = [0; 6];
        let mut nested = [TableWalk::default(); 6];
        for level in 0..=tables {
            let guest_frame = match frames.get(level) {
                Some(frame) => frame + 0x1000,
                None => (va >> 12) % 16,
            };
            guest_frames[level] = guest_frame;
            let tables = [32 + root % 4, 36, 37, 38 + guest_frame % 2];
            nested[level] = match level % 3 {
                2 => TableWalk::new(&tables[..3], 21),
                _ => TableWalk::new(&tables, 12),
            };
        }
        Some(PageWalk::Nested(NestedWalk { guest, guest_frames, nested }))
    }
}
