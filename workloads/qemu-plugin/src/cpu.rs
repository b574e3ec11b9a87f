//! What is known of one emulated CPU.

use crate::blocks::Index;
use crate::interrupts::Gates;
use crate::svm::Guest;
use crate::told::Told;
use crate::walk::Paging;
use crate::width::Widths;
use strata_workloads::trace::{ControlRegister, Descriptor, SpaceId, Vcpu};

/// One emulated CPU, as the stream has told it.
#[derive(Debug, Default)]
pub struct Cpu {
    /// Its number.
    pub number: u32,
    /// The stream has told its registers.
    pub introduced: bool,
    /// Pages told.
    pub told: Told,
    /// Registers that translate addresses: those of the nested guest while one runs.
    pub paging: Paging,
    /// The space they stand for; `None` until it is needed.
    pub space: Option<SpaceId>,
    /// GDTR.
    pub gdt: Descriptor,
    /// IDTR.
    pub idt: Descriptor,
    /// The task register.
    pub task: Descriptor,
    /// Widths of code segments.
    pub widths: Widths,
    /// Where interrupts and exceptions go.
    pub gates: Gates,
    /// `gates` are those of the present `idt`.
    pub gates_read: bool,
    /// Xen's `current`.
    pub current: Vcpu,
    /// Xen's `per_cpu(curr_vcpu)`.
    pub loaded: Vcpu,
    /// Where Xen keeps the two.
    pub watched: Option<Watched>,
    /// Between HLT and the wake.
    pub halted: bool,
    /// A nested guest runs.
    pub guest: Option<Guest>,
    /// Where it was when another CPU took its turn.
    pub parked_after: Option<Parked>,
}

/// The last block of a CPU whose turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The block.
    pub block: Index,
    /// Instructions of it that were begun.
    pub begun: u16,
    /// It is a `rep` that was closed without knowing whether it had come to its end.
    pub repeating: bool,
}

/// Virtual addresses of the words that say who runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// `cpu_info.current_vcpu`.
    pub current: u64,
    /// `per_cpu(curr_vcpu)`.
    pub loaded: u64,
}

const CR3_NO_FLUSH: u64 = 1 << 63;

impl Cpu {
    /// A CPU of which nothing is known.
    pub fn new(number: u32) -> Self {
        Cpu { number, ..Cpu::default() }
    }

    /// A control register was written; what was told of pages is forgotten.
    pub fn control(&mut self, register: ControlRegister, value: u64) {
        match register {
            ControlRegister::Cr0 => self.paging.cr0 = value,
            ControlRegister::Cr3 => self.paging.cr3 = value & !CR3_NO_FLUSH,
            ControlRegister::Cr4 => self.paging.cr4 = value,
            // LMA, which the CPU sets itself, follows LME and CR0.PG.
            ControlRegister::Efer => self.paging.efer = value,
        }
        const LME: u64 = 1 << 8;
        const LMA: u64 = 1 << 10;
        const PG: u64 = 1 << 31;
        let long = self.paging.efer & LME != 0 && self.paging.cr0 & PG != 0;
        self.paging.efer = self.paging.efer & !LMA | if long { LMA } else { 0 };
        self.forget();
    }

    /// Takes over all registers that translate addresses.
    pub fn set_paging(&mut self, paging: Paging) {
        self.paging = paging;
        self.forget();
    }

    /// Forgets which pages were told.
    pub fn forget(&mut self) {
        self.space = None;
        self.told.forget();
    }
}
