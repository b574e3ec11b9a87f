//! What the recorder needs of the emulator, small enough that a fake can stand in for it.

use crate::memory::Memory;
use strata_workloads::trace::AccessKind;

/// A register that the recorder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// A general register in the ISA's encoding order (4 is RSP).
    General(u8),
    /// RIP.
    InstructionPointer,
    /// CS, the selector.
    CodeSegment,
    /// SS, the selector.
    StackSegment,
    /// Base of FS.
    FsBase,
    /// Base of GS.
    GsBase,
    /// CR0.
    Cr0,
    /// CR2.
    Cr2,
    /// CR3.
    Cr3,
    /// CR4.
    Cr4,
    /// IA32_EFER.
    Efer,
}

/// RAX.
pub const RAX: Register = Register::General(0);
/// RCX.
pub const RCX: Register = Register::General(1);
/// RDX.
pub const RDX: Register = Register::General(2);
/// RSP.
pub const RSP: Register = Register::General(4);
/// RSI.
pub const RSI: Register = Register::General(6);
/// RDI.
pub const RDI: Register = Register::General(7);

/// Direction and width of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Load or store.
    pub kind: AccessKind,
    /// Bytes.
    pub bytes: u16,
}

/// The emulator as the recorder sees it. All of it concerns the CPU that is executing, on the
/// thread that executes it.
pub trait Host {
    /// Value of a register. Exact before a block's first instruction and where a callback was
    /// registered as one that reads registers.
    fn register(&self, register: Register) -> u64;

    /// Guest RAM.
    fn memory(&self) -> &Memory;

    /// How many instructions of `cpu`'s block have begun: the number of the last one that can
    /// fault or leave the block, counted from 1; all of them once the last has begun.
    fn begun(&self, cpu: u32) -> u64;

    /// Sets [`begun`](Self::begun) to 0.
    fn restart(&self, cpu: u32);

    /// What the emulator's description of an access says.
    fn describe(&self, info: u32) -> Access;

    /// Physical address of the access in progress, as the emulator found it.
    fn physical(&self, info: u32, address: u64) -> Option<u64>;

    /// Whether the access in progress, described by `info`, is to registers of an e1000 network card.
    fn is_network_card(&self, info: u32, address: u64) -> bool;

    /// A device's register by linear address. Only for those that reading does not change.
    fn device_word(&self, address: u64) -> Option<u32>;

    /// CPU time of this thread in nanoseconds.
    fn cpu_time(&self) -> u64;

    /// Asks for the recording to be ended soon; it goes on until the emulator has come to a place
    /// where it can be.
    fn request_stop(&self);

    /// Says something to the user.
    fn say(&self, message: &str);
}
