//! Foreign streams in, the same references out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod champsim;
mod din;
mod drmemtrace;
mod flat;
mod lackey;
mod packed;
mod real;
mod ref64;
