//! A guest's trace and its host's on one clock.
//!
//! Where both count the time-stamp counter and the host tells the guest's offset, that is the answer.
//! Else each guest event must be within a stretch in which the host ran its vCPU: limits on the line
//! `host = a × guest + b`, solved as a linear problem (DORSAL's third way, with convex hulls there).

mod both;
mod fit;
mod guest;
mod host;
mod line;
mod solve;

pub use both::{Method, SyncOptions, Synced, SyncedVcpu, synchronize};
pub use fit::{Check, Fit, Point, Run, check, fit};
pub use guest::{Guest, GuestEvent};
pub use host::{Host, HostGuest, Ran};
pub use line::Line;
