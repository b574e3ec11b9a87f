//! Which symbol owns which addresses, as disjoint spans that a binary search can use.
//!
//! Symbols nest (a function's cold part inside another, an assembler function inside a larger
//! one) and sometimes overlap. An address belongs to the symbol that covers it and begins last:
//!
//! ```text
//!   outer   |--------------------------|
//!   inner         |------|
//!   spans   outer | inner| outer       |
//! ```

/// A range of addresses with one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First address.
    pub(crate) start: u64,
    /// First address behind, exclusive.
    pub(crate) end: u64,
    /// Index of the owner in the table.
    pub(crate) owner: u32,
}

/// Disjoint spans in order of address. Cost: linear, after sorting by the caller.
///
/// `extents` are `(start, end, owner)` sorted by start; of those with one start the preferred one
/// comes first. Empty extents own nothing.
pub(crate) fn flatten(extents: &[(u64, u64, u32)]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(extents.len());
    // Those that began before the cursor and may still reach behind it, last begun on top.
    let mut open: Vec<(u64, u32)> = Vec::new();
    let mut cursor = 0;
    for group in extents.chunk_by(|a, b| a.0 == b.0) {
        let start = group[0].0;
        advance(&mut spans, &mut open, &mut cursor, start);
        // The preferred one goes on top.
        open.extend(
            group.iter().rev().filter(|e| e.1 > start).map(|&(_, end, owner)| (end, owner)),
        );
    }
    advance(&mut spans, &mut open, &mut cursor, u64::MAX);
    spans
}

/// Gives out the addresses from `cursor` to `to` to the open extents.
fn advance(spans: &mut Vec<Span>, open: &mut Vec<(u64, u32)>, cursor: &mut u64, to: u64) {
    while let Some(&(end, owner)) = open.last() {
        if end <= *cursor {
            open.pop();
        } else if *cursor < to {
            let until = end.min(to);
            push(spans, Span { start: *cursor, end: until, owner });
            *cursor = until;
        } else {
            break;
        }
    }
    *cursor = to;
}

/// Appends, joining what belongs together (an extent resumed where a nested one was empty).
fn push(spans: &mut Vec<Span>, span: Span) {
    match spans.last_mut() {
        Some(last) if last.owner == span.owner && last.end == span.start => last.end = span.end,
        _ => spans.push(span),
    }
}

/// The owner of an address. O(log n).
pub(crate) fn find(spans: &[Span], address: u64) -> Option<u32> {
    let behind = spans.partition_point(|span| span.start <= address);
    let span = spans.get(behind.checked_sub(1)?)?;
    (address < span.end).then_some(span.owner)
}

/// The spans that share an address with `start..end`.
pub(crate) fn within(spans: &[Span], start: u64, end: u64) -> &[Span] {
    let first = spans.partition_point(|span| span.end <= start);
    let behind = spans.partition_point(|span| span.start < end);
    spans.get(first..behind).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nested_extent_interrupts_the_outer_one() {
        let spans = flatten(&[(10, 50, 0), (20, 30, 1), (60, 60, 2)]);
        let owners: Vec<_> = spans.iter().map(|s| (s.start, s.end, s.owner)).collect();
        assert_eq!(owners, [(10, 20, 0), (20, 30, 1), (30, 50, 0)]);
        assert_eq!(within(&spans, 25, 31).len(), 2);
        assert!(within(&spans, 50, 90).is_empty());
    }

    proptest! {
        #[test]
        fn spans_agree_with_the_definition(
            raw in prop::collection::vec((0u64..200, 0u64..60), 0..40)
        ) {
            let mut extents: Vec<_> = raw
                .iter()
                .enumerate()
                .map(|(index, &(start, size))| (start, start + size, index as u32))
                .collect();
            extents.sort();
            let spans = flatten(&extents);
            for address in 0..300 {
                // Begins last; of those the first in order.
                let expected = extents
                    .iter()
                    .rev()
                    .filter(|e| e.0 <= address && address < e.1)
                    .fold(None, |best: Option<&(u64, u64, u32)>, e| match best {
                        Some(b) if b.0 > e.0 => Some(b),
                        _ => Some(e),
                    })
                    .map(|e| e.2);
                prop_assert_eq!(find(&spans, address), expected);
            }
            prop_assert!(spans.windows(2).all(|w| w[0].end <= w[1].start));
        }
    }
}
