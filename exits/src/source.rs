//! Where events come from.

use crate::breakdown::Watch;
use crate::coverage::Coverage;
use crate::error::Error;
use crate::event::{Event, Unit, Vcpus};

/// A trace read front to back. Events of one vCPU come in the order of the trace; where several CPUs
/// are recorded, they are merged by time.
pub trait Source {
    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// If the trace cannot be read. What is merely odd is counted in [`Source::coverage`].
    fn next_event(&mut self) -> Result<Option<Event>, Error>;

    /// Gives `take` all events that are left. Unlike [`Source::next_event`] it may give those of
    /// different vCPUs in another order than that of their times, between two changes of who runs
    /// where: what is told of each vCPU is the same.
    ///
    /// # Errors
    /// As [`Source::next_event`].
    #[inline]
    fn each_event(&mut self, take: &mut impl Take) -> Result<(), Error>
    where
        Self: Sized,
    {
        while let Some(event) = self.next_event()? {
            take.take(&event);
        }
        Ok(())
    }

    /// Looks for probes from now on, and reports each as a [`Kind::Probe`](crate::Kind::Probe).
    ///
    /// # Errors
    /// [`Error::Rules`] if this trace has no records that are named so.
    fn watch(&mut self, watch: Watch) -> Result<(), Error>;

    /// The vCPUs seen so far.
    fn vcpus(&self) -> &Vcpus;

    /// What was understood so far.
    fn coverage(&self) -> &Coverage;

    /// What times are counted in.
    fn unit(&self) -> Unit;

    /// Names of exit reasons that have no number; see [`Isa::Named`](crate::Isa::Named).
    fn reason_names(&self) -> &[String] {
        &[]
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        (**self).next_event()
    }

    fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        (**self).watch(watch)
    }

    fn vcpus(&self) -> &Vcpus {
        (**self).vcpus()
    }

    fn coverage(&self) -> &Coverage {
        (**self).coverage()
    }

    fn unit(&self) -> Unit {
        (**self).unit()
    }

    fn reason_names(&self) -> &[String] {
        (**self).reason_names()
    }
}

/// What events are given to.
pub trait Take {
    /// Takes the next one.
    fn take(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Take for F {
    #[inline]
    fn take(&mut self, event: &Event) {
        self(event);
    }
}
