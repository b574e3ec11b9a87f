//! Events of a guest's own trace, whatever they tell.

use crate::coverage::Coverage;
use crate::detect::{BEGINNING, Format};
use crate::error::Error;
use crate::event::Unit;
use crate::text::each_record;
use rustc_hash::FxHashMap;
use std::io::{Cursor, Read};

/// An event of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestEvent {
    /// By the guest's clock.
    pub time: u64,
    /// CPU of the guest.
    pub cpu: u16,
    /// Thread of the guest, where the trace tells it.
    pub thread: Option<u32>,
    /// Place of its name in [`Guest::names`].
    pub name: u32,
    /// Its fields as printed, if they were asked for.
    pub fields: Option<Box<str>>,
}

/// A guest's trace in memory, by time.
#[derive(Clone, Debug)]
pub struct Guest {
    /// All events, ascending by time.
    pub events: Vec<GuestEvent>,
    /// Names of events.
    pub names: Vec<String>,
    /// What times are counted in.
    pub unit: Unit,
    /// Of which format the trace is.
    pub format: Format,
    /// What of it was understood.
    pub coverage: Coverage,
}

impl Guest {
    /// Reads text of `perf script`, `trace-cmd report`, ftrace or LTTng.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] and [`Error::WrongFormat`] for anything else; those of the system.
    pub fn read(
        mut input: impl Read,
        from: Option<Format>,
        with_fields: bool,
    ) -> Result<Guest, Error> {
        let mut begin = Vec::new();
        input.by_ref().take(BEGINNING as u64).read_to_end(&mut begin)?;
        let format = match from {
            Some(format) => {
                format.check(&begin)?;
                format
            }
            None => Format::of(&begin)?,
        };
        let mut guest = Guest {
            events: Vec::new(),
            names: Vec::new(),
            unit: Unit::Nanoseconds,
            format,
            coverage: Coverage::default(),
        };
        let mut known: FxHashMap<String, u32> = FxHashMap::default();
        let outcome = each_record(Cursor::new(begin).chain(input), format, |record| {
            let name = known.get(record.event).copied().unwrap_or_else(|| {
                let next = guest.names.len() as u32;
                guest.names.push(record.event.to_owned());
                known.insert(record.event.to_owned(), next);
                next
            });
            if record.in_cycles {
                guest.unit = Unit::Cycles;
            }
            let fields = with_fields.then(|| record.fields.into());
            let (time, cpu, thread) = (record.place.time, record.place.cpu, record.place.thread);
            guest.events.push(GuestEvent { time, cpu, thread, name, fields });
        });
        guest.coverage = outcome.ok_or_else(|| Error::WrongFormat {
            expected: "guest's",
            why: format!("it is {}, of which only the events of exits are read", format.name()),
            remedy: "give text of perf script, trace-cmd report, ftrace or babeltrace2".to_owned(),
        })??;
        guest.events.sort_by_key(|event| event.time);
        Ok(guest)
    }
}
