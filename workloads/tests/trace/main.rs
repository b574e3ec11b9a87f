//! The native trace format: what is written is what is read, whatever happens to the bytes on the
//! way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod flat;
mod made_up;
mod naive;
mod round_trip;
mod salvage;
mod worked_example;
mod writing;
