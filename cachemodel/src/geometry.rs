//! Sizes of caches and TLBs that can exist.

use std::fmt;
use std::num::NonZeroU64;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::size::ByteSize;

/// Associativity: how many places one address may be kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// This many, at least one.
    Number(u64),
    /// Any place: one set. Written `"full"`.
    Full,
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(ways) => ways.fmt(f),
            Self::Full => f.write_str("full"),
        }
    }
}

impl Serialize for Ways {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(ways) => serializer.serialize_u64(*ways),
            Self::Full => serializer.serialize_str("full"),
        }
    }
}

impl<'de> Deserialize<'de> for Ways {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WaysVisitor;
        impl Visitor<'_> for WaysVisitor {
            type Value = Ways;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of ways or \"full\"")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Ways, E> {
                Ok(Ways::Number(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Ways, E> {
                u64::try_from(value)
                    .map(Ways::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ways, E> {
                match text {
                    "full" => Ok(Ways::Full),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(WaysVisitor)
    }
}

/// Size, associativity and line size of a cache. Any number of sets, power of two or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheGeometry {
    line_shift: u32,
    ways: Ways,
    ways_count: usize,
    sets: NonZeroU64,
}

impl CacheGeometry {
    /// Smallest line, in bytes. Keeps two bits of a line's number free for the model.
    pub const MIN_LINE_BYTES: u64 = 8;
    /// Largest line, in bytes: a line lies in one 4 KiB page, because bytes that are neighbours
    /// beyond it need not be neighbours in physical memory.
    pub const MAX_LINE_BYTES: u64 = 4096;
    /// Most lines of one cache: 1 GiB of 64-byte lines, for which the model takes 128 MiB.
    pub const MAX_LINES: u64 = 1 << 24;

    /// Checks that `size_bytes` is whole sets of `ways` lines of `line_bytes`.
    ///
    /// # Errors
    /// [`Error::Geometry`], with `name` (`l2`) as the place, when such a cache cannot exist or is
    /// larger than the model allows.
    pub fn new(name: &str, size_bytes: u64, ways: Ways, line_bytes: u64) -> Result<Self, Error> {
        let wrong = |field: &str, rule: String, got: String| Error::Geometry {
            key: format!("{name}.{field}"),
            rule,
            got,
        };
        let (min, max) = (Self::MIN_LINE_BYTES, Self::MAX_LINE_BYTES);
        if !line_bytes.is_power_of_two() || !(min..=max).contains(&line_bytes) {
            let rule = format!("a power of two from {min} to {max} bytes");
            return Err(wrong("line-size", rule, line_bytes.to_string()));
        }
        let size = ByteSize(size_bytes);
        let lines = size_bytes / line_bytes;
        if lines == 0 || !size_bytes.is_multiple_of(line_bytes) {
            let rule = format!("a positive multiple of {name}.line-size = {line_bytes} bytes");
            return Err(wrong("size", rule, size.to_string()));
        }
        if lines > Self::MAX_LINES {
            let most = ByteSize(Self::MAX_LINES * line_bytes);
            return Err(wrong(
                "size",
                format!("at most {most} with this line size"),
                size.to_string(),
            ));
        }
        let ways_count = match ways {
            Ways::Full => lines,
            Ways::Number(count) => count,
        };
        if ways_count == 0 || ways_count > lines {
            let rule = format!("\"full\" or from 1 to the cache's {lines} lines");
            return Err(wrong("ways", rule, ways_count.to_string()));
        }
        if !lines.is_multiple_of(ways_count) {
            let set = ways_count * line_bytes;
            let rule = format!("a multiple of ways × line-size = {set} bytes");
            return Err(wrong("size", rule, size.to_string()));
        }
        Ok(Self {
            line_shift: line_bytes.trailing_zeros(),
            ways,
            ways_count: usize::try_from(ways_count).expect("at most MAX_LINES"),
            sets: NonZeroU64::new(lines / ways_count).expect("ways divide lines"),
        })
    }

    /// Associativity as it was stated.
    pub(crate) fn ways_as_written(&self) -> Ways {
        self.ways
    }

    /// Capacity in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        (self.sets.get() * self.ways_count as u64) << self.line_shift
    }

    /// Bytes of a line, a power of two.
    #[must_use]
    pub fn line_bytes(&self) -> u64 {
        1 << self.line_shift
    }

    /// Lines of a set.
    #[must_use]
    pub fn ways(&self) -> usize {
        self.ways_count
    }

    /// Number of sets, derived from the rest.
    #[must_use]
    pub fn sets(&self) -> u64 {
        self.sets.get()
    }

    pub(crate) fn line_shift(&self) -> u32 {
        self.line_shift
    }
}

/// `32KiB, 64 sets of 8 ways, 64-byte lines`.
impl fmt::Display for CacheGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", ByteSize(self.size_bytes()))?;
        write_associativity(f, self.sets(), self.ways_count)?;
        write!(f, ", {}-byte lines", self.line_bytes())
    }
}

fn write_associativity(f: &mut fmt::Formatter<'_>, sets: u64, ways: usize) -> fmt::Result {
    match (sets, ways) {
        (1, _) => f.write_str("fully associative"),
        (_, 1) => write!(f, "{sets} sets, direct-mapped"),
        _ => write!(f, "{sets} sets of {ways} ways"),
    }
}

/// Entries and associativity of a TLB. Any number of sets, power of two or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlbGeometry {
    ways_count: usize,
    sets: NonZeroU64,
}

impl TlbGeometry {
    /// Most entries of one TLB.
    pub const MAX_ENTRIES: u64 = 1 << 20;

    /// Checks that `entries` is whole sets of `ways`.
    ///
    /// # Errors
    /// [`Error::Geometry`], with `name` (`dtlb`) as the place, when such a TLB cannot exist.
    pub fn new(name: &str, entries: u64, ways: Ways) -> Result<Self, Error> {
        let wrong = |field: &str, rule: String, got: u64| Error::Geometry {
            key: format!("{name}.{field}"),
            rule,
            got: got.to_string(),
        };
        if entries == 0 || entries > Self::MAX_ENTRIES {
            return Err(wrong("entries", format!("from 1 to {}", Self::MAX_ENTRIES), entries));
        }
        let ways_count = match ways {
            Ways::Full => entries,
            Ways::Number(count) => count,
        };
        if ways_count == 0 || ways_count > entries {
            let rule = format!("\"full\" or from 1 to the TLB's {entries} entries");
            return Err(wrong("ways", rule, ways_count));
        }
        if !entries.is_multiple_of(ways_count) {
            let rule = format!("a multiple of {name}.ways = {ways_count}");
            return Err(wrong("entries", rule, entries));
        }
        Ok(Self {
            ways_count: usize::try_from(ways_count).expect("at most MAX_ENTRIES"),
            sets: NonZeroU64::new(entries / ways_count).expect("ways divide entries"),
        })
    }

    /// Number of translations held.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.sets.get() * self.ways_count as u64
    }

    /// Entries of a set.
    #[must_use]
    pub fn ways(&self) -> usize {
        self.ways_count
    }

    /// Number of sets, derived from the rest; 1 when fully associative.
    #[must_use]
    pub fn sets(&self) -> u64 {
        self.sets.get()
    }
}

/// `64 entries, fully associative`.
impl fmt::Display for TlbGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries, ", self.entries())?;
        write_associativity(f, self.sets(), self.ways_count)
    }
}

/// Which set a number belongs to: the remainder by the number of sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetIndex {
    sets: NonZeroU64,
    /// `sets - 1` where that makes a mask.
    mask: Option<u64>,
}

impl SetIndex {
    pub(crate) fn new(sets: u64) -> Self {
        let sets = NonZeroU64::new(sets).expect("a geometry has at least one set");
        Self { sets, mask: sets.is_power_of_two().then(|| sets.get() - 1) }
    }

    /// A division only where the number of sets is no power of two.
    #[inline]
    pub(crate) fn of(self, number: u64) -> usize {
        let set = match self.mask {
            Some(mask) => number & mask,
            None => number % self.sets,
        };
        set as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<CacheGeometry, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn sets_are_derived_and_need_not_be_a_power_of_two() {
        let l2 = CacheGeometry::new("l2", 3 << 20, Ways::Number(12), 64).unwrap();
        assert_eq!((l2.sets(), l2.ways(), l2.size_bytes()), (4096, 12, 3 << 20));
        let odd = CacheGeometry::new("l2", 48 * 8 * 64, Ways::Number(8), 64).unwrap();
        assert_eq!(odd.sets(), 48);
        let full = CacheGeometry::new("l1d", 32 << 10, Ways::Full, 64).unwrap();
        assert_eq!((full.sets(), full.ways()), (1, 512));
        assert_eq!(TlbGeometry::new("stlb", 1536, Ways::Number(12)).unwrap().sets(), 128);
    }

    #[test]
    fn impossible_caches_are_refused_with_place_limit_and_value() {
        let cache = |size, ways, line| message(CacheGeometry::new("l2", size, ways, line));
        assert_eq!(
            cache(1 << 20, Ways::Number(8), 48),
            "l2.line-size: must be a power of two from 8 to 4096 bytes, got 48"
        );
        assert_eq!(
            cache(100_000, Ways::Number(8), 64),
            "l2.size: must be a positive multiple of l2.line-size = 64 bytes, got 100000"
        );
        assert_eq!(
            cache(1 << 20, Ways::Number(0), 64),
            "l2.ways: must be \"full\" or from 1 to the cache's 16384 lines, got 0"
        );
        assert_eq!(
            cache(1 << 20, Ways::Number(12), 64),
            "l2.size: must be a multiple of ways × line-size = 768 bytes, got 1MiB"
        );
        assert_eq!(
            cache(u64::MAX - 63, Ways::Number(u64::MAX), 64),
            "l2.size: must be at most 1GiB with this line size, got 18446744073709551552"
        );
        assert!(cache(0, Ways::Full, 64).starts_with("l2.size: must be a positive multiple"));
    }

    #[test]
    fn impossible_tlbs_are_refused_with_place_limit_and_value() {
        let tlb = |entries, ways| TlbGeometry::new("dtlb", entries, ways).unwrap_err().to_string();
        assert_eq!(tlb(0, Ways::Full), "dtlb.entries: must be from 1 to 1048576, got 0");
        assert_eq!(
            tlb(64, Ways::Number(5)),
            "dtlb.entries: must be a multiple of dtlb.ways = 5, got 64"
        );
        assert_eq!(
            tlb(64, Ways::Number(u64::MAX)),
            "dtlb.ways: must be \"full\" or from 1 to the TLB's 64 entries, got 18446744073709551615"
        );
    }
}
