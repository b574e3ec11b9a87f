//! Who runs and where, as markers tell: CPUs, processes, page translations.
//!
//! The records know no control registers. A process stands for an address space with a top table
//! of its own that no machine has: at (process number + 1) × 4096. Once a translation has been told
//! paging is on.

use super::super::builder::Builder;
use super::super::error::ImportError;
use crate::trace::{
    ControlRegister, Event, PageFlags, PageSize, Space, SpaceId, Translation, Walk, WalkId,
};
use rustc_hash::FxHashMap;
use std::io::{Seek, Write};

/// CR0 with paging: PE, WP and PG.
const CR0: u64 = 0x8001_0001;
/// CR4: PAE.
const CR4: u64 = 0x20;
/// EFER: LME and LMA.
const EFER: u64 = 0x500;
/// More processes would not fit the addresses of top tables.
pub(super) const MAX_PROCESS: u64 = (1 << 40) - 2;
/// The most that a native trace holds.
pub(super) const MAX_CPUS: usize = 1024;

/// What a CPU's registers were told to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Registers {
    paging: bool,
    cr3: u64,
}

/// Who runs and where.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Numbers of CPUs in the order in which they appear; the place is the native number.
    cpus: FxHashMap<u64, u16>,
    registers: Vec<Registers>,
    cpu: u16,
    told_cpu: u16,
    process: u64,
    pub(super) process_known: bool,
    pub(super) paging: bool,
    idle: bool,
    stale: bool,
    spaces: FxHashMap<u64, SpaceId>,
    /// Frame of each page that was told.
    pages: FxHashMap<(SpaceId, u64), (u64, PageSize)>,
}

fn root(process: u64) -> u64 {
    (process + 1) << 12
}

impl Machine {
    pub(super) fn process(&self) -> u64 {
        self.process
    }

    /// Number of CPUs told of.
    pub(super) fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// What follows is of this process, at most [`MAX_PROCESS`].
    pub(super) fn set_process(&mut self, process: u64) {
        self.stale |= process != self.process || !self.process_known;
        (self.process, self.process_known) = (process, true);
    }

    /// What follows runs on the CPU that the stream calls `number`; false if there are too many.
    pub(super) fn set_cpu(&mut self, number: u64) -> bool {
        let next = self.cpus.len() as u16;
        self.cpu = *self.cpus.entry(number).or_insert(next);
        self.stale |= self.cpu != self.told_cpu;
        usize::from(self.cpu) < MAX_CPUS
    }

    /// The CPU has nothing to do until its next reference.
    pub(super) fn idle<W: Write + Seek>(
        &mut self,
        builder: &mut Builder<W>,
    ) -> Result<(), ImportError> {
        if self.idle {
            return Ok(());
        }
        self.sync(builder)?;
        (self.idle, self.stale) = (true, true);
        builder.event(Event::Halt)
    }

    /// Tells what has changed since the last reference.
    #[inline]
    pub(super) fn sync<W: Write + Seek>(
        &mut self,
        builder: &mut Builder<W>,
    ) -> Result<(), ImportError> {
        if self.stale { self.tell(builder) } else { Ok(()) }
    }

    #[cold]
    fn tell<W: Write + Seek>(&mut self, builder: &mut Builder<W>) -> Result<(), ImportError> {
        self.stale = false;
        if std::mem::take(&mut self.idle) {
            builder.event(Event::Wake)?;
        }
        if self.cpu != self.told_cpu {
            self.told_cpu = self.cpu;
            builder.event(Event::Cpu { number: self.cpu })?;
        }
        let number = usize::from(self.cpu);
        if self.registers.len() <= number {
            self.registers.resize(number + 1, Registers::default());
        }
        let cr3 = if self.process_known || self.paging { root(self.process) } else { 0 };
        let wanted = Registers { paging: self.paging, cr3 };
        let before = std::mem::replace(&mut self.registers[number], wanted);
        let begins = wanted.paging && !before.paging;
        for (differs, register, value) in [
            (begins, ControlRegister::Cr4, CR4),
            (begins, ControlRegister::Efer, EFER),
            (before.cr3 != wanted.cr3, ControlRegister::Cr3, wanted.cr3),
            (begins, ControlRegister::Cr0, CR0),
        ] {
            if differs {
                builder.event(Event::Control { register, value })?;
            }
        }
        Ok(())
    }

    /// The page of this size at `page` is at `frame` (both addresses, multiples of the size), in
    /// the address space of the process.
    pub(super) fn translate<W: Write + Seek>(
        &mut self,
        page: u64,
        frame: u64,
        size: PageSize,
        builder: &mut Builder<W>,
    ) -> Result<(), ImportError> {
        if !std::mem::replace(&mut self.paging, true) {
            self.stale = true;
            builder.definitions().walks.push(Walk::default());
        }
        self.sync(builder)?;
        let next = SpaceId(self.spaces.len() as u32);
        let root = root(self.process);
        let space = *self.spaces.entry(root).or_insert_with(|| {
            builder.definitions().spaces.push(Space::Paged { root });
            next
        });
        if self.pages.insert((space, page), (frame, size)) == Some((frame, size)) {
            return Ok(());
        }
        builder.translate(Translation {
            space,
            page: page >> 12,
            frame: frame >> 12,
            guest_frame: frame >> 12,
            size,
            flags: PageFlags {
                user: true,
                writable: true,
                executable: true,
                ..PageFlags::default()
            },
            walk: WalkId(0),
        })
    }
}
