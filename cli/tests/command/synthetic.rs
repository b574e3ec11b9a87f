//! A tiny capture folder: Xen, two domains, idle, interrupts, a `rep`, a device's DMA.

use std::fs;
use std::path::{Path, PathBuf};
use strata_workloads::trace::{
    AccessKind, Base, Batch, Block, BlockId, CodeSize, ControlRegister, Definitions, Descriptor,
    Event, Flow, IDLE_DOMAIN, Interrupt, InterruptKind, MachineState, PageFlags, PageSize, Repeat,
    Shape, ShapeId, Slot, Space, SpaceId, StackEffect, TraceWriter, Translation, TranslationId,
    Vcpu, Walk, WalkId, WriterOptions,
};
use tempfile::TempDir;

const XEN: u64 = 0xffff_82d0_4020_1000;
const KERNEL: u64 = 0xffff_ffff_8100_0000;
const USER: u64 = 0x40_1000;
const DATA: u64 = 0xffff_8880_0000_0000;
const DATA_PAGES: u64 = 96;
const ROOT: u64 = 0x1000;
const ROUNDS: u64 = 400;

/// Instructions of the whole trace.
pub(crate) const INSTRUCTIONS: u64 = ROUNDS * (2 + 3 * 4 + 1 + 3 + 4 + 3);
/// Iterations of its `rep` instructions.
pub(crate) const REP_ITERATIONS: u64 = ROUNDS * 64;

const MANIFEST: &str = r#"
schema = 1
scenario = "synthetic"
command = ["strata", "capture", "synthetic"]
guest-command = "true"
trace = "trace.strata"
deterministic = true
patches = ["clears the CR0-read intercept before each VMRUN"]

[machine]
qemu = "10.0.2"
cpu-model = "core2duo"
cpus = 1
memory-mib = 1024
icount-shift = 3
xen-options = ""
linux-options = ""

[hypervisor]
name = "xen"
version = "4.17"
map = "symbols/xen.map"

[hypervisor.layout]
curr-vcpu = "0xffff82d040000000"
current = 24
vcpu-domain = 16
vcpu-id = 0
domain-id = 0

[[domain]]
id = 0
name = "dom0"
kernel = "6.1"
kallsyms = "symbols/dom0.kallsyms"

[[domain]]
id = 1
name = "dom1"
kernel = "6.1"
kallsyms = "symbols/dom1.kallsyms"
"#;

/// A capture folder that vanishes with the value.
pub(crate) struct Capture {
    folder: TempDir,
}

impl Capture {
    pub(crate) fn new() -> Self {
        Self::with_code(code_of)
    }

    /// One whose instructions have other lengths than their bytes decode to.
    pub(crate) fn unsound() -> Self {
        Self::with_code(|lengths| vec![0x90; lengths.iter().map(|&l| usize::from(l)).sum()])
    }

    fn with_code(code: fn(&[u8]) -> Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("symbols")).unwrap();
        fs::write(path.join("capture.toml"), MANIFEST).unwrap();
        fs::write(path.join("trace.strata"), trace(code)).unwrap();
        let xen = "0xffff82d040201190 T lstar_enter\n0xffff82d0402012e0 T cstar_enter\n";
        fs::write(path.join("symbols/xen.map"), xen).unwrap();
        let dom0 =
            "ffffffff81000000 T _text\nffffffff81000010 T eth_rx\nffffffff81000100 T memcpy\n";
        fs::write(path.join("symbols/dom0.kallsyms"), dom0).unwrap();
        let dom1 =
            "ffffffff81000000 T _text\nffffffff81000010 T tcp_sendmsg\nffffffff81000100 T memcpy\n";
        fs::write(path.join("symbols/dom1.kallsyms"), dom1).unwrap();
        Capture { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn trace(&self) -> PathBuf {
        self.folder.path().join("trace.strata")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// No-operations of these lengths; a lone one of 3 bytes is `rep movsq`.
fn code_of(lengths: &[u8]) -> Vec<u8> {
    if lengths == [3] {
        return vec![0xf3, 0x48, 0xa5];
    }
    let nop = |&length: &u8| -> &[u8] {
        match length {
            2 => &[0x66, 0x90],
            3 => &[0x0f, 0x1f, 0x00],
            4 => &[0x0f, 0x1f, 0x40, 0x00],
            5 => &[0x0f, 0x1f, 0x44, 0x00, 0x00],
            other => panic!("no instruction of {other} bytes is needed"),
        }
    };
    lengths.iter().flat_map(nop).copied().collect()
}

fn trace(code: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let options = WriterOptions {
        description: "made by a test".into(),
        chunk_instructions: 2000,
        initial: initial(),
        ..WriterOptions::default()
    };
    let mut writer = TraceWriter::create(Vec::new(), options).unwrap();
    let mut first = Batch { new: definitions(code), ..Batch::default() };
    for id in 0..first.new.translations.len() {
        first.event(Event::Translation(TranslationId(id as u32)));
    }
    writer.write(&mut first).unwrap();
    for round in 0..ROUNDS {
        writer.write(&mut round_of(round)).unwrap();
    }
    writer.finish().unwrap().0
}

fn initial() -> MachineState {
    let mut state = MachineState::default();
    let cpu = state.running_mut();
    (cpu.cr0, cpu.cr3, cpu.cr4) = (1 << 31 | 1, ROOT, 0xa0);
    cpu.current = vcpu(1);
    cpu.idt = Descriptor { base: DATA, limit: 0xfff, selector: 0 };
    cpu.gdt = Descriptor { base: DATA + 0x1000, limit: 0xffff, selector: 0 };
    cpu.task = Descriptor { base: DATA + 0x2000, limit: 0x67, selector: 0x40 };
    state
}

fn vcpu(domain: u16) -> Vcpu {
    Vcpu { pointer: 0xffff_8300_0000_1000 + u64::from(domain), domain, number: 0 }
}

fn definitions(code: fn(&[u8]) -> Vec<u8>) -> Definitions {
    let block = |address, privilege, lengths: &[u8]| Block {
        address,
        code_size: CodeSize::Bits64,
        privilege,
        space: None,
        lengths: lengths.into(),
        code: code(lengths).into(),
    };
    let slot = |instruction, kind| Slot {
        instruction,
        kind,
        bytes: 8,
        modify: false,
        base: Base::Own,
        displacement: 0,
    };
    let shape = |block, completed, slots: &[Slot]| Shape {
        block: BlockId(block),
        completed,
        interrupted: false,
        slots: slots.into(),
        repeat: None,
        flow: Flow::Other,
        stack: StackEffect::Moves(0),
    };
    let (read, write) = (AccessKind::Read, AccessKind::Write);
    let mut translations = Vec::new();
    let mut page = |address: u64, frame: u64, global: bool, guest_kernel: bool| {
        translations.push(Translation {
            space: SpaceId(0),
            page: address >> 12 & ((1 << 52) - 1),
            frame,
            guest_frame: frame,
            size: PageSize::Size4K,
            flags: PageFlags {
                global,
                user: true,
                writable: true,
                executable: true,
                guest_kernel,
                device: false,
            },
            walk: WalkId(0),
        });
    };
    page(XEN, 0x100, true, false);
    page(KERNEL, 0x200, false, true);
    page(USER, 0x300, false, false);
    for i in 0..DATA_PAGES {
        page(DATA + i * 4096, 0x1000 + i, false, true);
    }
    Definitions {
        spaces: vec![Space::Paged { root: ROOT }],
        walks: vec![Walk { tables: vec![1, 2, 3, 4] }],
        translations,
        blocks: vec![
            block(XEN + 0x190, 0, &[4, 3, 5]),
            block(KERNEL + 0x10, 3, &[4, 4, 2, 2]),
            block(USER, 3, &[5, 3]),
            block(KERNEL + 0x100, 3, &[3]),
        ],
        shapes: vec![
            shape(0, 3, &[slot(1, read)]),
            shape(1, 4, &[slot(0, read), slot(2, write)]),
            shape(2, 2, &[slot(1, write)]),
            Shape {
                repeat: Some(Repeat { slots: 2, backward: false }),
                ..shape(3, 1, &[slot(0, read), slot(0, write)])
            },
        ],
    }
}

fn round_of(round: u64) -> Batch {
    // Data wanders over more pages than a TLB of 64 entries holds.
    let data = |step: u64| DATA + 0x3000 + (round * 4160 + step * 8256) % ((DATA_PAGES - 8) << 12);
    let mut batch = Batch::default();
    let run = |batch: &mut Batch, shape: u32, addresses: &[u64]| {
        batch.shapes.push(ShapeId(shape));
        batch.addresses.extend(addresses);
    };
    batch.event(Event::Current(vcpu(1)));
    run(&mut batch, 2, &[data(0)]);
    for step in 1..4 {
        run(&mut batch, 1, &[data(step), data(step + 20)]);
    }
    run(&mut batch, 3, &[data(5), data(9)]);
    batch.iterations.push(64);
    batch.event(Event::Interrupt(Interrupt {
        vector: Some(32),
        kind: InterruptKind::External,
        error_code: None,
        resume: KERNEL + 0x10,
        code_segment: 0xe033,
        stack_before: DATA + 0x8000,
        stack_after: DATA + 0x5000,
        fault_address: 0,
        gate_segment: 0xe008,
        gate_stack: 0,
    }));
    run(&mut batch, 0, &[data(11)]);
    batch.event(Event::Current(vcpu(0)));
    batch.event(Event::Control { register: ControlRegister::Cr3, value: ROOT });
    batch.event(Event::Dma { address: (0x1000 + round % 16) << 12, bytes: 1514, write: true });
    run(&mut batch, 1, &[data(12), data(13)]);
    batch.event(Event::Current(vcpu(IDLE_DOMAIN)));
    batch.event(Event::Time { nanoseconds: round * 1000 });
    run(&mut batch, 0, &[data(14)]);
    batch
}
