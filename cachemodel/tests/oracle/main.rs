//! The fast models against slow ones written from `docs/models.md` alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod cache;
mod classes;
mod converted;
mod counts;
mod events;
#[path = "../ref64/expected.rs"]
mod expected;
mod halves;
mod hierarchy;
mod machines;
mod memory;
mod peer_counts;
mod policy;
#[path = "../ref64/mod.rs"]
mod ref64;
mod rules;
mod self_check;
mod streams;
mod stretches;
mod tlb;
mod walk;
mod worked;
mod world;
