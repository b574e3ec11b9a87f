//! The stream being made: the block that is executing, its accesses, and the batch they go into.
//!
//! The emulator calls [`Recorder::execute`] when a block begins, [`Recorder::access`] after each
//! memory access and [`Recorder::instruction`] before an instruction with a meaning of its own. An
//! execution stays open until the next begins: only then is it known how far it came. Nearly always
//! it came to its end, made the accesses it made last time and went on where its last instruction
//! points; that case is decided in `execute` with a few comparisons, everything else in `landing`.

use crate::blocks::{Blocks, Index, NONE, instruction_of, note};
use crate::cpu::Cpu;
use crate::dma::{self, NetworkCard};
use crate::host::{Host, Register};
use crate::options::XenLayout;
use crate::output::Output;
use crate::pages::{Pages, nested_addresses};
use crate::pending::Pending;
use crate::session::Session;
use crate::verify::Verifier;
use crate::walk::Paging;
use crate::xen;
use rustc_hash::FxHashMap;
use strata_workloads::code::Observed;
use strata_workloads::trace::{Batch, Event, Space};

/// Executions after which a batch goes to the writer.
const BATCH_EXECUTIONS: usize = 16 << 10;
/// Addresses after which it does, however few the executions.
const BATCH_ADDRESSES: usize = 128 << 10;
/// The frame of an address that has none; no block is ever found to be there.
pub const NO_FRAME: u32 = u32::MAX;

/// What the recorder is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the marker that arms it.
    Waiting,
    /// Armed; the next block begins the recording.
    Armed,
    /// Recording.
    Recording,
    /// Recording has ended.
    Done,
}

/// Things counted on the side, said at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions completed.
    pub instructions: u64,
    /// Accesses of instructions that the emulator ran again on their own because they reached a
    /// device, put on the instruction they belong to.
    pub reassigned: u64,
    /// Accesses that belong to no instruction of the block that was executing.
    pub unmatched: u64,
    /// Blocks that did not begin where the one before them leads, without an interrupt.
    pub unexplained: u64,
    /// Blocks executed at another address than the one they were translated at.
    pub moved: u64,
    /// Accesses to pages that the page tables do not map.
    pub unmapped: u64,
    /// Interrupts and exceptions.
    pub interrupts: u64,
    /// Reads and writes of memory by the network card.
    pub dma: u64,
    /// Accesses to VMCBs, which are by physical address and therefore not in the stream.
    pub physical: u64,
}

/// A `rep` instruction that the open execution has come to.
#[derive(Clone, Debug)]
pub(crate) struct Repeating {
    /// Index in the notes of the first iteration's accesses.
    pub first: usize,
    /// Accesses of an iteration.
    pub accesses: usize,
    /// Bytes of an access, once an iteration is done.
    pub bytes: u64,
    /// Iterations done.
    pub iterations: u64,
    /// Direction, once two iterations are done.
    pub backward: Option<bool>,
    /// Addresses of the last iteration.
    pub last: [u64; 2],
}

/// See the module.
pub struct Recorder<H: Host> {
    pub(crate) host: H,
    pub(crate) xen: Option<XenLayout>,
    pub(crate) phase: Phase,
    /// A guest of SVM runs. Followed only while not recording, by what the emulator is asked to
    /// tell of; the stream follows the guest by itself.
    pub(crate) within_guest: bool,
    pub(crate) blocks: Blocks,
    pub(crate) pages: Pages,
    /// The CPU that executes.
    pub(crate) now: Cpu,
    /// The others.
    pub(crate) parked: Vec<Cpu>,
    /// Block of the open execution.
    pub(crate) open: Index,
    /// Block that the emulator is executing: another than `open` while a `rep` goes on or when it
    /// was translated for another address.
    pub(crate) running: Index,
    /// Accesses of the open execution; their addresses are the last in the batch.
    pub(crate) notes: Vec<u64>,
    pub(crate) repeating: Option<Repeating>,
    /// The instruction that the emulator is running again on its own.
    pub(crate) rerun: Option<u16>,
    /// Something is pending for the end of the open execution.
    pub(crate) attention: bool,
    pub(crate) pending: Vec<(u16, Pending)>,
    pub(crate) batch: Batch,
    pub(crate) output: Option<Output>,
    pub(crate) counts: Counts,
    pub(crate) limit: u64,
    pub(crate) moved: FxHashMap<(Index, u64), Index>,
    pub(crate) card: NetworkCard,
    pub(crate) verifier: Option<Verifier>,
    pub(crate) session: Session,
}

impl<H: Host> Recorder<H> {
    /// A recorder that waits to be armed.
    pub fn new(host: H, xen: Option<XenLayout>, limit: u64, verify: bool) -> Self {
        Recorder {
            host,
            xen,
            phase: Phase::Waiting,
            within_guest: false,
            blocks: Blocks::default(),
            pages: Pages::default(),
            now: Cpu::new(0),
            parked: Vec::new(),
            open: NONE,
            running: NONE,
            notes: Vec::with_capacity(1 << 12),
            repeating: None,
            rerun: None,
            attention: false,
            pending: Vec::new(),
            batch: Batch::default(),
            output: None,
            counts: Counts::default(),
            limit: if limit == 0 { u64::MAX } else { limit },
            moved: FxHashMap::default(),
            card: NetworkCard::default(),
            verifier: verify.then(Verifier::default),
            session: Session::default(),
        }
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The tables of blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The emulator.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Block `running`, translated from code in `frame`, begins on `cpu`.
    #[inline]
    pub fn execute(&mut self, cpu: u32, running: Index, frame: u32) {
        let begun = self.host.begun(cpu);
        self.host.restart(cpu);
        if cpu == self.now.number && self.open != NONE && !self.attention {
            let from = self.blocks.hot(self.open);
            let to = self.blocks.hot(running);
            let follows =
                to.address == from.next || to.address == from.target || (from.anywhere && !to.gate);
            if follows
                && begun == u64::from(from.count)
                && !from.special
                && !to.crosses
                && self.now.told.is_at(to.address, frame)
                && self.blocks.is_usual(from, &self.notes)
            {
                self.batch.shapes.push(from.shape);
                self.counts.instructions += begun;
                self.notes.clear();
                self.open = running;
                self.running = running;
                if self.batch.shapes.len() >= BATCH_EXECUTIONS {
                    self.flush_full();
                }
                return;
            }
        }
        self.turn(cpu, running, frame, begun);
    }

    /// Instruction `instruction` of block `block` made an access, which the emulator describes as
    /// `info`.
    #[inline]
    pub fn access(&mut self, block: Index, instruction: u32, info: u32, address: u64, store: bool) {
        if block != self.running || self.rerun.is_some() {
            self.foreign(block, info, address, store);
            return;
        }
        self.notes.push(note(instruction, info));
        self.batch.addresses.push(address);
        // 16 bytes are the most that one access has.
        if !self.now.told.has(address, store) || address & 0xfff > 0xff0 {
            self.touch(instruction as u16, info, address, store);
        }
        if store
            && let Some(watched) = self.now.watched
            && (address == watched.current || address == watched.loaded)
        {
            self.switched(instruction as u16, address == watched.current);
        }
    }

    /// VMRUN, VMLOAD or VMSAVE accessed its VMCB.
    pub fn physical_access(&mut self) {
        self.counts.physical += u64::from(self.open != NONE);
    }

    /// An access to a page not told yet, to a device, or near the end of a page.
    #[cold]
    fn touch(&mut self, instruction: u16, info: u32, address: u64, store: bool) {
        if !self.now.told.has(address, store) {
            let frame = self.tell(address, store);
            if self.host.memory().is_device(frame.into()) {
                self.touch_device(instruction, info, address, store);
            }
        }
        let last = address.wrapping_add(u64::from(self.host.describe(info).bytes).max(1) - 1);
        if (last ^ address) >> 12 != 0 && !self.now.told.has(last, store) {
            self.tell(last, store);
        }
    }

    fn touch_device(&mut self, instruction: u16, info: u32, address: u64, store: bool) {
        if !self.host.is_network_card(info, address) {
            return;
        }
        let memory = self.host.memory();
        let Some(physical) = self.now.paging.physical(memory, address) else { return };
        // The registers lie together, so that one tells where the others are.
        let register =
            |offset| self.host.device_word(dma::register_beside(address, physical, offset));
        let events = self.card.accessed(memory, physical, store, register);
        self.counts.dma += events.len() as u64;
        self.attention |= !events.is_empty();
        self.pending.extend(events.into_iter().map(|event| (instruction, Pending::Plain(event))));
    }

    /// An access by another block than the one executing: the emulator runs an instruction that
    /// reached a device again, in a block of its own whose beginning it does not report.
    #[cold]
    fn foreign(&mut self, block: Index, info: u32, address: u64, store: bool) {
        if self.open == NONE {
            return;
        }
        let begun = self.host.begun(self.now.number) as usize;
        let single = &self.blocks.cold(block).block;
        let here = &self.blocks.cold(self.running).block;
        let fits = begun > 0
            && begun <= here.instructions()
            && single.instructions() == 1
            && here.instruction_address(begun - 1) & 0xfff == single.address & 0xfff
            && here.instruction_bytes(begun - 1) == single.instruction_bytes(0);
        if !fits {
            self.counts.unmatched += 1;
            return;
        }
        let instruction = (begun - 1) as u16;
        if self.rerun != Some(instruction) {
            // What it did before it was cut off it does again.
            let kept = self.notes.iter().take_while(|&&n| instruction_of(n) < instruction).count();
            let dropped = self.notes.len() - kept;
            self.notes.truncate(kept);
            self.batch.addresses.truncate(self.batch.addresses.len() - dropped);
            self.rerun = Some(instruction);
            self.attention = true;
        }
        self.counts.reassigned += 1;
        self.notes.push(note(u32::from(instruction), info));
        self.batch.addresses.push(address);
        self.touch(instruction, info, address, store);
    }

    /// Xen stored who runs.
    #[cold]
    fn switched(&mut self, instruction: u16, current: bool) {
        let pending = if current { Pending::Current } else { Pending::Loaded };
        self.pending.push((instruction, pending));
        self.attention = true;
    }

    /// Tells the stream which frame the page of `address` is in, if it does not know. The frame is
    /// returned.
    pub(crate) fn tell(&mut self, address: u64, store: bool) -> u32 {
        let Some(walked) = self.now.paging.walk(self.host.memory(), address) else {
            self.counts.unmapped += 1;
            self.now.told.remember(address, u64::from(NO_FRAME), true);
            return NO_FRAME;
        };
        let frame = walked.physical >> 12;
        let device = self.host.memory().is_device(frame);
        if let Some(root) = self.now.paging.nested {
            let levels = walked.tables.len();
            for nested in nested_addresses(&walked, address, levels) {
                self.tell_nested(root, nested);
            }
        }
        let space = match self.now.space {
            Some(space) => space,
            None => {
                let space = self.pages.space(self.now.paging.space(), &mut self.batch.new);
                self.now.space = Some(space);
                space
            }
        };
        let stored = store || walked.flags.writable;
        if let Some(id) = self.pages.tell(space, address, walked, device, &mut self.batch.new) {
            self.batch.event(Event::Translation(id));
        }
        // Each access to a device is looked at.
        if !device {
            self.now.told.remember(address, frame, stored);
        }
        u32::try_from(frame).unwrap_or(NO_FRAME)
    }

    fn tell_nested(&mut self, root: u64, address: u64) {
        let memory = self.host.memory();
        let Some(walked) = Paging::of_nested(root).walk(memory, address) else { return };
        let device = memory.is_device(walked.physical >> 12);
        let root = root & !0xfff;
        let space = self.pages.space(Space::Nested { root }, &mut self.batch.new);
        if let Some(id) = self.pages.tell(space, address, walked, device, &mut self.batch.new) {
            self.batch.event(Event::Translation(id));
        }
    }

    /// The paging registers as the CPU has them.
    pub(crate) fn paging_registers(&self) -> Paging {
        Paging {
            cr0: self.host.register(Register::Cr0),
            cr3: self.host.register(Register::Cr3),
            cr4: self.host.register(Register::Cr4),
            efer: self.host.register(Register::Efer),
            nested: self.now.paging.nested,
        }
    }

    /// What a note's description means.
    pub(crate) fn observe(host: &H, note: u64) -> Observed {
        let access = host.describe(note as u32);
        Observed { instruction: instruction_of(note), kind: access.kind, bytes: access.bytes }
    }

    /// Sends a full batch, or one with many addresses.
    pub(crate) fn flush_if_full(&mut self) {
        let batch = &self.batch;
        if batch.shapes.len() >= BATCH_EXECUTIONS || batch.addresses.len() >= BATCH_ADDRESSES {
            self.flush_full();
        }
    }

    #[cold]
    fn flush_full(&mut self) {
        if self.counts.instructions >= self.limit {
            self.host.request_stop();
        }
        self.flush();
    }
}

impl<H: Host> Recorder<H> {
    /// Compares the stream so far with the registers, right after [`execute`](Self::execute).
    pub fn verify(&mut self) {
        if self.open == NONE {
            return;
        }
        let Some(verifier) = &mut self.verifier else { return };
        verifier.catch_up(&self.batch);
        if let (Some(layout), Some(watched)) = (&self.xen, self.now.watched) {
            let vcpu = |at| xen::vcpu(self.host.memory(), &self.now.paging, layout, at);
            verifier.compare_vcpu(self.now.current, vcpu(watched.current));
            verifier.compare_vcpu(self.now.loaded, vcpu(watched.loaded));
        }
        // A `rep` that goes on has not told yet what it does.
        if self.repeating.is_none() {
            let block = &self.blocks.cold(self.open).block;
            let last = self.batch.shapes.last();
            let before = format!("{} instructions, after shape {last:?}", block.instructions());
            verifier.compare(&self.host, self.blocks.hot(self.open), block, &before);
        }
    }

    /// Compares the translation that holds with the emulator's, right after
    /// [`access`](Self::access).
    pub fn verify_access(&mut self, info: u32, address: u64) {
        if self.open == NONE {
            return;
        }
        let found = self.host.physical(info, address);
        let told = self
            .now
            .space
            .and_then(|space| self.pages.holding(space, address))
            .map(|translation| translation.physical(address));
        if let Some(verifier) = &mut self.verifier {
            verifier.compare_access(address, told, found);
        }
    }
}
