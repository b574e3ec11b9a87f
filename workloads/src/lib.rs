//! Where instruction streams come from: the native trace format and the making of captures.

pub mod trace;
