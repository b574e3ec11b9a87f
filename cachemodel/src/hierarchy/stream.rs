//! References, one and many.

use super::near::{LINE_BYTES, LINE_MASK};
use super::{PlainHits, RefKind};
use crate::span::PAGE_BYTES;
use std::ops::Range;

/// One reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Its kind.
    pub kind: RefKind,
    /// Virtual address of its first byte.
    pub va: u64,
    /// Its size; 0 touches the first byte.
    pub bytes: u32,
}

/// Many references, as [`Hierarchy::run`](super::Hierarchy::run) takes them.
///
/// Most fetches stay in the line of 64 bytes that the fetch before them ended in, and most operands
/// in that of the operand before them. In most machines nothing can come of such a *follower* but a hit
/// that changes nothing: what was used last stays so, and a line once written is dirty. So followers
/// are kept apart from the others, the *touches*: two bytes for a follower, sixteen for a touch. To
/// leave such references out is old: A. J. Smith, "Two Methods for the Efficient Analysis of Memory
/// Address Trace Data", IEEE Transactions on Software Engineering 3(1), 1977.
///
/// A size above 16384 is kept as 16384: what lies beyond the second page is left out anyway.
///
/// ```
/// use strata_cachemodel::{Reference, RefKind, Stream};
///
/// let fetch = Reference { kind: RefKind::Fetch, va: 0x1000, bytes: 4 };
/// let read = Reference { kind: RefKind::Read, va: 0x7ff0, bytes: 8 };
/// let follower = Reference { va: 0x1004, ..fetch };
/// let stream: Stream = [fetch, read, follower].into_iter().collect();
/// assert_eq!(stream.len(), 3);
/// assert!(stream.iter().eq([fetch, read, follower]));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Stream {
    pub(super) touches: Vec<Touch>,
    /// All followers.
    followers: Vec<Follower>,
    /// Where the next references would be followers.
    lines: LatestLines,
    /// How many references there are of each kind, by its number.
    counts: [u64; 4],
}

/// A reference that something may come of, and which followers come before the next such one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touch {
    /// Virtual address of its first byte.
    pub(super) va: u64,
    /// How many bytes lie beyond that.
    beyond: u16,
    pub(super) shape: Shape,
    pub(super) followed: Followed,
}

impl Touch {
    #[inline(always)]
    pub(super) fn beyond(self) -> u64 {
        u64::from(self.beyond)
    }

    #[inline]
    pub(super) fn reference(self) -> Reference {
        let Self { va, beyond, shape, .. } = self;
        Reference { kind: shape.kind(), va, bytes: u32::from(beyond) + 1 }
    }
}

/// The lines that the last operand and the last fetch ended in.
#[derive(Debug, Clone, Copy)]
struct LatestLines {
    lines: [u64; 2],
    /// That of the operand has been written to since it became the last.
    is_written: bool,
}

impl Default for LatestLines {
    fn default() -> Self {
        Self { lines: [NO_LINE; 2], is_written: false }
    }
}

/// No line begins here.
const NO_LINE: u64 = u64::MAX;

impl LatestLines {
    /// Whether a reference is a follower. Follows it.
    #[inline(always)]
    fn take(&mut self, shape: Shape, va: u64, beyond: u64) -> bool {
        let line = &mut self.lines[usize::from(shape.is_fetch())];
        let stays = (*line == va & LINE_MASK) & shape.is_in_line();
        *line = va.wrapping_add(beyond) & LINE_MASK;
        if shape.is_fetch() {
            return stays;
        }
        let was_written = self.is_written & stays;
        self.is_written = shape.writes() | was_written;
        stays & (was_written | !shape.writes())
    }
}

/// How many fetches and how many operands follow a touch before the next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Followed(u8);

impl Followed {
    const FETCH: u8 = 1;
    const MOST: u8 = 0xf;
    const OPERAND: u8 = 0x10;

    /// One more; false if there is no room for it.
    #[inline]
    fn add(&mut self, is_fetch: bool) -> bool {
        let (one, most) =
            if is_fetch { (Self::FETCH, Self::MOST) } else { (Self::OPERAND, Self::MOST << 4) };
        let has_room = self.0 & most != most;
        self.0 += if has_room { one } else { 0 };
        has_room
    }

    #[inline(always)]
    pub(super) fn fetches(self) -> usize {
        usize::from(self.0 & Self::MOST)
    }

    #[inline(always)]
    pub(super) fn operands(self) -> usize {
        usize::from(self.0 >> 4)
    }

    /// All of them.
    #[inline]
    pub(super) fn all(self) -> usize {
        self.fetches() + self.operands()
    }
}

/// A reference within the line that the one before it of its side ended in: its offset there and its
/// kind, and how many bytes lie beyond its first.
#[derive(Debug, Clone, Copy)]
struct Follower {
    offset_and_kind: u8,
    beyond: u8,
}

/// Kind of a reference, and which lines of 64 bytes it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape(u8);

const WRITES: u8 = 1;
const FETCHES: u8 = 1 << 1;
/// The write of a modify.
const MODIFIES: u8 = 1 << 2;
/// It ends in the line after the one it begins in, on the same 4 KiB page.
const ENDS_IN_NEXT: u8 = 1 << 3;
/// It lies in more than two lines, or on two pages.
const GOES_FARTHER: u8 = 1 << 4;

/// Above this, bytes beyond the first make no difference.
const MOST_BEYOND: u32 = (1 << 14) - 1;

impl Shape {
    /// By the number of a [`RefKind`].
    const KINDS: [u8; 4] = [FETCHES, 0, WRITES, WRITES | MODIFIES];

    #[inline(always)]
    fn new(kind: RefKind, va: u64, beyond: u64) -> Self {
        let kind = Self::KINDS[kind as usize];
        let last = va.wrapping_add(beyond);
        let lines = match (last & LINE_MASK).wrapping_sub(va & LINE_MASK) {
            0 => 0,
            LINE_BYTES if (va ^ last) / PAGE_BYTES == 0 => ENDS_IN_NEXT,
            _ => GOES_FARTHER,
        };
        Self(kind | lines)
    }

    /// Whether an operand within one line is written; `None` of any other reference.
    #[inline(always)]
    pub(super) fn operand_in_line(self) -> Option<bool> {
        (self.0 & !(WRITES | MODIFIES) == 0).then_some(self.0 & WRITES != 0)
    }

    #[inline(always)]
    pub(super) fn is_fetch(self) -> bool {
        self.0 & FETCHES != 0
    }

    #[inline(always)]
    pub(super) fn writes(self) -> bool {
        self.0 & WRITES != 0
    }

    /// Whether it lies in one line.
    #[inline(always)]
    pub(super) fn is_in_line(self) -> bool {
        self.0 & (ENDS_IN_NEXT | GOES_FARTHER) == 0
    }

    /// Whether it lies in one line or two of one page.
    #[inline(always)]
    pub(super) fn is_in_page(self) -> bool {
        self.0 & GOES_FARTHER == 0
    }

    /// Whether it is a fetch of two lines of one page.
    #[inline(always)]
    pub(super) fn fetches_next(self) -> bool {
        self.0 == FETCHES | ENDS_IN_NEXT
    }

    pub(super) fn kind(self) -> RefKind {
        match self.0 & (WRITES | FETCHES | MODIFIES) {
            0 => RefKind::Read,
            WRITES => RefKind::Write,
            FETCHES => RefKind::Fetch,
            _ => RefKind::ModifyWrite,
        }
    }
}

impl Stream {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one.
    #[inline]
    pub fn push(&mut self, Reference { kind, va, bytes }: Reference) {
        self.counts[kind as usize] += 1;
        let beyond = bytes.saturating_sub(1).min(MOST_BEYOND);
        let shape = Shape::new(kind, va, u64::from(beyond));
        if self.lines.take(shape, va, u64::from(beyond))
            && let Some(before) = self.touches.last_mut()
            && before.followed.add(shape.is_fetch())
        {
            self.followers.push(Follower::new(kind, va, beyond as u8));
            return;
        }
        let followed = Followed::default();
        self.touches.push(Touch { va, beyond: beyond as u16, shape, followed });
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.touches.len() + self.followers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touches.is_empty()
    }

    /// Takes all away and keeps the room for them.
    pub fn clear(&mut self) {
        self.touches.clear();
        self.followers.clear();
        self.lines = LatestLines::default();
        self.counts = [0; 4];
    }

    /// In order; with a size of 1 where it was 0.
    pub fn iter(&self) -> impl Iterator<Item = Reference> {
        let (mut lines, mut first) = ([0; 2], 0);
        self.touches.iter().flat_map(move |touch| {
            let reference = touch.reference();
            lines[usize::from(touch.shape.is_fetch())] = reference.last_line();
            let own = first..first + touch.followed.all();
            first = own.end;
            std::iter::once(reference).chain(self.followers(own, lines))
        })
    }

    /// How many references there are of each kind.
    pub(super) fn counts(&self) -> PlainHits {
        let [fetches, reads, writes, modifies] = self.counts;
        PlainHits { fetches, reads, writes: writes + modifies }
    }

    /// The lines that the last operand and the last fetch ended in when a touch has been made.
    pub(super) fn lines_at(&self, touch: usize) -> [u64; 2] {
        [false, true].map(|fetches| {
            let mut before = self.touches[..=touch].iter().rev();
            let last = before.find(|touch| touch.shape.is_fetch() == fetches);
            last.map_or(0, |last| last.reference().last_line())
        })
    }

    /// The followers with these indices, of these lines for operands and fetches.
    pub(super) fn followers(
        &self,
        which: Range<usize>,
        lines: [u64; 2],
    ) -> impl Iterator<Item = Reference> {
        self.followers[which].iter().map(move |follower| follower.of(lines))
    }
}

impl Reference {
    /// The line of 64 bytes that it ends in.
    pub(super) fn last_line(self) -> u64 {
        self.va.wrapping_add(u64::from(self.bytes.saturating_sub(1))) & LINE_MASK
    }
}

impl Follower {
    const KINDS: [RefKind; 4] =
        [RefKind::Fetch, RefKind::Read, RefKind::Write, RefKind::ModifyWrite];

    fn new(kind: RefKind, va: u64, beyond: u8) -> Self {
        let offset = (va & !LINE_MASK) as u8;
        Self { offset_and_kind: offset | (kind as u8) << LINE_BYTES.trailing_zeros(), beyond }
    }

    fn of(self, lines: [u64; 2]) -> Reference {
        let offset = u64::from(self.offset_and_kind) % LINE_BYTES;
        let kind = Self::KINDS[usize::from(self.offset_and_kind) / LINE_BYTES as usize];
        let line = lines[usize::from(kind == RefKind::Fetch)];
        Reference { kind, va: line + offset, bytes: u32::from(self.beyond) + 1 }
    }
}

impl Extend<Reference> for Stream {
    fn extend<I: IntoIterator<Item = Reference>>(&mut self, references: I) {
        references.into_iter().for_each(|reference| self.push(reference));
    }
}

impl FromIterator<Reference> for Stream {
    fn from_iter<I: IntoIterator<Item = Reference>>(references: I) -> Self {
        let mut all = Self::new();
        all.extend(references);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reference() -> impl Strategy<Value = Reference> {
        let kind = prop_oneof![
            4 => Just(RefKind::Fetch),
            2 => Just(RefKind::Read),
            2 => Just(RefKind::Write),
            1 => Just(RefKind::ModifyWrite),
        ];
        let bytes = prop_oneof![8 => 1..=8_u32, 1 => 9..=5000_u32];
        (kind, 0..4_u64, 0..64_u64, bytes).prop_map(|(kind, line, offset, bytes)| Reference {
            kind,
            va: 0x1_0f40 + line * LINE_BYTES + offset,
            bytes,
        })
    }

    proptest! {
        #[test]
        fn a_stream_gives_back_what_it_was_given(
            references in prop::collection::vec(reference(), 0..200),
        ) {
            let stream: Stream = references.iter().copied().collect();
            prop_assert_eq!(stream.len(), references.len());
            prop_assert!(stream.iter().eq(references));
        }
    }

    #[test]
    fn what_stays_in_the_line_used_last_follows() {
        let of = |kind, va| Reference { kind, va, bytes: 4 };
        let stream: Stream = [
            of(RefKind::Fetch, 0x1000),
            of(RefKind::Fetch, 0x1004),
            of(RefKind::Read, 0x5000),
            of(RefKind::Fetch, 0x1008),
            of(RefKind::Read, 0x5008),
            // The first write dirties the line.
            of(RefKind::Write, 0x5010),
            of(RefKind::Write, 0x5018),
            // Ends in the next line, in which others follow.
            of(RefKind::Fetch, 0x103e),
            of(RefKind::Fetch, 0x1042),
            of(RefKind::Fetch, 0x1000),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            stream.touches.iter().map(|touch| touch.va).collect::<Vec<_>>(),
            [0x1000, 0x5000, 0x5010, 0x103e, 0x1000]
        );
        assert_eq!(
            stream.touches.iter().map(|touch| touch.followed.all()).collect::<Vec<_>>(),
            [1, 2, 1, 1, 0]
        );
    }
}
