//! Instructions with a meaning of their own: looked at before they execute, told to the stream
//! once the block execution that holds them is in it, and only if they completed.

use crate::blocks::Index;
use crate::host::{Host, RAX, RCX, RDI, RDX, RSI, RSP, Register};
use crate::recorder::Recorder;
use crate::svm::{Entry, Guest};
use crate::translate::Special;
use crate::xen;
use iced_x86::{Instruction, Register as Iced};
use strata_workloads::trace::{ControlRegister, Descriptor, DescriptorTable, Event};

/// What an instruction will have done when it completes.
#[derive(Clone, Debug, PartialEq)]
pub enum Pending {
    /// An event that changes nothing here.
    Plain(Event),
    /// A control register is written.
    Control(ControlRegister, u64),
    /// A page is invalidated.
    Invalidate(u64),
    /// A descriptor register was loaded; the recorder has taken it over already.
    Table(DescriptorTable),
    /// The time-stamp counter; read from the registers afterwards, if not known.
    TimeStamp(Option<u64>),
    /// A port was accessed, as often as the instruction repeats.
    Port {
        /// Port.
        port: u16,
        /// Bytes of a transfer.
        bytes: u8,
        /// Direction.
        write: bool,
    },
    /// The CPU sleeps.
    Halt,
    /// A nested guest starts.
    RunGuest {
        /// Its VMCB.
        vmcb: u64,
        /// Where the host goes on.
        host_resumes: u64,
    },
    /// Xen's `current` was stored.
    Current,
    /// Xen's `per_cpu(curr_vcpu)` was stored.
    Loaded,
}

const CR0_TASK_SWITCHED: u64 = 1 << 3;
const EFER: u32 = 0xc000_0080;
/// `rep` prefixes count from RCX of the address size, which is 64 bits wherever it matters.
const R8: Register = Register::General(8);
const R10: Register = Register::General(10);

impl<H: Host> Recorder<H> {
    /// Instruction `index` of the executing block is about to execute; it was marked in the
    /// translation as one to be told of. Registers can be read.
    pub fn instruction(&mut self, block: Index, index: u32) {
        if block != self.running || self.open == crate::blocks::NONE {
            return;
        }
        let index = index as u16;
        self.read_time_stamp();
        let cold = self.blocks.cold(self.open);
        let Some(&(_, special)) = cold.specials.iter().find(|(i, _)| *i == index) else { return };
        // A `rep` that goes on was looked at the first time.
        if self.repeating.is_some() {
            return;
        }
        let Some(&decoded) = self.blocks.decoded(self.open, index) else { return };
        if let Some(pending) = self.look_at(special, &decoded) {
            self.pending.push((index, pending));
        }
        self.attention = true;
    }

    fn look_at(&mut self, special: Special, decoded: &Instruction) -> Option<Pending> {
        let host = &self.host;
        let register = |r| host.register(r);
        let low = |r| register(r) & 0xffff_ffff;
        Some(match special {
            Special::MoveToControl { register: to, from } => {
                Pending::Control(to, register(Register::General(from)))
            }
            Special::ClearTaskSwitched => {
                Pending::Control(ControlRegister::Cr0, register(Register::Cr0) & !CR0_TASK_SWITCHED)
            }
            Special::LoadStatusWord => {
                // PE can be set but not cleared; MP, EM and TS are loaded. A memory operand is
                // rare enough to be left to the registers' next comparison.
                let from = general(decoded.op0_register())?;
                let cr0 = register(Register::Cr0);
                let value = register(from) & 0xf;
                Pending::Control(ControlRegister::Cr0, (cr0 & !0xe) | value)
            }
            Special::InvalidatePage => Pending::Invalidate(self.effective_address(decoded)?),
            Special::InvalidatePageOfAsid => {
                Pending::Plain(Event::Invlpga { address: register(RAX), asid: low(RCX) as u32 })
            }
            Special::InvalidateContext => {
                let kind = register(general(decoded.op0_register())?) as u8;
                let at = self.effective_address(decoded)?;
                let word = |at| crate::pages::read_u64(host.memory(), &self.now.paging, at);
                let pcid = word(at)? as u16 & 0xfff;
                let address = word(at.wrapping_add(8))?;
                Pending::Plain(Event::Invpcid { kind, pcid, address })
            }
            Special::WriteMsr => {
                let index = low(RCX) as u32;
                let value = low(RDX) << 32 | low(RAX);
                if index == EFER {
                    Pending::Control(ControlRegister::Efer, value)
                } else {
                    Pending::Plain(Event::Msr { index, value })
                }
            }
            Special::ReadTimeStamp => Pending::TimeStamp(None),
            Special::Port { bytes, write, port } => {
                let port = port.map_or_else(|| register(RDX) as u16, u16::from);
                Pending::Port { port, bytes, write }
            }
            Special::Halt => Pending::Halt,
            Special::SystemCall | Special::HypervisorCall => {
                self.call(special);
                return None;
            }
            // Its loads say what is loaded: see `table_access`.
            Special::LoadTable(_) => return None,
            Special::RunGuest => {
                Pending::RunGuest { vmcb: register(RAX), host_resumes: decoded.next_ip() }
            }
            Special::Marker(number) => Pending::Plain(Event::Marker { number: number.into() }),
        })
    }

    fn call(&mut self, special: Special) {
        let register = |r| self.host.register(r);
        let number = register(RAX);
        let index = self.blocks.hot(self.open).count - 1;
        let address = self.blocks.hot(self.open).address;
        let from_kernel = special == Special::HypervisorCall
            || self.xen.is_some()
                && self
                    .now
                    .space
                    .and_then(|space| self.pages.holding(space, address))
                    .is_some_and(|page| page.flags.guest_kernel);
        if !from_kernel {
            self.pending.push((index, Pending::Plain(Event::Syscall { number })));
            return;
        }
        let arguments = [RDI, RSI, RDX, R10, R8].map(register);
        let mut events = vec![Event::Hypercall { number, arguments }];
        let memory = self.host.memory();
        xen::operations(memory, &self.now.paging, number, arguments, &mut events);
        self.pending.extend(events.into_iter().map(|event| (index, Pending::Plain(event))));
    }

    fn effective_address(&self, decoded: &Instruction) -> Option<u64> {
        decoded.virtual_address(decoded.op_count() - 1, 0, |register, _, _| {
            Some(match register {
                Iced::FS => self.host.register(Register::FsBase),
                Iced::GS => self.host.register(Register::GsBase),
                // The other segments have base 0 in 64-bit mode and in every system that the
                // recorder meets with paging on.
                Iced::CS | Iced::DS | Iced::ES | Iced::SS => 0,
                _ => {
                    let value = self.host.register(general(register)?);
                    if register.size() == 4 { value & 0xffff_ffff } else { value }
                }
            })
        })
    }

    /// RDTSC is followed by an instruction that is looked at too, or ends its block: either way
    /// its result is still in the registers.
    pub(crate) fn read_time_stamp(&mut self) {
        if let Some((_, Pending::TimeStamp(value @ None))) = self.pending.last_mut() {
            let half = |r| self.host.register(r) & 0xffff_ffff;
            *value = Some(half(RDX) << 32 | half(RAX));
        }
    }

    /// Tells the stream of what the first `completed` instructions of the closed execution did,
    /// and takes it into account. `iterations` are those of its `rep` instruction.
    pub(crate) fn apply_pending(&mut self, completed: u16, iterations: u64) {
        if self.pending.is_empty() {
            return;
        }
        self.read_time_stamp();
        let mut pending = std::mem::take(&mut self.pending);
        for (instruction, pending) in pending.drain(..) {
            // Some of a repeated transfer may be done before it is interrupted.
            let done = instruction < completed
                || matches!(pending, Pending::Port { .. }) && iterations > 0
                || matches!(pending, Pending::Current | Pending::Loaded);
            if done {
                self.apply(pending, iterations);
            }
        }
        self.pending = pending;
    }

    fn apply(&mut self, pending: Pending, iterations: u64) {
        match pending {
            Pending::Plain(event) => self.batch.event(event),
            Pending::Control(register, value) => {
                self.now.control(register, value);
                self.batch.event(Event::Control { register, value });
            }
            Pending::Invalidate(address) => {
                self.forget_page(address);
                self.batch.event(Event::Invlpg { address });
            }
            Pending::Table(table) => {
                self.tell_table(table);
                if table == DescriptorTable::Task {
                    self.find_watched();
                }
            }
            Pending::TimeStamp(value) => {
                self.batch.event(Event::Tsc { value: value.unwrap_or(0) });
            }
            Pending::Port { port, bytes, write } => {
                let count = u32::try_from(iterations.max(1)).unwrap_or(u32::MAX);
                self.batch.event(Event::Port { port, bytes, write, count });
            }
            Pending::Halt => {
                self.now.halted = true;
                self.batch.event(Event::Halt);
            }
            Pending::RunGuest { vmcb, host_resumes } => self.run_guest(vmcb, host_resumes),
            Pending::Current => self.tell_current(),
            Pending::Loaded => self.tell_loaded(),
        }
    }

    /// Forgets that the page of `address` was told: all of it, when it is a large one.
    pub(crate) fn forget_page(&mut self, address: u64) {
        use strata_workloads::trace::PageSize::Size4K;
        let large = self
            .now
            .space
            .and_then(|space| self.pages.holding(space, address))
            .is_some_and(|page| page.size != Size4K);
        if large { self.now.told.forget() } else { self.now.told.forget_page(address) }
    }

    fn table_mut(&mut self, table: DescriptorTable) -> &mut Descriptor {
        match table {
            DescriptorTable::Global => &mut self.now.gdt,
            DescriptorTable::Interrupt => &mut self.now.idt,
            DescriptorTable::Task => &mut self.now.task,
        }
    }

    pub(crate) fn tell_table(&mut self, table: DescriptorTable) {
        let Descriptor { base, limit, selector } = *self.table_mut(table);
        self.batch.event(Event::Descriptor { table, selector, base, limit });
    }

    /// An LGDT, LIDT or LTR on `cpu` loaded `value` of `bytes` bytes from memory. Works before the
    /// recording begins too, as tables are loaded once and for all at boot.
    pub fn table_access(&mut self, cpu: u32, table: DescriptorTable, bytes: u16, value: u64) {
        if self.awaits_exit() {
            return;
        }
        self.run_on(cpu);
        match (table, bytes) {
            (DescriptorTable::Task, 2) => self.load_task(cpu, value as u16),
            // LTR's own reads of the descriptor.
            (DescriptorTable::Task, _) => {}
            (_, 2) => self.table_mut(table).limit = value as u32,
            (_, _) => {
                self.table_mut(table).base = value;
                self.table_loaded(table);
            }
        }
    }

    /// LTR of a selector.
    pub fn load_task(&mut self, cpu: u32, selector: u16) {
        if self.awaits_exit() {
            return;
        }
        self.run_on(cpu);
        let paging = self.paging_registers();
        let at = self.now.gdt.base.wrapping_add(u64::from(selector & !7));
        let word = |at| crate::pages::read_u64(self.host.memory(), &paging, at);
        let (low, high) = (word(at).unwrap_or(0), word(at.wrapping_add(8)).unwrap_or(0));
        let long = paging.efer & (1 << 10) != 0;
        let base = (low >> 16 & 0xff_ffff) | (low >> 56 & 0xff) << 24;
        let base = if long { base | high << 32 } else { base };
        let limit = (low & 0xffff | low >> 32 & 0xf_0000) as u32;
        self.now.task = Descriptor { base, limit, selector };
        self.now.watched = None;
        self.table_loaded(DescriptorTable::Task);
    }

    fn table_loaded(&mut self, table: DescriptorTable) {
        match table {
            DescriptorTable::Global => self.now.widths.table_changed(),
            DescriptorTable::Interrupt => self.now.gates_read = false,
            DescriptorTable::Task => {}
        }
        if self.phase == crate::recorder::Phase::Recording && self.open != crate::blocks::NONE {
            let instruction = self.host.begun(self.now.number).saturating_sub(1) as u16;
            self.pending.push((instruction, Pending::Table(table)));
            self.attention = true;
        }
    }

    fn run_guest(&mut self, vmcb: u64, host_resumes: u64) {
        let Some(entry) = Entry::read(self.host.memory(), vmcb) else { return };
        let host_tables = [self.now.gdt, self.now.idt, self.now.task];
        self.now.guest = Some(Guest { vmcb, host_resumes, host: self.now.paging, host_tables });
        self.batch.event(entry.event(vmcb));
        self.now.set_paging(entry.paging);
        self.set_tables(entry.tables);
    }

    /// Back from a guest.
    pub(crate) fn leave_guest(&mut self, guest: Guest) {
        self.batch.event(crate::svm::exit_event(self.host.memory(), guest.vmcb));
        self.now.guest = None;
        self.now.set_paging(guest.host);
        self.set_tables(guest.host_tables);
        self.tell_stack_pointer();
    }

    fn set_tables(&mut self, tables: [Descriptor; 3]) {
        use DescriptorTable::{Global, Interrupt, Task};
        for (table, value) in [Global, Interrupt, Task].into_iter().zip(tables) {
            if *self.table_mut(table) != value {
                *self.table_mut(table) = value;
                self.now.gates_read &= table != Interrupt;
                self.now.widths.table_changed();
                self.tell_table(table);
            }
        }
    }

    pub(crate) fn tell_stack_pointer(&mut self) {
        let value = self.host.register(RSP);
        self.batch.event(Event::StackPointer { value });
    }

    pub(crate) fn tell_current(&mut self) {
        if let (Some(layout), Some(watched)) = (&self.xen, self.now.watched) {
            let memory = self.host.memory();
            if let Some(vcpu) = xen::vcpu(memory, &self.now.paging, layout, watched.current)
                && vcpu != self.now.current
            {
                self.now.current = vcpu;
                self.batch.event(Event::Current(vcpu));
            }
        }
    }

    pub(crate) fn tell_loaded(&mut self) {
        if let (Some(layout), Some(watched)) = (&self.xen, self.now.watched) {
            let memory = self.host.memory();
            if let Some(vcpu) = xen::vcpu(memory, &self.now.paging, layout, watched.loaded)
                && vcpu != self.now.loaded
            {
                self.now.loaded = vcpu;
                self.batch.event(Event::Loaded(vcpu));
            }
        }
    }
}

fn general(register: Iced) -> Option<Register> {
    register.is_gpr().then(|| Register::General(register.full_register().number() as u8))
}
