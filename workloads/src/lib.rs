//! Where instruction streams come from: the native trace format, importers of other tools' traces and
//! the making of captures.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

#[cfg(feature = "capture")]
pub mod capture;
pub mod code;
#[cfg(feature = "import")]
pub mod import;
pub mod manifest;
pub mod trace;
