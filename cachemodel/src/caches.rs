//! The storage of caches: which lines a cache holds, and which it lets go.
//!
//! Nothing here knows of other levels; who asks whom is the hierarchy's business.

mod cache;
mod classifier;
mod first_sets;
mod nested_sets;
mod ranked_sets;
mod recency_sets;
mod stride_table;
#[cfg(test)]
mod tests;
mod way_sets;

#[cfg(test)]
use cache::Touched;
pub(crate) use cache::{Cache, Fill, Found, Line, Removed, Victim};
pub(crate) use classifier::CacheClassifier;
pub use classifier::{Actor, MissClass};
pub(crate) use first_sets::FirstSets;
pub(crate) use nested_sets::NestedSets;
pub(crate) use stride_table::StrideTable;
