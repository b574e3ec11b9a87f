//! What translated code is asked to tell, and what it then calls.

use super::emulator::Qemu;
use super::{Plugin, plugin};
use crate::blocks::Index;
use crate::host::{Host, RAX, Register};
use crate::recorder::{Phase, Recorder};
use crate::session::Translated;
use crate::{svm, translate};
use qemu_plugin_sys::{
    qemu_plugin_cb_flags, qemu_plugin_id_t, qemu_plugin_insn, qemu_plugin_insn_data,
    qemu_plugin_insn_size, qemu_plugin_insn_vaddr, qemu_plugin_mem_get_value, qemu_plugin_mem_rw,
    qemu_plugin_op, qemu_plugin_register_vcpu_insn_exec_cb,
    qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu, qemu_plugin_register_vcpu_mem_cb,
    qemu_plugin_register_vcpu_tb_exec_cb, qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu,
    qemu_plugin_tb, qemu_plugin_tb_get_insn, qemu_plugin_tb_n_insns, qemu_plugin_tb_vaddr,
    qemu_plugin_u64,
};
use rustc_hash::FxHashSet;
use std::ffi::{c_uint, c_void};
use std::ptr::null_mut;
use strata_workloads::trace::DescriptorTable;

fn pack(high: u32, low: u32) -> *mut c_void {
    std::ptr::without_provenance_mut((u64::from(high) << 32 | u64::from(low)) as usize)
}

#[inline(always)]
fn unpack(data: *mut c_void) -> (u32, u32) {
    let data = data.addr() as u64;
    ((data >> 32) as u32, data as u32)
}

unsafe extern "C" fn block_executes(cpu: c_uint, data: *mut c_void) {
    let (block, frame) = unpack(data);
    plugin().recorder.execute(cpu, block, frame);
}

unsafe extern "C" fn block_executes_verified(cpu: c_uint, data: *mut c_void) {
    let (block, frame) = unpack(data);
    let recorder = &mut plugin().recorder;
    recorder.execute(cpu, block, frame);
    recorder.verify();
}

unsafe extern "C" fn loads(_: c_uint, info: u32, address: u64, data: *mut c_void) {
    let (block, instruction) = unpack(data);
    plugin().recorder.access(block, instruction, info, address, false);
}

unsafe extern "C" fn stores(_: c_uint, info: u32, address: u64, data: *mut c_void) {
    let (block, instruction) = unpack(data);
    plugin().recorder.access(block, instruction, info, address, true);
}

unsafe extern "C" fn loads_verified(_: c_uint, info: u32, address: u64, data: *mut c_void) {
    let (block, instruction) = unpack(data);
    let recorder = &mut plugin().recorder;
    recorder.access(block, instruction, info, address, false);
    recorder.verify_access(info, address);
}

unsafe extern "C" fn stores_verified(_: c_uint, info: u32, address: u64, data: *mut c_void) {
    let (block, instruction) = unpack(data);
    let recorder = &mut plugin().recorder;
    recorder.access(block, instruction, info, address, true);
    recorder.verify_access(info, address);
}

unsafe extern "C" fn accesses_physically(_: c_uint, _: u32, _: u64, _: *mut c_void) {
    plugin().recorder.physical_access();
}

unsafe extern "C" fn instruction_executes(_: c_uint, data: *mut c_void) {
    let (block, instruction) = unpack(data);
    plugin().recorder.instruction(block, instruction);
}

unsafe extern "C" fn marker_executes(_: c_uint, data: *mut c_void) {
    let (_, number) = unpack(data);
    let Plugin { options, recorder, .. } = plugin();
    let wanted = match recorder.phase() {
        Phase::Waiting => options.arm,
        Phase::Recording => options.disarm,
        Phase::Armed | Phase::Done => return,
    };
    if number == u32::from(wanted) {
        recorder.host().request_stop();
    }
}

unsafe extern "C" fn guest_enters(_: c_uint, _: *mut c_void) {
    let Plugin { options, recorder, .. } = plugin();
    recorder.enters_guest(true);
    if options.direct_cr0_reads {
        let host = recorder.host();
        svm::let_cr0_be_read(host.memory(), host.register(RAX));
    }
}

unsafe extern "C" fn guest_left(_: c_uint, _: *mut c_void) {
    plugin().recorder.enters_guest(false);
}

unsafe extern "C" fn table_loads(cpu: c_uint, info: u32, _: u64, data: *mut c_void) {
    let (table, _) = unpack(data);
    // SAFETY: QEMU holds the value of the access that this callback is for.
    let value = unsafe { qemu_plugin_mem_get_value(info).data.u64_ };
    let recorder = &mut plugin().recorder;
    let bytes = recorder.host().describe(info).bytes;
    let value = if bytes < 8 { value & ((1 << (8 * u32::from(bytes))) - 1) } else { value };
    recorder.table_access(cpu, TABLES[table as usize], bytes, value);
}

unsafe extern "C" fn task_loads(cpu: c_uint, data: *mut c_void) {
    let (_, register) = unpack(data);
    let recorder = &mut plugin().recorder;
    let selector = recorder.host().register(Register::General(register as u8)) as u16;
    recorder.load_task(cpu, selector);
}

const TABLES: [DescriptorTable; 3] =
    [DescriptorTable::Global, DescriptorTable::Interrupt, DescriptorTable::Task];

/// QEMU has translated a block.
pub(super) unsafe extern "C" fn translates(_: qemu_plugin_id_t, tb: *mut qemu_plugin_tb) {
    let Plugin { options, recorder, after_vmrun, .. } = plugin();
    let (mut lengths, mut code) = (Vec::with_capacity(32), Vec::with_capacity(128));
    // SAFETY: `tb` and its instructions are QEMU's for the duration of this callback; what is
    // registered with them is numbers, no pointers of ours.
    unsafe {
        let count = qemu_plugin_tb_n_insns(tb);
        for i in 0..count {
            let insn = qemu_plugin_tb_get_insn(tb, i);
            let mut bytes = [0u8; 16];
            let length = qemu_plugin_insn_size(insn).min(16);
            qemu_plugin_insn_data(insn, bytes.as_mut_ptr().cast(), length);
            watch(insn, &bytes[..length], after_vmrun);
            lengths.push(length as u8);
            code.extend_from_slice(&bytes[..length]);
        }
        if count == 0 {
            return;
        }
        if matches!(recorder.phase(), Phase::Waiting | Phase::Done) {
            qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
                tb,
                qemu_plugin_op::QEMU_PLUGIN_INLINE_ADD_U64,
                recorder.host().executed_word(),
                count as u64,
            );
            return;
        }
        let begun = recorder.host().begun_word();
        let address = qemu_plugin_tb_vaddr(tb);
        let (block, frame) =
            recorder.translate(Translated { address, lengths: &lengths, code: &code });
        if options.verify {
            let flags = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_R_REGS;
            let data = pack(block, frame);
            qemu_plugin_register_vcpu_tb_exec_cb(tb, Some(block_executes_verified), flags, data);
        } else {
            let flags = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_NO_REGS;
            let data = pack(block, frame);
            qemu_plugin_register_vcpu_tb_exec_cb(tb, Some(block_executes), flags, data);
        }
        for i in 0..count {
            let insn = qemu_plugin_tb_get_insn(tb, i);
            instrument(recorder, insn, block, i, begun, options.verify);
        }
    }
}

/// Asks to be told of markers, descriptor tables and guests of SVM, which are watched from the
/// first instruction of the machine on.
///
/// # Safety
/// `insn` must be an instruction that QEMU is translating.
unsafe fn watch(insn: *mut qemu_plugin_insn, bytes: &[u8], after_vmrun: &mut FxHashSet<u64>) {
    let reads = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_R_REGS;
    let no_registers = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_NO_REGS;
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(number) = translate::marker(bytes) {
            let data = pack(0, number.into());
            qemu_plugin_register_vcpu_insn_exec_cb(insn, Some(marker_executes), reads, data);
        }
        let address = qemu_plugin_insn_vaddr(insn);
        if translate::runs_guest(bytes) {
            after_vmrun.insert(address.wrapping_add(bytes.len() as u64));
            qemu_plugin_register_vcpu_insn_exec_cb(insn, Some(guest_enters), reads, null_mut());
        } else if after_vmrun.contains(&address) {
            let left = Some(guest_left as unsafe extern "C" fn(_, _));
            qemu_plugin_register_vcpu_insn_exec_cb(insn, left, no_registers, null_mut());
        }
        let Some(table) = translate::table_load(bytes) else { return };
        let modrm = bytes.iter().position(|&byte| byte == 0x0f).map(|at| bytes[at + 2]);
        let from = modrm.filter(|modrm| *modrm >= 0xc0).map(|modrm| modrm & 7);
        if let Some(from) = from {
            let extended = bytes.iter().take_while(|&&b| b != 0x0f).any(|b| b & 0xf1 == 0x41);
            let data = pack(0, u32::from(from) | u32::from(extended) << 3);
            qemu_plugin_register_vcpu_insn_exec_cb(insn, Some(task_loads), reads, data);
        } else {
            let memory = qemu_plugin_mem_rw::QEMU_PLUGIN_MEM_R;
            let data = pack(table as u32, 0);
            qemu_plugin_register_vcpu_mem_cb(insn, Some(table_loads), no_registers, memory, data);
        }
    }
}

/// Asks to be told what instruction `i` of `block` does while recording.
///
/// # Safety
/// `insn` must be an instruction that QEMU is translating.
unsafe fn instrument(
    recorder: &Recorder<Qemu>,
    insn: *mut qemu_plugin_insn,
    block: Index,
    i: usize,
    begun: qemu_plugin_u64,
    verify: bool,
) {
    let no_registers = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_NO_REGS;
    if !recorder.blocks().tracked(block, i) {
        return;
    }
    let data = pack(block, i as u32);
    // SAFETY: the caller's promise.
    unsafe {
        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
            insn,
            qemu_plugin_op::QEMU_PLUGIN_INLINE_STORE_U64,
            begun,
            i as u64 + 1,
        );
        if recorder.blocks().is_looked_at(block, i) {
            let reads = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_R_REGS;
            qemu_plugin_register_vcpu_insn_exec_cb(insn, Some(instruction_executes), reads, data);
        }
        if recorder.blocks().accesses_physically(block, i) {
            let both = qemu_plugin_mem_rw::QEMU_PLUGIN_MEM_RW;
            let count = Some(accesses_physically as unsafe extern "C" fn(_, _, _, _));
            qemu_plugin_register_vcpu_mem_cb(insn, count, no_registers, both, null_mut());
            return;
        }
        let (read, write) =
            (qemu_plugin_mem_rw::QEMU_PLUGIN_MEM_R, qemu_plugin_mem_rw::QEMU_PLUGIN_MEM_W);
        type Accessed = unsafe extern "C" fn(c_uint, u32, u64, *mut c_void);
        let (on_load, on_store): (Accessed, Accessed) =
            if verify { (loads_verified, stores_verified) } else { (loads, stores) };
        qemu_plugin_register_vcpu_mem_cb(insn, Some(on_load), no_registers, read, data);
        qemu_plugin_register_vcpu_mem_cb(insn, Some(on_store), no_registers, write, data);
    }
}
