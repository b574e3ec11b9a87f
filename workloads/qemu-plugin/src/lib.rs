//! QEMU plugin that records every instruction of a machine as a native trace.
//!
//! QEMU's side is in `qemu`, the only module that calls it. Everything else sees the emulator as a
//! [`host::Host`], for which tests have a fake.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod blocks;
pub mod cpu;
pub mod dma;
pub mod host;
pub mod interrupts;
mod landing;
pub mod memory;
pub mod options;
pub mod output;
pub mod pages;
pub mod pending;
#[cfg(not(test))]
mod qemu;
pub mod recorder;
mod repeat;
pub mod session;
pub mod svm;
#[cfg(test)]
mod tests;
pub mod told;
pub mod translate;
pub mod verify;
pub mod walk;
pub mod width;
pub mod xen;
