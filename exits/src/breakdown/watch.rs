//! Records that a reader looks for because probes name them.

use crate::error::Error;
use crate::event::{Event, Kind, VcpuId};
use crate::text::number;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::PathBuf;
use strata_symbols::{did_you_mean, near_names};

/// What a probe calls the records that it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum EventName {
    /// Number of an event of xentrace, flags and class included.
    Number(u32),
    /// Name of a tracepoint, or of an event of a native trace; its system may stand before it.
    Name(String),
}

impl EventName {
    /// Whether a record of that event is meant. Where one of both tells no system, none is compared.
    fn is(&self, event: EventRef<'_>) -> bool {
        match (self, event) {
            (EventName::Number(wanted), EventRef::Number(found)) => *wanted == found,
            (EventName::Name(wanted), EventRef::Name(found)) => {
                match (wanted.split_once(':'), found.split_once(':')) {
                    (Some((_, wanted)), None) => wanted == found,
                    (None, Some((_, found))) => wanted == found,
                    _ => wanted == found,
                }
            }
            _ => false,
        }
    }
}

/// The event of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventRef<'e> {
    Number(u32),
    Name(&'e str),
}

/// What a condition wants of a field.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Wanted {
    /// That number; of a text the number that it is, decimal or with `0x`.
    Number(i64),
    /// That text.
    Text(String),
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldValue<'f> {
    Number(u64),
    Text(Cow<'f, str>),
}

impl Wanted {
    fn is(&self, found: &FieldValue<'_>) -> bool {
        match (self, found) {
            (Wanted::Number(wanted), FieldValue::Number(found)) => *wanted as u64 == *found,
            (Wanted::Number(wanted), FieldValue::Text(text)) => {
                number(text) == Some(*wanted as u64)
            }
            (Wanted::Text(wanted), FieldValue::Text(text)) => *wanted == **text,
            (Wanted::Text(_), FieldValue::Number(_)) => false,
        }
    }
}

/// A record that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// The probe that it is, by its place in the list of probes.
    pub(crate) number: u16,
    /// What the user calls that.
    pub(crate) probe: String,
    pub(crate) event: EventName,
    /// All must hold.
    pub(crate) conditions: Vec<(String, Wanted)>,
}

/// Adds the probes that a record is to its own events, which are those from `own` on. An entry ends
/// its exit, so that probes come before it, else behind.
pub(crate) fn add_probes(
    events: &mut VecDeque<Event>,
    own: usize,
    probes: Vec<u16>,
    (time, cpu, vcpu): (u64, u16, Option<VcpuId>),
) {
    let is_entry = events.len() > own && events.back().is_some_and(|last| last.kind == Kind::Entry);
    let entry = if is_entry { events.pop_back() } else { None };
    let probe = |number| Event { time, cpu, vcpu, kind: Kind::Probe { number } };
    events.extend(probes.into_iter().map(probe).chain(entry));
}

/// Records that a reader looks for, each of which it reports as a
/// [`Kind::Probe`](crate::Kind::Probe).
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The file that names them.
    pub(crate) place: PathBuf,
    /// In the order of probes.
    pub(crate) records: Vec<Watched>,
}

impl Watch {
    /// True if nothing is looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// True if some records of that event may be wanted.
    pub(crate) fn names(&self, event: EventRef<'_>) -> bool {
        self.records.iter().any(|watched| watched.event.is(event))
    }

    /// The probes that a record is, the last first: so one record is never two probes of an exit
    /// that follow each other.
    pub(crate) fn probes<'f>(
        &self,
        event: EventRef<'_>,
        get: impl Fn(&str) -> Option<FieldValue<'f>>,
    ) -> Vec<u16> {
        let holds = |(field, wanted): &(String, Wanted)| get(field).is_some_and(|f| wanted.is(&f));
        let is =
            |watched: &&Watched| watched.event.is(event) && watched.conditions.iter().all(holds);
        self.records.iter().rev().filter(is).map(|watched| watched.number).collect()
    }

    /// Makes sure that records are named as a format names them: by number, or by name.
    ///
    /// # Errors
    /// [`Error::Rules`] for the first that is not.
    pub(crate) fn check(&self, by_number: bool) -> Result<(), Error> {
        let other = |watched: &&Watched| matches!(watched.event, EventName::Number(_)) != by_number;
        let Some(watched) = self.records.iter().find(other) else { return Ok(()) };
        let probe = &watched.probe;
        let why = match &watched.event {
            EventName::Number(event) => format!(
                "probe {probe}: event: {event:#x} is a number of xentrace's, and the trace is \
                 another tool's; name a tracepoint, such as \"kvm_userspace_exit\""
            ),
            EventName::Name(event) => format!(
                "probe {probe}: event: \"{event}\" is a name, and the trace is xentrace's; give \
                 the event's number, such as 0x82016"
            ),
        };
        Err(Error::Rules { path: self.place.clone(), why })
    }

    /// Makes sure that a trace has the events that are named, where it says which it has.
    ///
    /// # Errors
    /// [`Error::Rules`] for the first that it does not have.
    pub(crate) fn check_names<'n>(
        &self,
        there: impl Iterator<Item = &'n str> + Clone,
    ) -> Result<(), Error> {
        for Watched { probe, event, .. } in &self.records {
            let EventName::Name(name) = event else { continue };
            if there.clone().any(|found| event.is(EventRef::Name(found))) {
                continue;
            }
            let bare = name.rsplit(':').next().unwrap_or_default();
            let near = did_you_mean(&near_names(bare, there.clone())).unwrap_or_else(|| {
                format!("it has {}", there.clone().collect::<Vec<_>>().join(", "))
            });
            let why = format!("probe {probe}: event: the trace has no records of {name}; {near}");
            return Err(Error::Rules { path: self.place.clone(), why });
        }
        Ok(())
    }
}
