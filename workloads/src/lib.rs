//! Where instruction streams come from: the native trace format and the making of captures.

#[cfg(feature = "capture")]
pub mod capture;
pub mod code;
pub mod manifest;
pub mod trace;
