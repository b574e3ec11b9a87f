//! The records of a drmemtrace stream: `trace_entry_t` of 64-bit programs, packed.
//!
//! The numbers are those of DynamoRIO's `trace_entry.h` (`trace_type_t` and `trace_marker_type_t`),
//! trace versions 1 to 7.

/// Size of a record in bytes.
pub(super) const SIZE: usize = 12;

/// A record: `u16` type, `u16` size, `u64` address or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: u16,
    /// Bytes of a reference, an instruction or an encoding; which marker it is.
    pub(super) size: u16,
    /// An address, or what a marker says.
    pub(super) value: u64,
}

impl Entry {
    pub(super) fn decode(bytes: &[u8; SIZE]) -> Self {
        let [a, b, c, d, value @ ..] = *bytes;
        Entry {
            kind: u16::from_le_bytes([a, b]),
            size: u16::from_le_bytes([c, d]),
            value: u64::from_le_bytes(value),
        }
    }
}

/// Types of records.
pub(super) mod kind {
    pub(in super::super) const READ: u16 = 0;
    pub(in super::super) const WRITE: u16 = 1;
    pub(in super::super) const PREFETCH: u16 = 2;
    pub(in super::super) const PREFETCH_INSTR: u16 = 9;
    pub(in super::super) const INSTR: u16 = 10;
    pub(in super::super) const DIRECT_CALL: u16 = 14;
    pub(in super::super) const INDIRECT_CALL: u16 = 15;
    pub(in super::super) const RETURN: u16 = 16;
    pub(in super::super) const BUNDLE: u16 = 17;
    pub(in super::super) const INSTR_FLUSH: u16 = 18;
    pub(in super::super) const DATA_FLUSH_END: u16 = 21;
    pub(in super::super) const THREAD: u16 = 22;
    pub(in super::super) const THREAD_EXIT: u16 = 23;
    pub(in super::super) const PID: u16 = 24;
    pub(in super::super) const HEADER: u16 = 25;
    pub(in super::super) const FOOTER: u16 = 26;
    pub(in super::super) const HARDWARE_PREFETCH: u16 = 27;
    pub(in super::super) const MARKER: u16 = 28;
    pub(in super::super) const NO_FETCH: u16 = 29;
    pub(in super::super) const MAYBE_FETCH: u16 = 30;
    pub(in super::super) const SYSENTER: u16 = 31;
    pub(in super::super) const PREFETCH_READ_L1_NT: u16 = 32;
    pub(in super::super) const PREFETCH_WRITE_L3_NT: u16 = 46;
    pub(in super::super) const ENCODING: u16 = 47;
    pub(in super::super) const TAKEN_JUMP: u16 = 48;
    pub(in super::super) const UNTAKEN_JUMP: u16 = 49;
}

/// Types of markers.
pub(super) mod marker {
    pub(in super::super) const TIMESTAMP: u16 = 2;
    pub(in super::super) const CPU_ID: u16 = 3;
    pub(in super::super) const FILETYPE: u16 = 9;
    pub(in super::super) const VERSION: u16 = 12;
    pub(in super::super) const WINDOW_ID: u16 = 14;
    pub(in super::super) const PHYSICAL_ADDRESS: u16 = 15;
    pub(in super::super) const PHYSICAL_ADDRESS_NOT_AVAILABLE: u16 = 16;
    pub(in super::super) const VIRTUAL_ADDRESS: u16 = 17;
    pub(in super::super) const PAGE_SIZE: u16 = 18;
    pub(in super::super) const SYSCALL: u16 = 25;
    pub(in super::super) const SYSCALL_TRACE_START: u16 = 27;
    pub(in super::super) const SYSCALL_TRACE_END: u16 = 28;
    pub(in super::super) const CORE_IDLE: u16 = 33;
    pub(in super::super) const CONTEXT_SWITCH_START: u16 = 34;
    pub(in super::super) const CONTEXT_SWITCH_END: u16 = 35;
    pub(in super::super) const HARDWARE_EVENT: u16 = 43;
    pub(in super::super) const HARDWARE_CONTEXT_RETURN: u16 = 44;
}

/// Bits of the file type.
pub(super) mod filetype {
    pub(in super::super) const FILTERED: u64 = 0x01;
    pub(in super::super) const INSTRUCTION_ONLY: u64 = 0x04;
    pub(in super::super) const AARCH64: u64 = 0x08;
    pub(in super::super) const ARM32: u64 = 0x10;
    pub(in super::super) const X86_32: u64 = 0x20;
    pub(in super::super) const I_FILTERED: u64 = 0x80;
    pub(in super::super) const D_FILTERED: u64 = 0x100;
    pub(in super::super) const REGISTER_DEPENDENCIES: u64 = 0x20000;
    pub(in super::super) const WHOLE_SYSTEM: u64 = 0x40000;
}
