//! One TLB of a machine: an array for all page sizes, or several.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::replacement::Replacement;
use crate::error::Error;
use crate::geometry::{TlbGeometry, Ways};
use crate::page::PageSize;

/// Name of a page size in machine files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum PageName {
    #[serde(rename = "4k")]
    Size4K,
    #[serde(rename = "2m")]
    Size2M,
    #[serde(rename = "1g")]
    Size1G,
}

impl PageName {
    const ALL: [Self; 3] = [Self::Size4K, Self::Size2M, Self::Size1G];

    fn size(self) -> PageSize {
        PageSize::ALL[self as usize]
    }

    fn name(self) -> &'static str {
        ["4k", "2m", "1g"][self as usize]
    }
}

/// As machine files write them.
fn names(pages: &[PageName]) -> String {
    let names: Vec<_> = pages.iter().map(|page| format!("\"{}\"", page.name())).collect();
    format!("[{}]", names.join(", "))
}

/// Entries for some page sizes, side by side in the same sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlbArraySpec {
    geometry: TlbGeometry,
    replacement: Replacement,
    /// By [`PageSize`].
    holds: [bool; 3],
}

impl TlbArraySpec {
    /// Entries and ways.
    #[must_use]
    pub fn geometry(&self) -> &TlbGeometry {
        &self.geometry
    }

    /// How victims are chosen.
    #[must_use]
    pub fn replacement(&self) -> Replacement {
        self.replacement
    }

    /// Whether entries of this size are kept here.
    #[must_use]
    pub fn holds(&self, size: PageSize) -> bool {
        self.holds[size as usize]
    }
}

/// A TLB: at least one array, and each page size in at most one of them.
///
/// A page of a size that no array holds is kept as fragments of the next smaller size that one
/// holds. Every TLB holds 4 KiB pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlbSpec {
    arrays: Vec<TlbArraySpec>,
    file: TlbFile,
}

/// A TLB as a machine file states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TlbFile {
    entries: u64,
    ways: Ways,
    #[serde(default)]
    replacement: Replacement,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pages: Option<Vec<PageName>>,
    #[serde(rename = "2m", default, skip_serializing_if = "Option::is_none")]
    large: Option<OwnArray>,
    #[serde(rename = "1g", default, skip_serializing_if = "Option::is_none")]
    huge: Option<OwnArray>,
}

/// An array of one page size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OwnArray {
    entries: u64,
    ways: Ways,
    #[serde(default)]
    replacement: Replacement,
}

impl TlbSpec {
    pub(crate) fn from_file(name: &str, file: TlbFile) -> Result<Self, Error> {
        let own = [(PageName::Size2M, &file.large, "2m"), (PageName::Size1G, &file.huge, "1g")];
        let has_own =
            |page: PageName| own.iter().any(|(size, array, _)| *size == page && array.is_some());
        let shared: Vec<PageName> = match &file.pages {
            Some(pages) => pages.clone(),
            None => PageName::ALL.into_iter().filter(|page| !has_own(*page)).collect(),
        };
        let wrong = |rule: &str, got: String| Error::Geometry {
            key: format!("{name}.pages"),
            rule: rule.to_owned(),
            got,
        };
        if !shared.contains(&PageName::Size4K) {
            return Err(wrong("a list with \"4k\" in it", names(&shared)));
        }
        if (1..shared.len()).any(|at| shared[..at].contains(&shared[at])) {
            return Err(wrong("a list of each size once", names(&shared)));
        }
        if let Some(double) = shared.iter().find(|page| has_own(**page)) {
            return Err(wrong(
                "without the sizes that have arrays of their own",
                names(&[*double]),
            ));
        }
        let mut holds = [false; 3];
        for page in &shared {
            holds[page.size() as usize] = true;
        }
        let geometry = TlbGeometry::new(name, file.entries, file.ways)?;
        let mut arrays = vec![TlbArraySpec { geometry, replacement: file.replacement, holds }];
        for (page, array, key) in own {
            let Some(array) = array else { continue };
            let mut holds = [false; 3];
            holds[page.size() as usize] = true;
            let geometry = TlbGeometry::new(&format!("{name}.{key}"), array.entries, array.ways)?;
            arrays.push(TlbArraySpec { geometry, replacement: array.replacement, holds });
        }
        Ok(Self { arrays, file })
    }

    pub(crate) fn to_file(&self) -> TlbFile {
        self.file.clone()
    }

    /// Its arrays, that of 4 KiB pages first.
    #[must_use]
    pub fn arrays(&self) -> &[TlbArraySpec] {
        &self.arrays
    }

    /// Entries of the array that holds 4 KiB pages.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.arrays[0].geometry.entries()
    }

    /// Ways of the array that holds 4 KiB pages.
    #[must_use]
    pub fn ways(&self) -> usize {
        self.arrays[0].geometry.ways()
    }

    /// Sets of the array that holds 4 KiB pages; 1 when fully associative.
    #[must_use]
    pub fn sets(&self) -> u64 {
        self.arrays[0].geometry.sets()
    }

    /// The array for pages of `size` and the size of the entries that are made for them there.
    #[must_use]
    pub fn array_of(&self, size: PageSize) -> (usize, PageSize) {
        PageSize::ALL[..=size as usize]
            .iter()
            .rev()
            .find_map(|&kept| {
                let array = self.arrays.iter().position(|array| array.holds(kept))?;
                Some((array, kept))
            })
            .expect("some array holds 4 KiB pages")
    }
}

/// `64 entries, fully associative`, array after array.
impl fmt::Display for TlbSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, array) in self.arrays.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            if array.holds != [true; 3] {
                let held: Vec<_> = PageName::ALL
                    .into_iter()
                    .filter(|page| array.holds(page.size()))
                    .map(PageName::name)
                    .collect();
                write!(f, "{}: ", held.join("+"))?;
            }
            write!(f, "{}", array.geometry)?;
            if array.replacement != Replacement::Lru {
                write!(f, ", {}", array.replacement)?;
            }
        }
        Ok(())
    }
}
