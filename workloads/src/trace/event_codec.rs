//! Events as bytes.

use super::bytes::{Bytes, put, put_signed};
use super::consistency::MAX_CPUS;
use super::error::{Decoded, Malformed};
use super::event::{
    ControlRegister, DescriptorTable, Event, GapReason, GrantOperation, Interrupt, InterruptKind,
    Vcpu,
};
use super::page::TranslationId;
use super::state::MachineState;

/// First byte of each event; the document lists the fields that follow.
mod kind {
    pub(super) const TRANSLATION: u8 = 0;
    pub(super) const CONTROL: u8 = 1;
    pub(super) const MSR: u8 = 2;
    pub(super) const DESCRIPTOR: u8 = 3;
    pub(super) const INVLPG: u8 = 4;
    pub(super) const INVPCID: u8 = 5;
    pub(super) const INVLPGA: u8 = 6;
    pub(super) const INTERRUPT: u8 = 7;
    pub(super) const SYSCALL: u8 = 8;
    pub(super) const HYPERCALL: u8 = 9;
    pub(super) const GRANT: u8 = 10;
    pub(super) const EVENT_CHANNEL: u8 = 11;
    pub(super) const HALT: u8 = 12;
    pub(super) const WAKE: u8 = 13;
    pub(super) const PORT: u8 = 14;
    pub(super) const VM_RUN: u8 = 15;
    pub(super) const VM_EXIT: u8 = 16;
    pub(super) const TSC: u8 = 17;
    pub(super) const TIME: u8 = 18;
    pub(super) const MARKER: u8 = 19;
    pub(super) const GAP: u8 = 20;
    pub(super) const CPU: u8 = 21;
    pub(super) const CURRENT: u8 = 22;
    pub(super) const LOADED: u8 = 23;
    pub(super) const STACK_POINTER: u8 = 24;
    pub(super) const DMA: u8 = 25;
    pub(super) const CACHE_FLUSH: u8 = 26;
}

/// Difference as it is stored: small when the values are near, whichever is larger.
fn delta(value: u64, from: u64) -> i64 {
    value.wrapping_sub(from) as i64
}

pub(crate) fn put_vcpu(out: &mut Vec<u8>, vcpu: &Vcpu) {
    put_signed(out, vcpu.pointer as i64);
    put(out, u64::from(vcpu.domain));
    put(out, u64::from(vcpu.number));
}

/// Appends `event`. `state` is the machine's state before it; some fields are stored as
/// differences from what the state holds.
pub(crate) fn encode(out: &mut Vec<u8>, event: &Event, state: &MachineState) {
    let cpu = state.running();
    match *event {
        Event::Translation(_) => out.push(kind::TRANSLATION),
        Event::Control { register, value } => {
            out.extend([kind::CONTROL, register as u8]);
            put(out, value);
        }
        Event::Msr { index, value } => {
            out.push(kind::MSR);
            put(out, u64::from(index));
            put_signed(out, value as i64);
        }
        Event::Descriptor { table, selector, base, limit } => {
            out.extend([kind::DESCRIPTOR, table as u8]);
            put(out, u64::from(selector));
            put_signed(out, base as i64);
            put(out, u64::from(limit));
        }
        Event::Invlpg { address } => {
            out.push(kind::INVLPG);
            put_signed(out, address as i64);
        }
        Event::Invpcid { kind, pcid, address } => {
            out.extend([self::kind::INVPCID, kind]);
            put(out, u64::from(pcid));
            put_signed(out, address as i64);
        }
        Event::Invlpga { address, asid } => {
            out.push(kind::INVLPGA);
            put_signed(out, address as i64);
            put(out, u64::from(asid));
        }
        Event::Interrupt(ref interrupt) => {
            out.push(kind::INTERRUPT);
            encode_interrupt(out, interrupt, cpu.stack_pointer);
        }
        Event::Syscall { number } => {
            out.push(kind::SYSCALL);
            put(out, number);
        }
        Event::Hypercall { number, ref arguments } => {
            out.push(kind::HYPERCALL);
            put(out, number);
            for &argument in arguments {
                put_signed(out, argument as i64);
            }
        }
        Event::Grant(ref grant) => {
            out.extend([kind::GRANT, grant.operation]);
            put(out, u64::from(grant.domain));
            put(out, u64::from(grant.reference));
            put_signed(out, grant.frame as i64);
            put(out, u64::from(grant.other_domain));
            put(out, u64::from(grant.flags));
            put(out, u64::from(grant.bytes));
        }
        Event::EventChannel { operation, port, domain } => {
            out.extend([kind::EVENT_CHANNEL, operation]);
            put(out, u64::from(port));
            put(out, u64::from(domain));
        }
        Event::Halt => out.push(kind::HALT),
        Event::Wake => out.push(kind::WAKE),
        Event::Port { port, bytes, write, count } => {
            out.extend([kind::PORT, bytes << 1 | u8::from(write)]);
            put(out, u64::from(port));
            put(out, u64::from(count));
        }
        Event::VmRun { vmcb, asid, tlb_control, guest_cr3, nested_cr3 } => {
            out.extend([kind::VM_RUN, tlb_control]);
            put(out, vmcb);
            put(out, u64::from(asid));
            put(out, guest_cr3);
            put(out, nested_cr3);
        }
        Event::VmExit { code, info1, info2 } => {
            out.push(kind::VM_EXIT);
            put_signed(out, code as i64);
            put_signed(out, info1 as i64);
            put_signed(out, info2 as i64);
        }
        Event::Tsc { value } => {
            out.push(kind::TSC);
            put_signed(out, delta(value, cpu.tsc));
        }
        Event::Time { nanoseconds } => {
            out.push(kind::TIME);
            put_signed(out, delta(nanoseconds, cpu.nanoseconds));
        }
        Event::Marker { number } => {
            out.push(kind::MARKER);
            put(out, u64::from(number));
        }
        Event::Gap { reason, instructions } => {
            out.extend([kind::GAP, reason as u8]);
            put(out, instructions);
        }
        Event::Cpu { number } => {
            out.push(kind::CPU);
            put(out, u64::from(number));
        }
        Event::Current(ref vcpu) => {
            out.push(kind::CURRENT);
            put_vcpu(out, vcpu);
        }
        Event::Loaded(ref vcpu) => {
            out.push(kind::LOADED);
            put_vcpu(out, vcpu);
        }
        Event::StackPointer { value } => {
            out.push(kind::STACK_POINTER);
            put_signed(out, delta(value, cpu.stack_pointer));
        }
        Event::Dma { address, bytes, write } => {
            out.extend([kind::DMA, u8::from(write)]);
            put(out, address);
            put(out, u64::from(bytes));
        }
        Event::CacheFlush => out.push(kind::CACHE_FLUSH),
    }
}

fn encode_interrupt(out: &mut Vec<u8>, interrupt: &Interrupt, stack_pointer: u64) {
    let flags = interrupt.kind as u8
        | u8::from(interrupt.vector.is_some()) << 2
        | u8::from(interrupt.error_code.is_some()) << 3
        | u8::from(interrupt.fault_address != 0) << 4;
    out.push(flags);
    if let Some(vector) = interrupt.vector {
        out.push(vector);
    }
    if let Some(code) = interrupt.error_code {
        put(out, u64::from(code));
    }
    put_signed(out, interrupt.resume as i64);
    put(out, u64::from(interrupt.code_segment));
    put_signed(out, delta(interrupt.stack_before, stack_pointer));
    put_signed(out, interrupt.stack_after as i64);
    if interrupt.fault_address != 0 {
        put_signed(out, interrupt.fault_address as i64);
    }
    put(out, u64::from(interrupt.gate_segment));
    out.push(interrupt.gate_stack);
}

fn small(bytes: &mut Bytes<impl AsRef<[u8]>>, what: &str) -> Decoded<u16> {
    Ok(bytes.bounded(u64::from(u16::MAX), what)? as u16)
}

fn word(bytes: &mut Bytes<impl AsRef<[u8]>>, what: &str) -> Decoded<u32> {
    Ok(bytes.bounded(u64::from(u32::MAX), what)? as u32)
}

fn address(bytes: &mut Bytes<impl AsRef<[u8]>>) -> Decoded<u64> {
    Ok(bytes.signed()? as u64)
}

pub(crate) fn vcpu(bytes: &mut Bytes<impl AsRef<[u8]>>) -> Decoded<Vcpu> {
    Ok(Vcpu {
        pointer: address(bytes)?,
        domain: small(bytes, "domain")?,
        number: small(bytes, "vCPU number")?,
    })
}

/// Reads one event; `next` is the translation that is told next.
pub(crate) fn decode(
    bytes: &mut Bytes<impl AsRef<[u8]>>,
    state: &MachineState,
    next: TranslationId,
) -> Decoded<Event> {
    let cpu = state.running();
    Ok(match bytes.byte()? {
        kind::TRANSLATION => Event::Translation(next),
        kind::CONTROL => {
            let register = match bytes.byte()? {
                0 => ControlRegister::Cr0,
                3 => ControlRegister::Cr3,
                4 => ControlRegister::Cr4,
                8 => ControlRegister::Efer,
                other => return Err(Malformed::new(format!("control register {other}"))),
            };
            Event::Control { register, value: bytes.number()? }
        }
        kind::MSR => Event::Msr { index: word(bytes, "MSR")?, value: address(bytes)? },
        kind::DESCRIPTOR => {
            let table = match bytes.byte()? {
                0 => DescriptorTable::Global,
                1 => DescriptorTable::Interrupt,
                2 => DescriptorTable::Task,
                other => return Err(Malformed::new(format!("descriptor table {other}"))),
            };
            let selector = small(bytes, "selector")?;
            Event::Descriptor {
                table,
                selector,
                base: address(bytes)?,
                limit: word(bytes, "limit")?,
            }
        }
        kind::INVLPG => Event::Invlpg { address: address(bytes)? },
        kind::INVPCID => Event::Invpcid {
            kind: bytes.byte()?,
            pcid: small(bytes, "PCID")?,
            address: address(bytes)?,
        },
        kind::INVLPGA => Event::Invlpga { address: address(bytes)?, asid: word(bytes, "ASID")? },
        kind::INTERRUPT => Event::Interrupt(decode_interrupt(bytes, cpu.stack_pointer)?),
        kind::SYSCALL => Event::Syscall { number: bytes.number()? },
        kind::HYPERCALL => {
            let number = bytes.number()?;
            let mut arguments = [0; 5];
            for argument in &mut arguments {
                *argument = address(bytes)?;
            }
            Event::Hypercall { number, arguments }
        }
        kind::GRANT => Event::Grant(GrantOperation {
            operation: bytes.byte()?,
            domain: small(bytes, "domain")?,
            reference: word(bytes, "grant reference")?,
            frame: address(bytes)?,
            other_domain: small(bytes, "domain")?,
            flags: small(bytes, "grant flags")?,
            bytes: small(bytes, "grant copy length")?,
        }),
        kind::EVENT_CHANNEL => Event::EventChannel {
            operation: bytes.byte()?,
            port: word(bytes, "event channel port")?,
            domain: small(bytes, "domain")?,
        },
        kind::HALT => Event::Halt,
        kind::WAKE => Event::Wake,
        kind::PORT => {
            let how = bytes.byte()?;
            let port = small(bytes, "port")?;
            let count = word(bytes, "repeat count")?;
            Event::Port { port, bytes: how >> 1, write: how & 1 != 0, count }
        }
        kind::VM_RUN => {
            let tlb_control = bytes.byte()?;
            Event::VmRun {
                vmcb: bytes.number()?,
                asid: word(bytes, "ASID")?,
                tlb_control,
                guest_cr3: bytes.number()?,
                nested_cr3: bytes.number()?,
            }
        }
        kind::VM_EXIT => {
            Event::VmExit { code: address(bytes)?, info1: address(bytes)?, info2: address(bytes)? }
        }
        kind::TSC => Event::Tsc { value: cpu.tsc.wrapping_add(address(bytes)?) },
        kind::TIME => Event::Time { nanoseconds: cpu.nanoseconds.wrapping_add(address(bytes)?) },
        kind::MARKER => Event::Marker { number: word(bytes, "marker")? },
        kind::GAP => {
            let reason = match bytes.byte()? {
                0 => GapReason::Disarmed,
                1 => GapReason::Lost,
                2 => GapReason::Damaged,
                other => return Err(Malformed::new(format!("gap reason {other}"))),
            };
            Event::Gap { reason, instructions: bytes.number()? }
        }
        kind::CPU => Event::Cpu { number: bytes.bounded(MAX_CPUS - 1, "CPU number")? as u16 },
        kind::CURRENT => Event::Current(vcpu(bytes)?),
        kind::LOADED => Event::Loaded(vcpu(bytes)?),
        kind::STACK_POINTER => {
            Event::StackPointer { value: cpu.stack_pointer.wrapping_add(address(bytes)?) }
        }
        kind::DMA => {
            let write = bytes.byte()? != 0;
            Event::Dma { address: bytes.number()?, bytes: word(bytes, "DMA length")?, write }
        }
        kind::CACHE_FLUSH => Event::CacheFlush,
        other => {
            return Err(Malformed::new(format!("event kind {other}, which no version defines")));
        }
    })
}

fn decode_interrupt(bytes: &mut Bytes<impl AsRef<[u8]>>, stack_pointer: u64) -> Decoded<Interrupt> {
    let flags = bytes.byte()?;
    if flags & !0x1f != 0 {
        return Err(Malformed::new(format!("flags {flags:#x} of an interrupt")));
    }
    let kind = match flags & 3 {
        0 => InterruptKind::External,
        1 => InterruptKind::Exception,
        2 => InterruptKind::Software,
        _ => return Err(Malformed::new("interrupt kind 3")),
    };
    let vector = if flags & 4 != 0 { Some(bytes.byte()?) } else { None };
    let error_code = if flags & 8 != 0 { Some(word(bytes, "error code")?) } else { None };
    let resume = address(bytes)?;
    let code_segment = small(bytes, "code segment")?;
    let stack_before = stack_pointer.wrapping_add(address(bytes)?);
    let stack_after = address(bytes)?;
    let fault_address = if flags & 16 != 0 { address(bytes)? } else { 0 };
    let gate_segment = small(bytes, "gate segment")?;
    let gate_stack = bytes.byte()?;
    Ok(Interrupt {
        vector,
        kind,
        error_code,
        resume,
        code_segment,
        stack_before,
        stack_after,
        fault_address,
        gate_segment,
        gate_stack,
    })
}
