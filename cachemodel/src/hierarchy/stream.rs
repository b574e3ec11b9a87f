//! Stream, one and many.

use super::{PlainHits, RefKind};

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

/// Many references, as [`Hierarchy::run`](super::Hierarchy::run) takes them: ten bytes for each.
///
/// A size above 16384 is kept as 16384: what lies beyond the second page is left out anyway.
///
/// ```
/// use strata_cachemodel::{Reference, RefKind, Stream};
///
/// let read = Reference { kind: RefKind::Read, va: 0x1000, bytes: 8 };
/// let stream: Stream = [read, Reference { va: 0x1008, ..read }].into_iter().collect();
/// assert_eq!(stream.len(), 2);
/// assert_eq!(stream.iter().next(), Some(read));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// Virtual addresses of the first bytes.
    pub(super) addresses: Vec<u64>,
    /// The rest, each at the same index.
    pub(super) shapes: Vec<Shape>,
    /// How many there are of each kind.
    pub(super) counts: PlainHits,
}

/// Kind and size of a reference: the kind in the two highest bits, how many bytes lie beyond the
/// first in the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape(u16);

const KIND_SHIFT: u32 = 14;
const MOST_BEYOND: u32 = (1 << KIND_SHIFT) - 1;

impl Shape {
    fn new(kind: RefKind, bytes: u32) -> Self {
        let beyond = bytes.saturating_sub(1).min(MOST_BEYOND) as u16;
        let kind = match kind {
            RefKind::Read => 0,
            RefKind::Write => 1,
            RefKind::ModifyWrite => 2,
            RefKind::Fetch => 3,
        };
        Self(kind << KIND_SHIFT | beyond)
    }

    /// Bytes beyond the first.
    #[inline(always)]
    pub(super) fn beyond(self) -> u64 {
        u64::from(self.0) & u64::from(MOST_BEYOND)
    }

    #[inline(always)]
    pub(super) fn is_fetch(self) -> bool {
        self.0 >= 3 << KIND_SHIFT
    }

    /// Whether it writes; not of a fetch.
    #[inline(always)]
    pub(super) fn writes(self) -> bool {
        self.0 >= 1 << KIND_SHIFT
    }

    pub(super) fn kind(self) -> RefKind {
        match self.0 >> KIND_SHIFT {
            0 => RefKind::Read,
            1 => RefKind::Write,
            2 => RefKind::ModifyWrite,
            _ => RefKind::Fetch,
        }
    }

    fn with_address(self, va: u64) -> Reference {
        Reference { kind: self.kind(), va, bytes: self.beyond() as u32 + 1 }
    }
}

impl Stream {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// None, with room for so many.
    #[must_use]
    pub fn with_capacity(number: usize) -> Self {
        Self {
            addresses: Vec::with_capacity(number),
            shapes: Vec::with_capacity(number),
            counts: PlainHits::default(),
        }
    }

    /// Appends one.
    #[inline]
    pub fn push(&mut self, Reference { kind, va, bytes }: Reference) {
        self.addresses.push(va);
        self.shapes.push(Shape::new(kind, bytes));
        self.counts.add(kind, 1);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Takes all away and keeps the room for them.
    pub fn clear(&mut self) {
        self.addresses.clear();
        self.shapes.clear();
        self.counts = PlainHits::default();
    }

    /// In order; with a size of 1 where it was 0.
    pub fn iter(&self) -> impl Iterator<Item = Reference> {
        self.shapes.iter().zip(&self.addresses).map(|(shape, &va)| shape.with_address(va))
    }

    /// The one at this index, of those there are.
    pub(super) fn at(&self, index: usize) -> Reference {
        self.shapes[index].with_address(self.addresses[index])
    }
}

impl Extend<Reference> for Stream {
    fn extend<I: IntoIterator<Item = Reference>>(&mut self, references: I) {
        references.into_iter().for_each(|reference| self.push(reference));
    }
}

impl FromIterator<Reference> for Stream {
    fn from_iter<I: IntoIterator<Item = Reference>>(references: I) -> Self {
        let references = references.into_iter();
        let mut all = Self::with_capacity(references.size_hint().0);
        all.extend(references);
        all
    }
}
