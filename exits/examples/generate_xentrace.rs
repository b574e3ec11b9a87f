//! Writes an xentrace file of any size, of a guest with VM exits.
//!
//! `generate_xentrace BYTES > FILE`: two CPUs run a vCPU each of one domain, which leaves its guest
//! for ten reasons of VMX in turn by chance, accesses ports, halts, and waits at times. Layout and
//! numbers of events are those of xen/include/public/trace.h, so that xenalyze reads it too.

use std::io::{self, BufWriter, Write};

const CPUS: usize = 2;
/// Bytes of a window, about those of Xen's buffers.
const WINDOW: usize = 240_000;
/// Exception, interrupt, interrupt window, CPUID, HLT, CR access, I/O, RDMSR, WRMSR, EPT violation.
const REASONS: [u32; 10] = [0, 1, 7, 10, 12, 28, 30, 31, 32, 48];
const PORTS: [u32; 4] = [0x20, 0x21, 0x64, 0xc000];
const RUNNING: u32 = 0;
const RUNNABLE: u32 = 1;
const BLOCKED: u32 = 2;

struct Cpu {
    number: u32,
    tsc: u64,
    window: Vec<u8>,
}

impl Cpu {
    fn record(&mut self, event: u32, timed: bool, words: &[u32]) {
        let head = event | (words.len() as u32) << 28 | u32::from(timed) << 31;
        self.window.extend(head.to_le_bytes());
        if timed {
            self.window.extend(self.tsc.to_le_bytes());
        }
        words.iter().for_each(|word| self.window.extend(word.to_le_bytes()));
    }

    /// Domain and number of the guest's vCPU, or of the idle one.
    fn vcpu(&self, idle: bool) -> u32 {
        (if idle { 0x7fff } else { 1 }) << 16 | self.number
    }

    fn change(&mut self, idle: bool, from: u32, to: u32) {
        self.record(0x2_1001 | from << 8 | to << 4, true, &[self.vcpu(idle)]);
    }

    /// An exit, what its handler writes, and the entry.
    fn exit(&mut self, chance: &mut fastrand::Rng) {
        self.tsc += chance.u64(2_000..32_000);
        let reason = REASONS[chance.usize(..REASONS.len())];
        let rip = 0x8100_0000 + chance.u32(..0x1_0000);
        self.record(0x8_1102, true, &[reason, rip, u32::MAX]);
        match reason {
            1 => self.record(0x8_200f, false, &[0xf0]),
            10 => self.record(0x8_200e, false, &[1, 2, 3, 4, 5]),
            12 => {
                self.record(0x8_2013, false, &[0]);
                if chance.u32(..8) == 0 {
                    self.wait(chance);
                }
            }
            30 => {
                let event = if chance.bool() { 0x8_2216 } else { 0x8_2016 };
                self.record(event, false, &[PORTS[chance.usize(..PORTS.len())], 7]);
            }
            31 => self.record(0x8_200c, false, &[0x1b, 0, 0]),
            _ => {}
        }
        self.tsc += chance.u64(1_000..41_000);
        self.record(0x8_1001, true, &[]);
    }

    /// The vCPU waits, and the idle one runs.
    fn wait(&mut self, chance: &mut fastrand::Rng) {
        self.tsc += 3_000;
        self.change(false, RUNNING, BLOCKED);
        self.tsc += 10;
        self.change(true, RUNNABLE, RUNNING);
        self.tsc += chance.u64(50_000..150_000);
        self.change(false, BLOCKED, RUNNABLE);
        self.tsc += 2_000;
        self.change(true, RUNNING, RUNNABLE);
        self.tsc += 10;
        self.change(false, RUNNABLE, RUNNING);
    }
}

fn main() -> io::Result<()> {
    let bytes = std::env::args().nth(1).and_then(|bytes| bytes.parse().ok());
    let bytes: u64 = bytes.ok_or_else(|| io::Error::other("generate_xentrace BYTES > FILE"))?;
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut chance = fastrand::Rng::with_seed(1);
    let mut cpus: Vec<Cpu> = (0..CPUS as u32)
        .map(|number| Cpu { number, tsc: 1_000_000 + 500 * u64::from(number), window: Vec::new() })
        .collect();
    cpus.iter_mut().for_each(|cpu| cpu.change(false, RUNNABLE, RUNNING));
    let mut written = 0;
    while written < bytes {
        for cpu in &mut cpus {
            while cpu.window.len() < WINDOW {
                cpu.exit(&mut chance);
            }
            for word in [0x2001_f003, cpu.number, cpu.window.len() as u32] {
                out.write_all(&word.to_le_bytes())?;
            }
            out.write_all(&cpu.window)?;
            written += 12 + cpu.window.len() as u64;
            cpu.window.clear();
        }
    }
    out.flush()
}
