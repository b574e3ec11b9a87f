//! Between two block executions, when they do not simply follow one another: how far the first
//! came, what happened in between, and what the second needs told before it runs.

use crate::blocks::{Index, NONE, ShapeKey, instruction_of};
use crate::cpu::Parked;
use crate::host::{Host, Register};
use crate::interrupts::{self, Gate, Gates, PAGE_FAULT};
use crate::pages::read_u64;
use crate::recorder::{NO_FRAME, Phase, Recorder};
use crate::svm;
use crate::walk::Paging;
use strata_workloads::trace::{Event, Interrupt, InterruptKind, Repeat, StackEffect};

/// How an execution ended.
#[derive(Clone, Debug, Default)]
struct Ending {
    completed: u16,
    interrupted: bool,
    interrupt: Option<Interrupt>,
}

impl<H: Host> Recorder<H> {
    /// The general case of [`execute`](Recorder::execute).
    #[cold]
    #[inline(never)]
    pub(crate) fn turn(&mut self, cpu: u32, running: Index, frame: u32, begun: u64) {
        match self.phase {
            Phase::Armed if self.awaits_exit() => return,
            Phase::Armed => self.begin(cpu),
            Phase::Recording => {}
            Phase::Waiting | Phase::Done => return,
        }
        if self.goes_on(cpu, running, frame, begun) {
            return;
        }
        self.run_on(cpu);
        let to = self.actual(running);
        let interrupt = if self.open != NONE {
            let begun = self.begun_of_open(begun);
            let ending = self.ending(self.open, begun, to);
            self.close(ending.completed, ending.interrupted);
            ending.interrupt
        } else {
            self.resumed(to)
        };
        self.arrive(to, interrupt);
        self.open = to;
        self.running = running;
        self.flush_if_full();
    }

    /// One more iteration of the `rep` that the open execution ends in.
    fn goes_on(&mut self, cpu: u32, running: Index, frame: u32, begun: u64) -> bool {
        if self.open == NONE || cpu != self.now.number {
            return false;
        }
        let Some(repeat) = self.blocks.cold(self.open).repeat else { return false };
        let to = self.blocks.hot(running);
        let goes_on = to.address == repeat.address
            && to.count == 1
            && begun == u64::from(self.blocks.hot(self.running).count)
            && self.now.told.is_at(to.address, frame);
        if goes_on {
            self.settle();
            self.running = running;
            // Translations told while it went on are events before it; nothing else is pending.
            if self.repeating.is_none() {
                return false;
            }
        }
        goes_on
    }

    /// The block at the address where it is really executing: the emulator shares one translation
    /// among all virtual addresses of a physical page.
    fn actual(&mut self, running: Index) -> Index {
        let hot = self.blocks.hot(running);
        if self.blocks.cold(running).block.code_size.bits() != 64 {
            return running;
        }
        let address = self.host.register(Register::InstructionPointer);
        if address == hot.address {
            return running;
        }
        self.counts.moved += 1;
        if let Some(&known) = self.moved.get(&(running, address)) {
            return known;
        }
        let moved = self.blocks.moved(running, address);
        self.moved.insert((running, address), moved);
        moved
    }

    /// How many instructions of the open execution have begun. While a `rep` goes on, the emulator
    /// counts from its own block of one instruction.
    pub(crate) fn begun_of_open(&self, begun: u64) -> u16 {
        let count = self.blocks.hot(self.open).count;
        let before = count - self.blocks.hot(self.running).count.min(count);
        before + begun.min(u64::from(count)) as u16
    }

    /// What happened to a CPU between its last block, which was closed when another CPU took its
    /// turn, and `to`.
    fn resumed(&mut self, to: Index) -> Option<Interrupt> {
        let Parked { block, begun, repeating } = self.now.parked_after.take()?;
        let ending = self.ending(block, begun, to);
        if repeating
            && !ending.interrupted
            && self.blocks.hot(to).address != self.blocks.hot(block).address
        {
            // The `rep` was taken to be interrupted, but had come to its end.
            let effect = self.push(block, 1, false, Some(Repeat { slots: 0, backward: false }));
            self.batch.iterations.push(0);
            self.counts.instructions += 1;
            self.attention = effect == StackEffect::Loaded;
        }
        ending.interrupt
    }

    fn ending(&mut self, open: Index, begun: u16, to: Index) -> Ending {
        let from = *self.blocks.hot(open);
        let target = *self.blocks.hot(to);
        let complete = begun == from.count;
        let whole = |completed| Ending { completed, ..Ending::default() };
        if let Some(guest) = self.now.guest
            && target.address == guest.host_resumes
            && self.blocks.cold(to).block.privilege == 0
        {
            let resume = svm::guest_resumes(self.host.memory(), guest.vmcb);
            return self.left_at(open, begun, resume);
        }
        if complete && (target.address == from.next || target.address == from.target) {
            return whole(begun);
        }
        let exits = self.blocks.cold(open).exits;
        if !(complete && from.anywhere && !target.gate) {
            let returned =
                complete && exits.interrupt_return && self.returns_to(open, target.address);
            if !returned
                && let Some((gate, paging)) = self.gate(target.address)
                && let Some(ending) = self.delivered(gate, paging, open, begun, to)
            {
                return ending;
            }
        }
        if complete && from.anywhere {
            return whole(begun);
        }
        if begun > 0 {
            let block = &self.blocks.cold(open).block;
            let last = usize::from(begun - 1);
            if target.address == block.instruction_address(last + 1) {
                // Cut short, as the emulator does at device accesses.
                return whole(begun);
            }
            if target.address == block.instruction_address(last) {
                // Begun anew: code was modified, or a device must be accessed at a block's end.
                return whole(begun - 1);
            }
        }
        self.counts.unexplained += 1;
        whole(begun)
    }

    /// The end of an execution that began `begun` instructions and will resume at `resume`.
    fn left_at(&self, open: Index, begun: u16, resume: Option<u64>) -> Ending {
        let cold = self.blocks.cold(open);
        let last = usize::from(begun).wrapping_sub(1);
        let interrupted = begun > 0
            && resume == Some(cold.block.instruction_address(last))
            // A branch to itself is complete when it comes back.
            && !(usize::from(begun) == cold.block.instructions() && Some(cold.exits.target) == resume);
        Ending { completed: begun - u16::from(interrupted), interrupted, interrupt: None }
    }

    /// The gate that leads to `address`, with the registers its table was found by.
    fn gate(&mut self, address: u64) -> Option<(Gate, Paging)> {
        let paging = self.paging_registers();
        if let Some(gate) = self.now.gates.at(address) {
            return Some((gate, paging));
        }
        if self.now.gates_read {
            return None;
        }
        self.read_gates(&paging);
        Some((self.now.gates.at(address)?, paging))
    }

    pub(crate) fn read_gates(&mut self, paging: &Paging) {
        self.now.gates = Gates::read(self.host.memory(), paging, self.now.idt);
        self.now.gates_read = true;
        self.blocks.set_gates(self.now.gates.addresses());
    }

    fn delivered(
        &self,
        gate: Gate,
        paging: Paging,
        open: Index,
        begun: u16,
        to: Index,
    ) -> Option<Ending> {
        let stack_after = self.host.register(crate::host::RSP);
        let privilege = self.blocks.cold(to).block.privilege;
        let memory = self.host.memory();
        let frame = if paging.is_real_mode() {
            let segment = self.host.register(Register::StackSegment);
            interrupts::real_frame(memory, segment, stack_after & 0xffff)?
        } else {
            interrupts::frame(memory, &paging, stack_after, gate.vector, privilege)?
        };
        let exits = self.blocks.cold(open).exits;
        let mut ending = self.left_at(open, begun, Some(frame.resume));
        let complete = ending.completed == self.blocks.hot(open).count;
        let kind = if exits.software_interrupt && complete {
            InterruptKind::Software
        } else if gate.vector.map_or(ending.interrupted, interrupts::is_exception) {
            InterruptKind::Exception
        } else {
            InterruptKind::External
        };
        let fault_address =
            if gate.vector == Some(PAGE_FAULT) { self.host.register(Register::Cr2) } else { 0 };
        ending.interrupt = Some(Interrupt {
            vector: gate.vector,
            kind,
            error_code: frame.error_code,
            resume: frame.resume,
            code_segment: frame.code_segment,
            stack_before: frame.stack_before,
            stack_after,
            fault_address,
            gate_segment: gate.segment,
            gate_stack: gate.stack,
        });
        Some(ending)
    }

    /// True when the IRET that ends the open execution returned to `address`: its first load took
    /// the instruction pointer from the stack, where it still is.
    fn returns_to(&self, open: Index, address: u64) -> bool {
        let last = self.blocks.hot(open).count - 1;
        let first = self.notes.iter().position(|&n| instruction_of(n) == last);
        first.is_some_and(|i| {
            let at = self.batch.addresses[self.batch.addresses.len() - self.notes.len() + i];
            read_u64(self.host.memory(), &self.paging_registers(), at) == Some(address)
        })
    }

    /// Puts the open execution into the batch, with what it did.
    pub(crate) fn close(&mut self, mut completed: u16, interrupted: bool) {
        let begun = completed + u16::from(interrupted);
        let count = self.blocks.hot(self.open).count;
        self.undouble(self.open);
        let repeats = begun == count && self.blocks.cold(self.open).repeat.is_some();
        let mut iterations = 0;
        let mut effect = StackEffect::Moves(0);
        if repeats {
            let before = self.open;
            self.settle();
            if self.open != before {
                // Only the `rep` is left; what came before it is in the batch already.
                completed -= count - 1;
            }
            let open = self.open;
            let (repeat, n, remainder) = self.close_repeat(interrupted);
            effect = self.push(open, completed, interrupted, Some(repeat));
            self.batch.iterations.push(n);
            iterations = n;
            if let Some(remainder) = remainder {
                self.close_remainder(open, &remainder);
            }
        } else {
            self.repeating = None;
            let kept = self.notes.iter().take_while(|&&n| instruction_of(n) < begun).count();
            self.drop_accesses(kept);
            if begun > 0 {
                effect = self.push(self.open, completed, interrupted, None);
            }
        }
        self.notes.clear();
        self.open = NONE;
        self.running = NONE;
        self.rerun = None;
        self.counts.instructions += u64::from(completed);
        self.apply_pending(completed, iterations);
        self.attention = effect == StackEffect::Loaded;
    }

    pub(crate) fn push(
        &mut self,
        index: Index,
        completed: u16,
        interrupted: bool,
        repeat: Option<Repeat>,
    ) -> StackEffect {
        let key = ShapeKey { completed, interrupted, repeat };
        let host = &self.host;
        let observe = |note| Self::observe(host, note);
        let shaped = self.blocks.shape(index, key, &self.notes, observe, &mut self.batch.new);
        self.batch.shapes.push(shaped.id);
        shaped.stack
    }

    /// Keeps the first `kept` accesses of the open execution.
    pub(crate) fn drop_accesses(&mut self, kept: usize) {
        let dropped = self.notes.len() - kept;
        self.notes.truncate(kept);
        self.batch.addresses.truncate(self.batch.addresses.len() - dropped);
    }

    /// Tells what the block `to` needs before it runs.
    fn arrive(&mut self, to: Index, interrupt: Option<Interrupt>) {
        if self.now.halted {
            self.now.halted = false;
            self.batch.event(Event::Wake);
        }
        let hot = *self.blocks.hot(to);
        if let Some(guest) = self.now.guest
            && hot.address == guest.host_resumes
            && self.blocks.cold(to).block.privilege == 0
        {
            self.leave_guest(guest);
        }
        match interrupt {
            Some(interrupt) => self.tell_interrupt(&interrupt),
            None if self.attention => self.tell_stack_pointer(),
            None => {}
        }
        self.attention = false;
        if !self.now.told.has(hot.address, false) {
            self.tell(hot.address, false);
        }
        if hot.crosses {
            let last = self.blocks.cold(to).block.end().wrapping_sub(1);
            if !self.now.told.has(last, false) {
                self.tell(last, false);
            }
        }
    }

    /// An interrupt with the pages that its delivery touched.
    fn tell_interrupt(&mut self, interrupt: &Interrupt) {
        self.counts.interrupts += 1;
        if interrupt.vector == Some(PAGE_FAULT) {
            self.forget_page(interrupt.fault_address);
        }
        let long = self.now.paging.efer & (1 << 10) != 0;
        let entry = if long { 16 } else { 8 };
        let gate = interrupt.vector.map(|vector| u64::from(vector) * entry);
        let mut touched = vec![
            self.now.gdt.base.wrapping_add(u64::from(interrupt.gate_segment & !7)),
            self.now.task.base.wrapping_add(4),
            self.now.task.base.wrapping_add(0x5c),
        ];
        touched.extend(gate.map(|offset| self.now.idt.base.wrapping_add(offset)));
        let words = 5 + u64::from(interrupt.error_code.is_some());
        let last = interrupt.stack_after.wrapping_add(words * if long { 8 } else { 4 } - 1);
        for address in touched {
            if !self.now.told.has(address, false) {
                self.tell(address, false);
            }
        }
        for address in [interrupt.stack_after, last] {
            if !self.now.told.has(address, true) {
                self.tell(address, true);
            }
        }
        self.batch.event(Event::Interrupt(*interrupt));
    }

    /// The frame that a block at `address` is translated from, by the CPU's registers.
    pub(crate) fn frame_of(&self, address: u64) -> u32 {
        let paging = self.paging_registers();
        paging
            .physical(self.host.memory(), address)
            .and_then(|physical| u32::try_from(physical >> 12).ok())
            .unwrap_or(NO_FRAME)
    }
}
