//! The emulator as the recorder sees it.

use crate::dma;
use crate::host::{Access, Host, Register};
use crate::memory::Memory;
use qemu_plugin_sys::{
    GArray, GByteArray, qemu_plugin_get_hwaddr, qemu_plugin_get_registers,
    qemu_plugin_hwaddr_device_name, qemu_plugin_hwaddr_is_io, qemu_plugin_hwaddr_phys_addr,
    qemu_plugin_id_t, qemu_plugin_mem_is_store, qemu_plugin_mem_size_shift,
    qemu_plugin_read_memory_vaddr, qemu_plugin_read_register, qemu_plugin_reg_descriptor,
    qemu_plugin_register, qemu_plugin_reset, qemu_plugin_scoreboard, qemu_plugin_scoreboard_find,
    qemu_plugin_scoreboard_new, qemu_plugin_u64,
};
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::ptr::null_mut;
use strata_workloads::trace::AccessKind;

unsafe extern "C" {
    fn g_byte_array_new() -> *mut GByteArray;
    fn g_byte_array_set_size(array: *mut GByteArray, length: c_uint) -> *mut GByteArray;
    fn g_array_free(array: *mut GArray, free_segment: c_int) -> *mut c_char;
}

/// Registers by QEMU's names, in the order of [`slot`].
const REGISTERS: [&str; 26] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15", "rip", "cs", "fs_base", "gs_base", "cr0", "cr2", "cr3", "cr4", "efer", "ss",
];

/// Where a register is in [`REGISTERS`].
fn slot(register: Register) -> usize {
    match register {
        Register::General(number) => usize::from(number & 15),
        Register::InstructionPointer => 16,
        Register::CodeSegment => 17,
        Register::FsBase => 18,
        Register::GsBase => 19,
        Register::Cr0 => 20,
        Register::Cr2 => 21,
        Register::Cr3 => 22,
        Register::Cr4 => 23,
        Register::Efer => 24,
        Register::StackSegment => 25,
    }
}

/// Words that translated code keeps for each CPU.
#[repr(C)]
struct Words {
    /// Instructions begun in the block that executes.
    begun: u64,
    /// Instructions executed while not recording.
    executed: u64,
}

pub(super) struct Qemu {
    pub(super) id: qemu_plugin_id_t,
    memory: Memory,
    registers: RefCell<[*mut qemu_plugin_register; REGISTERS.len()]>,
    buffer: *mut GByteArray,
    board: *mut qemu_plugin_scoreboard,
    words: Cell<*mut Words>,
    pub(super) stopping: Cell<bool>,
}

impl Qemu {
    /// What plugin `id` sees of the emulator.
    pub(super) fn new(id: qemu_plugin_id_t, memory: Memory) -> Self {
        // SAFETY: plain allocations by GLib and QEMU.
        let (buffer, board) =
            unsafe { (g_byte_array_new(), qemu_plugin_scoreboard_new(size_of::<Words>())) };
        Qemu {
            id,
            memory,
            registers: RefCell::new([null_mut(); REGISTERS.len()]),
            buffer,
            board,
            words: Cell::new(null_mut()),
            stopping: Cell::new(false),
        }
    }

    /// Looks up what can only be looked up once the CPU is there.
    ///
    /// # Safety
    /// Must be called from QEMU's callback for the initialisation of the machine's CPU.
    pub(super) unsafe fn cpu_starts(&self) {
        // SAFETY: the caller's promise. The array of descriptors is ours to free; handles and
        // names stay QEMU's.
        unsafe {
            let list = qemu_plugin_get_registers();
            let descriptors = std::slice::from_raw_parts(
                (*list).data.cast::<qemu_plugin_reg_descriptor>(),
                (*list).len as usize,
            );
            let mut registers = self.registers.borrow_mut();
            for descriptor in descriptors {
                let name = CStr::from_ptr(descriptor.name).to_bytes();
                if let Some(at) = REGISTERS.iter().position(|known| known.as_bytes() == name) {
                    registers[at] = descriptor.handle;
                }
            }
            g_array_free(list, 1);
            self.words.set(qemu_plugin_scoreboard_find(self.board, 0).cast());
        }
    }

    /// Where translated code counts the instructions that have begun in the executing block.
    pub(super) fn begun_word(&self) -> qemu_plugin_u64 {
        qemu_plugin_u64 { score: self.board, offset: std::mem::offset_of!(Words, begun) }
    }

    /// Where it counts all instructions while not recording.
    pub(super) fn executed_word(&self) -> qemu_plugin_u64 {
        qemu_plugin_u64 { score: self.board, offset: std::mem::offset_of!(Words, executed) }
    }

    /// Instructions executed while not recording.
    pub(super) fn executed(&self) -> u64 {
        // SAFETY: the pointer is null or was given by QEMU for the CPU, which stands still.
        unsafe { self.words.get().as_ref() }.map_or(0, |words| words.executed)
    }
}

impl Host for Qemu {
    fn register(&self, register: Register) -> u64 {
        let handle = self.registers.borrow()[slot(register)];
        if handle.is_null() {
            return 0;
        }
        // SAFETY: the handle is QEMU's, the buffer is ours, and this is the thread of the CPU.
        unsafe {
            g_byte_array_set_size(self.buffer, 0);
            let bytes = qemu_plugin_read_register(handle, self.buffer);
            match bytes {
                8 => (*self.buffer).data.cast::<u64>().read_unaligned(),
                4 => (*self.buffer).data.cast::<u32>().read_unaligned().into(),
                _ => 0,
            }
        }
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    #[inline(always)]
    fn begun(&self, _: u32) -> u64 {
        // SAFETY: QEMU gave the pointer before the CPU began to execute, and it is this thread that
        // runs the code that writes there.
        unsafe { (*self.words.get()).begun }
    }

    #[inline(always)]
    fn restart(&self, _: u32) {
        // SAFETY: as for `begun`.
        unsafe { (*self.words.get()).begun = 0 }
    }

    fn describe(&self, info: u32) -> Access {
        // SAFETY: `info` came from QEMU; these only take it apart.
        let (store, shift) =
            unsafe { (qemu_plugin_mem_is_store(info), qemu_plugin_mem_size_shift(info)) };
        let kind = if store { AccessKind::Write } else { AccessKind::Read };
        Access { kind, bytes: 1 << shift.min(15) }
    }

    fn physical(&self, info: u32, address: u64) -> Option<u64> {
        // SAFETY: as for `is_network_card`.
        unsafe {
            let handle = qemu_plugin_get_hwaddr(info, address);
            (!handle.is_null()).then(|| qemu_plugin_hwaddr_phys_addr(handle))
        }
    }

    fn is_network_card(&self, info: u32, address: u64) -> bool {
        // SAFETY: called from the callback of the access that `info` describes; the handle is used
        // before it returns, and the name lives as long as QEMU does.
        unsafe {
            let handle = qemu_plugin_get_hwaddr(info, address);
            !handle.is_null()
                && qemu_plugin_hwaddr_is_io(handle)
                && CStr::from_ptr(qemu_plugin_hwaddr_device_name(handle)).to_bytes()
                    == dma::REGION.as_bytes()
        }
    }

    fn device_word(&self, address: u64) -> Option<u32> {
        // SAFETY: the buffer is ours and large enough once QEMU has filled it.
        unsafe {
            let read = qemu_plugin_read_memory_vaddr(address, self.buffer, 4);
            read.then(|| (*self.buffer).data.cast::<u32>().read_unaligned())
        }
    }

    fn cpu_time(&self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is ours to be written to.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn request_stop(&self) {
        if !self.stopping.replace(true) {
            // SAFETY: QEMU gave the id; `on_reset` comes when no CPU executes.
            unsafe { qemu_plugin_reset(self.id, Some(super::on_reset)) };
        }
    }

    fn say(&self, message: &str) {
        eprintln!("strata-recorder: {message}");
    }
}
