//! Where the time goes at VM exits: event traces of Xen and KVM, read and accounted.
//!
//! A [`Source`] reads a trace, whatever its format, as [`Event`]s; an [`Account`] matches exits
//! with entries, in bounded memory, and makes an [`ExitReport`].
//!
//! ```
//! use strata_exits::{Account, Accounting, PerfScript};
//!
//! let text = "\
//! qemu 7/8 [000] 1.000000: kvm:kvm_entry: vcpu 0, rip 0x10
//! qemu 7/8 [000] 1.000010: kvm:kvm_exit: vcpu 0 reason IO_INSTRUCTION rip 0x12 info1 0x610008 info2 0x0
//! qemu 7/8 [000] 1.000013: kvm:kvm_entry: vcpu 0, rip 0x14
//! ";
//! let report = Account::new(Accounting::default())?.run(&mut PerfScript::new(text.as_bytes()))?;
//! assert_eq!(report.rows[0].name, "IO_INSTRUCTION");
//! assert_eq!(report.rows[0].sums.durations.total(), 3000);
//! # Ok::<(), strata_exits::Error>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod accounting;
mod breakdown;
mod counted;
mod coverage;
mod detect;
mod distribution;
mod error;
mod event;
mod kvm;
mod lint;
mod names;
mod native;
mod open;
mod perf_data;
mod perf_head;
mod read_at;
mod source;
mod sync;
mod text;
mod timeline;
mod vcpu_time;
mod xentrace;

pub use accounting::{
    Account, Accounting, By, ExitReport, Interval, Intervals, Key, MOST_KEYS, PAPER_EDGES,
    ParavirtualRow, Row, RunStates, Scenario, Sums, Unmatched, VcpuRow, VcpuTimes, Window,
};
pub use breakdown::{Breakdown, BreakdownReport, PhaseRow, Phases, ProbeCount, Watch};
pub use coverage::Coverage;
pub use detect::{BEGINNING, Format, old_layout};
pub use distribution::{Distribution, PERCENTILE_ERROR};
pub use error::Error;
pub use event::{
    Event, IDLE_DOMAIN, Isa, Kind, Paravirtual, PortAccess, PortDirection, RunState, Unit, VcpuId,
    VcpuName, Vcpus,
};
pub use lint::{Finding, Lint, Range, Verdict, lint};
pub use names::{exit_reason, is_known_reason};
pub use native::Native;
pub use open::AnyTrace;
pub use perf_data::PerfData;
pub use read_at::ReadAt;
pub use source::{Source, Take};
pub use sync::{
    Check, Fit, Guest, GuestEvent, Host, HostGuest, Line, Method, Point, Ran, Run, SyncOptions,
    Synced, SyncedVcpu, check, fit, synchronize,
};
pub use text::{Babeltrace, PerfScript, TraceCmd};
pub use timeline::{Activity, Timeline};
pub use vcpu_time::{ExitSlice, PlainSlice, VcpuSlices, VcpuState, VcpuTime};
pub use xentrace::{OldLayout, OldXentrace, Xentrace, looks_new, looks_old};
