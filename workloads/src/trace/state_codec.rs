//! The machine's state as bytes: what every chunk begins with.

use super::bytes::{Bytes, put, put_signed};
use super::consistency::MAX_CPUS;
use super::error::{Decoded, Malformed};
use super::event_codec::{put_vcpu, vcpu};
use super::state::{CpuState, Descriptor, MachineState, NestedGuest};

fn put_descriptor(out: &mut Vec<u8>, descriptor: &Descriptor) {
    put_signed(out, descriptor.base as i64);
    put(out, u64::from(descriptor.limit));
    put(out, u64::from(descriptor.selector));
}

pub(crate) fn encode(out: &mut Vec<u8>, state: &MachineState) {
    put(out, state.cpus.len() as u64);
    put(out, u64::from(state.cpu));
    for cpu in &state.cpus {
        out.push(u8::from(cpu.halted) | u8::from(cpu.guest.is_some()) << 1);
        for value in [cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer] {
            put(out, value);
        }
        for descriptor in [&cpu.gdt, &cpu.idt, &cpu.task] {
            put_descriptor(out, descriptor);
        }
        put_vcpu(out, &cpu.current);
        put_vcpu(out, &cpu.loaded);
        put_signed(out, cpu.stack_pointer as i64);
        put(out, cpu.tsc);
        put(out, cpu.nanoseconds);
        if let Some(guest) = &cpu.guest {
            put(out, guest.vmcb);
            put(out, u64::from(guest.asid));
            put(out, guest.guest_cr3);
            put(out, guest.nested_cr3);
        }
    }
}

pub(crate) fn decode(bytes: &mut Bytes<impl AsRef<[u8]>>) -> Decoded<MachineState> {
    let count = bytes.bounded(MAX_CPUS, "number of CPUs")?;
    let cpu = bytes.number()?;
    if cpu >= count {
        return Err(Malformed::new(format!("CPU {cpu} runs, but there are {count}")));
    }
    let cpus = (0..count).map(|_| decode_cpu(bytes)).collect::<Decoded<_>>()?;
    Ok(MachineState { cpus, cpu: cpu as u16 })
}

fn decode_cpu(bytes: &mut Bytes<impl AsRef<[u8]>>) -> Decoded<CpuState> {
    let flags = bytes.byte()?;
    if flags & !3 != 0 {
        return Err(Malformed::new(format!("flags {flags:#x} of a CPU")));
    }
    let [cr0, cr3, cr4, efer] =
        [bytes.number()?, bytes.number()?, bytes.number()?, bytes.number()?];
    let mut descriptor = || {
        Ok(Descriptor {
            base: bytes.signed()? as u64,
            limit: bytes.bounded(u64::from(u32::MAX), "limit")? as u32,
            selector: bytes.bounded(u64::from(u16::MAX), "selector")? as u16,
        })
    };
    let (gdt, idt, task) = (descriptor()?, descriptor()?, descriptor()?);
    let (current, loaded) = (vcpu(bytes)?, vcpu(bytes)?);
    let stack_pointer = bytes.signed()? as u64;
    let (tsc, nanoseconds) = (bytes.number()?, bytes.number()?);
    let guest = if flags & 2 != 0 {
        Some(NestedGuest {
            vmcb: bytes.number()?,
            asid: bytes.bounded(u64::from(u32::MAX), "ASID")? as u32,
            guest_cr3: bytes.number()?,
            nested_cr3: bytes.number()?,
        })
    } else {
        None
    };
    Ok(CpuState {
        cr0,
        cr3,
        cr4,
        efer,
        gdt,
        idt,
        task,
        current,
        loaded,
        stack_pointer,
        guest,
        halted: flags & 1 != 0,
        tsc,
        nanoseconds,
    })
}
