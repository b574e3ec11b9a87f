//! Markers: what a stream tells between its references.

use super::super::error::ImportError;
use super::super::key::Context;
use super::Reader;
use super::entry::{Entry, filetype, marker};
use super::machine::MAX_CPUS;
use crate::trace::{CodeSize, Event, GapReason, PageSize};
use std::io::{Seek, Write};

/// A CPU's number says that it is unknown.
const UNKNOWN_CPU: u64 = u64::MAX;

impl<W: Write + Seek> Reader<'_, '_, W> {
    /// Takes what a marker says.
    pub(super) fn marker(&mut self, entry: Entry) -> Result<(), ImportError> {
        let value = entry.value;
        match entry.size {
            marker::VERSION => self.version(value),
            marker::FILETYPE => self.file_type(value),
            marker::PAGE_SIZE => {
                self.page_size = value;
                Ok(())
            }
            marker::TIMESTAMP => {
                // Microseconds. Threads may be merged in another order than that of their clocks.
                let since = value.saturating_sub(*self.first_time.get_or_insert(value));
                let nanoseconds = since.saturating_mul(1000);
                if nanoseconds == self.time {
                    return Ok(());
                }
                self.time = nanoseconds;
                self.event(Event::Time { nanoseconds })
            }
            marker::CPU_ID if value == UNKNOWN_CPU => Ok(()),
            marker::CPU_ID => {
                self.settle()?;
                if self.machine.set_cpu(value) {
                    return Ok(());
                }
                Err(self.unsupported(format!("more than {MAX_CPUS} CPUs")))
            }
            marker::WINDOW_ID => match self.window.replace(value) {
                Some(before) if before != value => {
                    self.event(Event::Gap { reason: GapReason::Disarmed, instructions: 0 })
                }
                _ => Ok(()),
            },
            marker::PHYSICAL_ADDRESS => {
                self.physical = Some(value);
                Ok(())
            }
            marker::VIRTUAL_ADDRESS => self.translation(value),
            marker::PHYSICAL_ADDRESS_NOT_AVAILABLE => {
                self.taken.leave_out("pages without a known physical address");
                Ok(())
            }
            marker::SYSCALL => self.event(Event::Syscall { number: value }),
            marker::SYSCALL_TRACE_START => self.kernel(0, true),
            marker::SYSCALL_TRACE_END => self.kernel(0, false),
            marker::CONTEXT_SWITCH_START => self.kernel(1, true),
            marker::CONTEXT_SWITCH_END => self.kernel(1, false),
            marker::HARDWARE_EVENT => self.kernel(2, true),
            marker::HARDWARE_CONTEXT_RETURN => self.kernel(2, false),
            marker::CORE_IDLE => {
                self.settle()?;
                self.machine.idle(self.builder)
            }
            _ => {
                self.taken.leave_out("other markers");
                Ok(())
            }
        }
    }

    fn file_type(&mut self, bits: u64) -> Result<(), ImportError> {
        use filetype::{D_FILTERED, FILTERED, I_FILTERED, INSTRUCTION_ONLY, WHOLE_SYSTEM, X86_32};
        if std::mem::replace(&mut self.file_type, bits) == bits {
            return Ok(());
        }
        for (mask, note) in [
            (
                I_FILTERED | FILTERED,
                "fetches that hit a filter while tracing are not in the stream",
            ),
            (
                D_FILTERED | FILTERED,
                "data references that hit a filter while tracing are not in the stream",
            ),
        ] {
            if bits & mask != 0 {
                self.taken.notes.push(note.to_owned());
            }
        }
        self.taken.lacks.data |= bits & INSTRUCTION_ONLY != 0;
        self.taken.lacks.privilege |= bits & WHOLE_SYSTEM != 0;
        let code_size = if bits & X86_32 != 0 { CodeSize::Bits32 } else { CodeSize::Bits64 };
        self.settle()?;
        self.builder.enter(Context { code_size, ..self.context() })
    }

    fn context(&self) -> Context {
        let in_kernel = self.in_kernel.iter().any(|&depth| depth > 0);
        let narrow = self.file_type & filetype::X86_32 != 0;
        Context {
            privilege: if in_kernel { 0 } else { 3 },
            code_size: if narrow { CodeSize::Bits32 } else { CodeSize::Bits64 },
        }
    }

    /// Kernel code of this sort begins or ends.
    fn kernel(&mut self, sort: usize, begins: bool) -> Result<(), ImportError> {
        let depth = &mut self.in_kernel[sort];
        *depth = if begins { depth.saturating_add(1) } else { depth.saturating_sub(1) };
        self.settle()?;
        self.builder.enter(self.context())
    }

    fn translation(&mut self, address: u64) -> Result<(), ImportError> {
        let Some(physical) = self.physical.take() else {
            return Err(self.malformed("a virtual address without the physical one before".into()));
        };
        let bytes = self.page_size;
        let size = PageSize::ALL.into_iter().find(|size| 1 << size.shift() == bytes);
        let Some(size) = size else {
            return Err(self.unsupported(format!(
                "pages of {bytes} bytes; 4 KiB, 2 MiB, 4 MiB and 1 GiB are taken"
            )));
        };
        let offset = bytes - 1;
        if (address ^ physical) & offset != 0 {
            return Err(self.malformed(format!(
                "{address:#x} is at {physical:#x}, which cannot be in pages of {bytes} bytes"
            )));
        }
        self.settle()?;
        self.machine.translate(address & !offset, physical & !offset, size, self.builder)
    }
}
