//! Pages looked up since the last event, in order of last use, and which sizes of TLB hold them.
//!
//! Between two events every tag scheme takes a page for the same, and what was looked up since the
//! last one lies above everything else in the list of each scheme, without holes. So one list of
//! these pages tells for all schemes which sizes hit one that is looked up again; only the first
//! look-up of a page since an event, and the next event, concern the schemes' own lists.
//!
//! The pages at the top that the smallest size holds are with the filter, as in
//! [`SizeStack`](super::size_stack::SizeStack).

use super::entry::{Key, OwnerId};
use crate::page::{Mapping, PageSize};
use rustc_hash::FxHashMap;

/// No page.
const NONE: u32 = u32::MAX;

/// A page by its number and size, whoever's it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Page(Key);

impl Page {
    #[inline]
    pub(super) fn new(vpn: u64, size: PageSize) -> Self {
        Self(Key::new(vpn, size, false, OwnerId(0)))
    }
}

/// What is known of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recent {
    page: Page,
    /// As it was looked up last.
    pub(super) mapping: Mapping,
    /// Some size has another frame for it, so that every hit is to be told.
    pub(super) is_watched: bool,
    /// Under some scheme it was found by another name than it has now, which sizes give it that miss
    /// it again.
    pub(super) has_other_name: bool,
    /// How many sizes do not reach down to here.
    beyond: u8,
    /// Larger the higher it is in the list.
    stamp: u64,
    above: u32,
    below: u32,
}

/// The list, for one side.
#[derive(Debug, Clone)]
pub(super) struct RecentPages {
    /// Rising.
    sizes: Vec<u64>,
    pages: Vec<Recent>,
    free: Vec<u32>,
    numbers: FxHashMap<Page, u32>,
    /// By the filter's place.
    filtered: Vec<u32>,
    with_filter: u64,
    top: u32,
    bottom: u32,
    /// For each size, the page at the end of its reach, if that is in the list.
    ends: Vec<u32>,
    clock: u64,
}

impl RecentPages {
    /// `sizes` rise; the filter has as many places as the first.
    pub(super) fn new(sizes: &[u64]) -> Self {
        Self {
            sizes: sizes.to_vec(),
            pages: Vec::new(),
            free: Vec::new(),
            numbers: FxHashMap::default(),
            filtered: vec![NONE; sizes[0] as usize],
            with_filter: 0,
            top: NONE,
            bottom: NONE,
            ends: vec![NONE; sizes.len()],
            clock: 0,
        }
    }

    /// The number of a page, if it is here.
    #[inline]
    pub(super) fn find(&self, page: Page) -> Option<u32> {
        self.numbers.get(&page).copied()
    }

    /// The number of the page that the filter has at `place`.
    #[inline]
    pub(super) fn at_place(&self, place: u32) -> u32 {
        self.filtered[place as usize]
    }

    /// The page that the filter has at `place`.
    pub(super) fn of_place(&mut self, place: u32) -> &mut Recent {
        self.of(self.filtered[place as usize])
    }

    #[inline]
    pub(super) fn of(&mut self, number: u32) -> &mut Recent {
        &mut self.pages[number as usize]
    }

    /// The page at `place` leaves the filter, in which it was the one not used for longest.
    #[inline]
    pub(super) fn leave_filter(&mut self, place: u32) {
        let number = self.filtered[place as usize];
        self.clock += 1;
        let (stamp, top) = (self.clock, self.top);
        let page = &mut self.pages[number as usize];
        (page.beyond, page.stamp, page.above, page.below) = (0, stamp, NONE, top);
        if top == NONE {
            self.bottom = number
        } else {
            self.of(top).above = number
        }
        self.top = number;
        if self.with_filter == self.sizes[0] {
            self.ends[0] = number;
        }
        self.with_filter -= 1;
    }

    /// A page comes to the filter that is in the list. Tells how many sizes miss it.
    #[inline]
    pub(super) fn take(&mut self, number: u32, place: u32) -> usize {
        let Recent { beyond, stamp, above, below, .. } = self.pages[number as usize];
        // What is above it moves one down; what is below stays.
        for size in 0..usize::from(beyond) {
            self.move_end_up(size);
        }
        for size in usize::from(beyond)..self.ends.len() {
            let end = self.ends[size];
            if end == NONE {
                break;
            }
            if end == number {
                self.ends[size] = above;
            } else {
                debug_assert!(self.pages[end as usize].stamp < stamp, "it is in reach");
            }
        }
        if above == NONE {
            self.top = below
        } else {
            self.of(above).below = below
        }
        if below == NONE {
            self.bottom = above
        } else {
            self.of(below).above = above
        }
        self.filtered[place as usize] = number;
        self.with_filter += 1;
        usize::from(beyond)
    }

    /// The page at the end of a size's reach moves beyond it.
    #[inline]
    fn move_end_up(&mut self, size: usize) {
        let end = self.ends[size];
        if end != NONE {
            let page = &mut self.pages[end as usize];
            page.beyond = (size + 1) as u8;
            self.ends[size] = page.above;
        }
    }

    /// A page comes to the filter that is not here. Tells its number and that of a page which no
    /// size has any more and which goes.
    pub(super) fn make(&mut self, vpn: u64, mapping: Mapping, place: u32) -> (u32, Option<u32>) {
        let page = Page::new(vpn, mapping.size());
        let made = Recent {
            page,
            mapping,
            is_watched: false,
            has_other_name: false,
            beyond: 0,
            stamp: 0,
            above: NONE,
            below: NONE,
        };
        let number = self.free.pop().unwrap_or(self.pages.len() as u32);
        match self.pages.get_mut(number as usize) {
            Some(free) => *free = made,
            None => self.pages.push(made),
        }
        self.numbers.insert(page, number);
        self.filtered[place as usize] = number;
        self.with_filter += 1;
        // It was counted in already.
        let all = self.numbers.len() as u64;
        for size in 0..self.ends.len() {
            if self.ends[size] != NONE {
                self.move_end_up(size);
            } else if all == self.sizes[size] {
                self.ends[size] = self.bottom;
            }
        }
        (number, self.drop_bottom())
    }

    fn drop_bottom(&mut self) -> Option<u32> {
        let gone = self.bottom;
        let Recent { page, above, beyond, .. } = *self.pages.get(gone as usize)?;
        if usize::from(beyond) < self.sizes.len() {
            return None;
        }
        self.bottom = above;
        if above == NONE {
            self.top = NONE
        } else {
            self.of(above).below = NONE
        }
        self.numbers.remove(&page);
        self.free.push(gone);
        Some(gone)
    }

    /// Tells of all pages, that not used for longest first, and has none from then on. `places` are
    /// those that the filter has, in the same order.
    pub(super) fn give_up(&mut self, places: &[u32], mut each: impl FnMut(u32)) {
        let mut number = self.bottom;
        while number != NONE {
            each(number);
            number = self.pages[number as usize].above;
        }
        places.iter().for_each(|&place| each(self.filtered[place as usize]));
        self.pages.clear();
        self.free.clear();
        self.numbers.clear();
        self.with_filter = 0;
        (self.top, self.bottom) = (NONE, NONE);
        self.ends.fill(NONE);
    }
}
