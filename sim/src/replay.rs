//! A stream run through a machine, with every reference charged to the function that made it.

use crate::addressing::Addressing;
use crate::counters::Counters;
use crate::delivery;
use crate::error::Error;
use crate::functions::{Function, FunctionId, Functions, Namer, Segment};
use crate::layers::layer_of;
use crate::lines::{LineRun, Lines};
use crate::profile::{Profile, Row};
use rustc_hash::FxHashMap;
use std::ops::Range;
use strata_cachemodel::{
    ControlEvent, ControlRegisters, Counts, EventDelivery, Hierarchy, Machine, Mapping, PhysAddr,
    RefKind,
};
use strata_workloads::trace::{
    AccessKind, Batch, Block, ControlRegister, Definitions, Event, Interrupt, MachineState, Shape,
};

/// What part of a stream is replayed and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Instructions to replay, 0-based; block executions that begin in it. What lies before is
    /// followed for the machine's state only and leaves the caches cold.
    pub range: Range<u64>,
    /// Instructions at the start of the range that warm the caches and are not counted.
    pub warm_up: u64,
}

impl Default for Extent {
    fn default() -> Self {
        Extent { range: 0..u64::MAX, warm_up: 0 }
    }
}

/// Things seen in a stream that a reader of its figures should know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Interrupt and exception deliveries.
    pub deliveries: u64,
    /// Memory references synthesised for them.
    pub synthesised_references: u64,
    /// Look-ups of pages that the stream told no translation for; taken as physical addresses.
    pub untranslated_pages: u64,
    /// Gaps in the stream.
    pub gaps: u64,
    /// Transfers of devices that the stream tells of.
    pub dma_transfers: u64,
    /// VMRUN and #VMEXIT, each taken as a flush of all translations.
    pub guest_switches: u64,
}

/// A replay under way.
pub struct Replay<N> {
    hierarchy: Hierarchy,
    addressing: Addressing,
    functions: Functions<N>,
    rows: Vec<Counters>,
    lines: Lines,
    tables: Definitions,
    state: MachineState,
    synthesise: bool,
    pending: Option<Interrupt>,
    extent: Extent,
    /// Completed instructions since the start of the stream.
    position: u64,
    baseline: Option<Counts>,
    remarks: Remarks,
    machine: Machine,
}

impl<N: Namer> Replay<N> {
    /// A cold machine in front of a stream whose state at its start is `state`.
    pub fn new(machine: &Machine, namer: N, state: MachineState, extent: Extent) -> Self {
        let hierarchy = Hierarchy::new(machine);
        let mut replay = Replay {
            lines: Lines::new(hierarchy.fetch_line_bytes()),
            hierarchy,
            addressing: Addressing::default(),
            functions: Functions::new(namer),
            rows: Vec::new(),
            tables: Definitions::default(),
            state,
            synthesise: machine.event_delivery() == EventDelivery::Synthesised,
            pending: None,
            baseline: (extent.warm_up == 0).then(Counts::default),
            extent,
            position: 0,
            remarks: Remarks::default(),
            machine: machine.clone(),
        };
        replay.take_over_state();
        replay
    }

    fn take_over_state(&mut self) {
        self.take_over_registers();
        self.addressing.follow(&self.state, &self.tables);
    }

    /// Gives the model the control registers as they are, which drops nothing.
    fn take_over_registers(&mut self) {
        let cpu = self.state.running();
        // A stream that tells no control registers keeps the model's defaults.
        if cpu.cr0 != 0 {
            self.hierarchy.set_control_registers(ControlRegisters {
                cr0: cpu.cr0,
                cr3: cpu.active_cr3(),
                cr4: cpu.cr4,
            });
        }
    }

    /// Completed instructions since the start of the stream.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// True once nothing of the range is left.
    pub fn is_done(&self) -> bool {
        self.position >= self.extent.range.end
    }

    /// Replays a batch; takes its definitions.
    pub fn batch(&mut self, batch: &mut Batch) {
        self.tables.append(&mut batch.new);
        let tables = std::mem::take(&mut self.tables);
        self.run(batch, &tables);
        self.tables = tables;
    }

    fn run(&mut self, batch: &Batch, tables: &Definitions) {
        let mut events = batch.events.iter();
        let mut next_event = events.next();
        let mut addresses = batch.addresses.as_slice();
        let mut iterations = batch.iterations.iter();
        for (i, id) in batch.shapes.iter().enumerate() {
            while let Some((before, event)) = next_event
                && *before as usize <= i
            {
                self.event(event, tables);
                next_event = events.next();
            }
            let shape = &tables.shapes[id.index()];
            let (own, rest) = addresses.split_at(shape.slots.len());
            addresses = rest;
            let repeated = match shape.repeat {
                Some(_) => iterations.next().copied().unwrap_or(0),
                None => 0,
            };
            if self.extent.range.contains(&self.position) {
                self.execution(shape, own, repeated, tables);
            }
            self.position += u64::from(shape.completed);
            if self.baseline.is_none()
                && self.position >= self.extent.range.start.saturating_add(self.extent.warm_up)
            {
                self.baseline = Some(self.hierarchy.counts());
                self.rows.fill(Counters::default());
            }
        }
        while let Some((_, event)) = next_event {
            self.event(event, tables);
            next_event = events.next();
        }
    }

    fn execution(&mut self, shape: &Shape, addresses: &[u64], repeated: u64, tables: &Definitions) {
        let block = &tables.blocks[shape.block.index()];
        let page = self.addressing.page(block.address, tables);
        let layer = layer_of(block, &self.state, page.guest_kernel);
        let space = self.addressing.space();
        let segments = self.functions.of(shape.block.index(), block, layer, space);
        let (first, several) = (segments[0], segments.len() > 1);
        if self.rows.len() < self.functions.all().len() {
            self.rows.resize(self.functions.all().len(), Counters::default());
        }
        if self.pending.is_some() {
            self.deliver(block, first.function, tables);
        }
        let mut execution = Execution {
            hierarchy: &mut self.hierarchy,
            addressing: &mut self.addressing,
            tables,
            page: page.mapping,
        };
        if several {
            // Rare: a block that runs on into the next function.
            let segments: Vec<Segment> =
                self.functions.of(shape.block.index(), block, layer, space).to_vec();
            execution.split(shape, block, addresses, repeated, &segments, &mut self.rows);
        } else {
            let row = &mut self.rows[first.function.0 as usize];
            let runs = self.lines.of(shape.block.index(), block);
            execution.whole(shape, block, runs, addresses, repeated, row);
        }
    }

    /// Charges the references of a delivery to the handler.
    fn deliver(&mut self, block: &Block, function: FunctionId, tables: &Definitions) {
        let Some(interrupt) = self.pending.take() else { return };
        let row = &mut self.rows[function.0 as usize];
        let cpu = *self.state.running();
        for reference in delivery::references(&interrupt, &cpu, block.privilege) {
            let (first, second) =
                pages(&mut self.addressing, tables, reference.address, reference.bytes);
            let outcome = self.hierarchy.access(
                reference.kind,
                reference.address,
                reference.bytes,
                first,
                second,
            );
            row.charge(reference.kind, outcome);
            self.remarks.synthesised_references += 1;
        }
    }

    fn event(&mut self, event: &Event, tables: &Definitions) {
        let live = self.extent.range.contains(&self.position);
        let in_guest = self.state.running().guest.is_some();
        self.state.apply(event);
        match *event {
            Event::Translation(id) => self.addressing.tell(id, &self.state, tables),
            Event::Control { register, value } => {
                let change = match register {
                    ControlRegister::Cr0 => Some(ControlEvent::WriteCr0(value)),
                    ControlRegister::Cr3 => Some(ControlEvent::WriteCr3(value)),
                    ControlRegister::Cr4 => Some(ControlEvent::WriteCr4(value)),
                    ControlRegister::Efer => None,
                };
                // A nested guest's own registers are not those that the host's entries obey.
                if let Some(change) = change.filter(|_| live && !in_guest) {
                    self.hierarchy.control(change);
                } else if !live {
                    self.take_over_registers();
                }
                self.addressing.follow(&self.state, tables);
            }
            Event::Invlpg { address } if live => {
                self.hierarchy.control(ControlEvent::Invlpg(address));
            }
            Event::Invpcid { kind, pcid, address } if live => {
                self.hierarchy.control(match kind {
                    0 => ControlEvent::InvpcidAddress { va: address, pcid },
                    1 => ControlEvent::InvpcidSingle { pcid },
                    3 => ControlEvent::InvpcidAllButGlobal,
                    _ => ControlEvent::InvpcidAll,
                });
            }
            Event::Invlpga { address, .. } if live => {
                self.hierarchy.control(ControlEvent::Invlpg(address));
            }
            Event::Interrupt(interrupt) if live => {
                self.remarks.deliveries += 1;
                if interrupt.vector == Some(PAGE_FAULT) {
                    self.hierarchy.control(ControlEvent::PageFault(interrupt.fault_address));
                }
                self.pending = self.synthesise.then_some(interrupt);
            }
            Event::VmRun { .. } | Event::VmExit { .. } => {
                if live {
                    self.remarks.guest_switches += 1;
                    self.hierarchy.control(ControlEvent::InvpcidAll);
                }
                self.addressing.follow(&self.state, tables);
            }
            Event::Cpu { .. } => self.addressing.follow(&self.state, tables),
            Event::Dma { address, bytes, write } if live => {
                self.remarks.dma_transfers += 1;
                if write {
                    self.hierarchy.invalidate_physical(PhysAddr(address), u64::from(bytes));
                }
            }
            Event::Gap { .. } => self.remarks.gaps += 1,
            _ => {}
        }
    }

    /// Ends the replay and checks the laws.
    ///
    /// # Errors
    /// Fails if a law is broken, or if nothing of the range was in the stream.
    pub fn finish(self) -> Result<(Profile, N), Error> {
        let Range { start, end } = self.extent.range;
        let nothing = |why: &str| Error::Range {
            from: start,
            to: end.min(self.position),
            why: why.to_owned(),
        };
        if self.position <= start && start > 0 {
            return Err(nothing(&format!("the trace ends at instruction {}", self.position)));
        }
        let Some(baseline) = self.baseline else {
            return Err(nothing("all of it is warm-up"));
        };
        let counts = self.hierarchy.counts() - baseline;
        counts.check_laws(self.machine.semantics())?;
        let mut remarks = self.remarks;
        remarks.untranslated_pages = self.addressing.unknown_pages;
        let (functions, namer) = self.functions.settle(&self.tables.blocks);
        let rows = merge(functions.into_iter().zip(self.rows));
        let profile = Profile::new(self.machine, rows, counts, remarks)?;
        Ok((profile, namer))
    }
}

const PAGE_FAULT: u8 = 14;

/// One row for each function that did anything, in order of first execution.
fn merge(counted: impl Iterator<Item = (Function, Counters)>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut numbers: FxHashMap<Function, usize> = FxHashMap::default();
    for (function, counters) in counted {
        if counters == Counters::default() {
            continue;
        }
        match numbers.get(&function) {
            Some(&row) => rows[row].counters += &counters,
            None => {
                numbers.insert(function.clone(), rows.len());
                rows.push(Row { function, counters });
            }
        }
    }
    rows
}

/// Translations of the page of `address` and, if `bytes` reach into it, of the next.
#[inline(always)]
fn pages(
    addressing: &mut Addressing,
    tables: &Definitions,
    address: u64,
    bytes: u32,
) -> (Mapping, Option<Mapping>) {
    let first = addressing.mapping(address, tables);
    let second = (address & 0xfff).wrapping_add(u64::from(bytes)) > 0x1000;
    let second = second.then(|| addressing.mapping((address | 0xfff).wrapping_add(1), tables));
    (first, second)
}

/// What an execution's references go through.
struct Execution<'r> {
    hierarchy: &'r mut Hierarchy,
    addressing: &'r mut Addressing,
    tables: &'r Definitions,
    /// Of the page that the block begins in.
    page: Mapping,
}

impl Execution<'_> {
    /// An execution that belongs to one function. Fetches from a line already fetched from are
    /// counted together: no data access comes between a line and its place in L1I and ITLB.
    #[inline]
    fn whole(
        &mut self,
        shape: &Shape,
        block: &Block,
        runs: &[LineRun],
        addresses: &[u64],
        repeated: u64,
        row: &mut Counters,
    ) {
        row.instructions += u64::from(shape.completed);
        row.rep_iterations += repeated;
        let (once, again) = repeated_slots(shape);
        let mut slot = 0;
        for run in runs {
            if run.first >= shape.completed {
                break;
            }
            let address = block.address.wrapping_add(u64::from(run.offset));
            self.fetch_in_block(block, address, run.length, row);
            let more = run.more.min(shape.completed - run.first - 1);
            if more > 0 {
                let last = address.wrapping_add(u64::from(run.length) - 1);
                self.fetch_more(block, last, run, more, row);
            }
            let end = run.first + more;
            while slot < once && shape.slots[slot].instruction <= end {
                self.data(shape, slot, addresses[slot], row);
                slot += 1;
            }
        }
        // Those of an instruction that was begun and not completed.
        while slot < once {
            self.data(shape, slot, addresses[slot], row);
            slot += 1;
        }
        if again > 0 {
            self.iterations(shape, once, addresses, repeated, row);
        }
    }

    /// Fetches an instruction of `block`, whose first page is known.
    #[inline(always)]
    fn fetch_in_block(&mut self, block: &Block, address: u64, length: u8, row: &mut Counters) {
        let last = address.wrapping_add(u64::from(length) - 1);
        if (block.address ^ last) >> 12 != 0 {
            return self.fetch(address, length, row);
        }
        let outcome = self.hierarchy.fetch(address, u32::from(length), self.page, None);
        row.charge(RefKind::Fetch, outcome);
    }

    /// Fetches `more` instructions behind the first of `run`, all in the line of `last`.
    #[inline(always)]
    fn fetch_more(
        &mut self,
        block: &Block,
        last: u64,
        run: &LineRun,
        more: u16,
        row: &mut Counters,
    ) {
        let same_page = (block.address ^ last) >> 12 == 0;
        let page = if same_page { self.page } else { self.addressing.mapping(last, self.tables) };
        if self.hierarchy.fetch_again(last, page, u64::from(more)) {
            row.l1i.accesses += u64::from(more);
            row.itlb.accesses += u64::from(more);
            return;
        }
        let mut address = last.wrapping_add(1);
        let from = usize::from(run.first) + 1;
        for &length in &block.lengths[from..from + usize::from(more)] {
            self.fetch(address, length, row);
            address = address.wrapping_add(u64::from(length));
        }
    }

    /// An execution that runs from one function into the next.
    #[cold]
    fn split(
        &mut self,
        shape: &Shape,
        block: &Block,
        addresses: &[u64],
        repeated: u64,
        segments: &[Segment],
        rows: &mut [Counters],
    ) {
        let row_of = |instruction: usize| {
            let after = segments.partition_point(|s| usize::from(s.first) <= instruction);
            segments[after - 1].function.0 as usize
        };
        let (once, again) = repeated_slots(shape);
        let mut slot = 0;
        let mut address = block.address;
        for (i, &length) in block.lengths[..usize::from(shape.completed)].iter().enumerate() {
            let row = &mut rows[row_of(i)];
            row.instructions += 1;
            self.fetch(address, length, row);
            address = address.wrapping_add(u64::from(length));
            while slot < once && usize::from(shape.slots[slot].instruction) == i {
                self.data(shape, slot, addresses[slot], row);
                slot += 1;
            }
        }
        let begun = usize::from(shape.completed) - usize::from(!shape.interrupted);
        let row = &mut rows[row_of(begun)];
        while slot < once {
            self.data(shape, slot, addresses[slot], row);
            slot += 1;
        }
        row.rep_iterations += repeated;
        if again > 0 {
            self.iterations(shape, once, addresses, repeated, row);
        }
    }

    #[inline(always)]
    fn fetch(&mut self, address: u64, length: u8, row: &mut Counters) {
        let (first, second) = pages(self.addressing, self.tables, address, u32::from(length));
        let outcome = self.hierarchy.fetch(address, u32::from(length), first, second);
        row.charge(RefKind::Fetch, outcome);
    }

    #[inline(always)]
    fn data(&mut self, shape: &Shape, slot: usize, address: u64, row: &mut Counters) {
        let bytes = u32::from(shape.slots[slot].bytes);
        let kind = match shape.slots[slot].kind {
            AccessKind::Read => RefKind::Read,
            AccessKind::Write => RefKind::Write,
        };
        let (first, second) = pages(self.addressing, self.tables, address, bytes);
        let outcome = self.hierarchy.access(kind, address, bytes, first, second);
        row.charge(kind, outcome);
    }

    /// The slots from `once` on, for each iteration of the `rep`.
    fn iterations(
        &mut self,
        shape: &Shape,
        once: usize,
        addresses: &[u64],
        repeated: u64,
        row: &mut Counters,
    ) {
        let backward = shape.repeat.is_some_and(|repeat| repeat.backward);
        for iteration in 0..repeated {
            for (slot, &start) in addresses.iter().enumerate().skip(once) {
                let moved = iteration.wrapping_mul(u64::from(shape.slots[slot].bytes));
                let address =
                    if backward { start.wrapping_sub(moved) } else { start.wrapping_add(moved) };
                self.data(shape, slot, address, row);
            }
        }
    }
}

/// Number of slots made once, and of those made by each iteration.
#[inline(always)]
fn repeated_slots(shape: &Shape) -> (usize, usize) {
    let again = shape.repeat.map_or(0, |repeat| usize::from(repeat.slots));
    (shape.slots.len() - again, again)
}
