//! QEMU's side: the only module that calls the emulator or is called by it.
//!
//! All callbacks but the last (`at_exit`, when the machine stands still) come on the one thread
//! that executes all CPUs; a machine with a thread for each CPU is refused.

#![allow(unsafe_code, reason = "QEMU's plugin interface is one of C functions and pointers")]
#![allow(unreachable_pub, reason = "QEMU finds the two public items by their symbols")]

use crate::blocks::Index;
use crate::dma;
use crate::host::{Access, Host, Register};
use crate::memory::Memory;
use crate::options::Options;
use crate::recorder::{Phase, Recorder};
use crate::session::{Destination, Translated};
use crate::translate;
use qemu_plugin_sys::{
    GArray, GByteArray, qemu_info_t, qemu_plugin_cb_flags, qemu_plugin_get_hwaddr,
    qemu_plugin_get_registers, qemu_plugin_hwaddr_device_name, qemu_plugin_hwaddr_is_io,
    qemu_plugin_id_t, qemu_plugin_insn, qemu_plugin_insn_data, qemu_plugin_insn_size,
    qemu_plugin_mem_get_value, qemu_plugin_mem_is_store, qemu_plugin_mem_rw,
    qemu_plugin_mem_size_shift, qemu_plugin_op, qemu_plugin_read_memory_vaddr,
    qemu_plugin_read_register, qemu_plugin_reg_descriptor, qemu_plugin_register,
    qemu_plugin_register_atexit_cb, qemu_plugin_register_vcpu_init_cb,
    qemu_plugin_register_vcpu_insn_exec_cb, qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu,
    qemu_plugin_register_vcpu_mem_cb, qemu_plugin_register_vcpu_tb_exec_cb,
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu, qemu_plugin_register_vcpu_tb_trans_cb,
    qemu_plugin_reset, qemu_plugin_scoreboard, qemu_plugin_scoreboard_find, qemu_plugin_tb,
    qemu_plugin_tb_get_insn, qemu_plugin_tb_n_insns, qemu_plugin_tb_vaddr, qemu_plugin_u64,
};
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use strata_workloads::trace::{AccessKind, DescriptorTable};

unsafe extern "C" {
    fn g_byte_array_new() -> *mut GByteArray;
    fn g_byte_array_set_size(array: *mut GByteArray, length: c_uint) -> *mut GByteArray;
    fn g_array_free(array: *mut GArray, free_segment: c_int) -> *mut c_char;
}

/// Version of the plugin interface; QEMU looks for this symbol.
// SAFETY: no other item of this name is linked into the library.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 4;

/// Registers by QEMU's names, in the order of [`slot`].
const REGISTERS: [&str; 26] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15", "rip", "cs", "fs_base", "gs_base", "cr0", "cr2", "cr3", "cr4", "efer", "eflags",
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

struct Qemu {
    id: qemu_plugin_id_t,
    memory: Memory,
    registers: RefCell<[*mut qemu_plugin_register; REGISTERS.len()]>,
    buffer: *mut GByteArray,
    board: *mut qemu_plugin_scoreboard,
    words: RefCell<Vec<*mut Words>>,
    first: Cell<*mut Words>,
    stopping: Cell<bool>,
}

impl Qemu {
    fn words(&self, cpu: u32) -> *mut Words {
        if cpu == 0 { self.first.get() } else { self.words.borrow()[cpu as usize] }
    }

    fn executed(&self) -> u64 {
        // SAFETY: the pointers were given by QEMU for CPUs that exist; see `cpu_starts`.
        self.words.borrow().iter().map(|words| unsafe { (**words).executed }).sum()
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
    fn begun(&self, cpu: u32) -> u64 {
        // SAFETY: QEMU gave the pointer for a CPU that exists, and it is this thread that runs the
        // code that writes there.
        unsafe { (*self.words(cpu)).begun }
    }

    #[inline(always)]
    fn restart(&self, cpu: u32) {
        // SAFETY: as for `begun`.
        unsafe { (*self.words(cpu)).begun = 0 }
    }

    fn describe(&self, info: u32) -> Access {
        // SAFETY: `info` came from QEMU; these only take it apart.
        let (store, shift) =
            unsafe { (qemu_plugin_mem_is_store(info), qemu_plugin_mem_size_shift(info)) };
        let kind = if store { AccessKind::Write } else { AccessKind::Read };
        Access { kind, bytes: 1 << shift.min(15) }
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
            unsafe { qemu_plugin_reset(self.id, Some(on_reset)) };
        }
    }

    fn say(&self, message: &str) {
        eprintln!("strata-recorder: {message}");
    }
}

struct Plugin {
    options: Options,
    file: Option<File>,
    recorder: Recorder<Qemu>,
}

static PLUGIN: AtomicPtr<Plugin> = AtomicPtr::new(null_mut());
/// The thread that executes all CPUs, once one is known.
static EXECUTING: AtomicU64 = AtomicU64::new(0);

/// The plugin, for a callback on the executing thread.
#[inline(always)]
fn plugin() -> &'static mut Plugin {
    // SAFETY: the pointer is set before any callback is registered and never freed. Callbacks do
    // not nest: none calls into QEMU in a way that calls back.
    unsafe { &mut *PLUGIN.load(Ordering::Relaxed) }
}

/// False, with a message the first time, on any thread but the first to ask.
fn is_executing_thread() -> bool {
    // SAFETY: has no preconditions.
    let this = unsafe { libc::pthread_self() } as u64;
    match EXECUTING.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => true,
        Err(REFUSED) => false,
        Err(first) if first == this => true,
        Err(_) => {
            if EXECUTING.swap(REFUSED, Ordering::Relaxed) != REFUSED {
                eprintln!(
                    "strata-recorder: error: each CPU runs on a thread of its own, so that their \
                     order is not known; nothing is recorded. Start QEMU with \
                     -accel tcg,thread=single"
                );
            }
            false
        }
    }
}

const REFUSED: u64 = u64::MAX;

fn pack(high: u32, low: u32) -> *mut c_void {
    std::ptr::without_provenance_mut((u64::from(high) << 32 | u64::from(low)) as usize)
}

#[inline(always)]
fn unpack(data: *mut c_void) -> (u32, u32) {
    let data = data.addr() as u64;
    ((data >> 32) as u32, data as u32)
}

unsafe extern "C" fn cpu_starts(_: qemu_plugin_id_t, cpu: c_uint) {
    if !is_executing_thread() {
        return;
    }
    let host = plugin().recorder.host();
    // SAFETY: this is the context of a CPU that QEMU has just initialised. The array of
    // descriptors is ours to free; handles and names stay QEMU's.
    unsafe {
        let list = qemu_plugin_get_registers();
        let descriptors = std::slice::from_raw_parts(
            (*list).data.cast::<qemu_plugin_reg_descriptor>(),
            (*list).len as usize,
        );
        let mut registers = host.registers.borrow_mut();
        for descriptor in descriptors {
            let name = CStr::from_ptr(descriptor.name).to_bytes();
            if let Some(at) = REGISTERS.iter().position(|known| known.as_bytes() == name) {
                registers[at] = descriptor.handle;
            }
        }
        g_array_free(list, 1);
        // A new CPU may have moved the words of the others.
        *host.words.borrow_mut() =
            (0..=cpu).map(|cpu| qemu_plugin_scoreboard_find(host.board, cpu).cast()).collect();
        host.first.set(host.words.borrow()[0]);
    }
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

unsafe extern "C" fn accesses_physically(_: c_uint, _: u32, _: u64, _: *mut c_void) {
    plugin().recorder.physical_access();
}

unsafe extern "C" fn instruction_executes(_: c_uint, data: *mut c_void) {
    let (block, instruction) = unpack(data);
    plugin().recorder.instruction(block, instruction);
}

unsafe extern "C" fn marker_executes(_: c_uint, data: *mut c_void) {
    if !is_executing_thread() {
        return;
    }
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

unsafe extern "C" fn table_loads(cpu: c_uint, info: u32, _: u64, data: *mut c_void) {
    if !is_executing_thread() {
        return;
    }
    let (table, _) = unpack(data);
    // SAFETY: QEMU holds the value of the access that this callback is for.
    let value = unsafe { qemu_plugin_mem_get_value(info).data.u64_ };
    let recorder = &mut plugin().recorder;
    let bytes = recorder.host().describe(info).bytes;
    let value = if bytes < 8 { value & ((1 << (8 * u32::from(bytes))) - 1) } else { value };
    recorder.table_access(cpu, TABLES[table as usize], bytes, value);
}

unsafe extern "C" fn task_loads(cpu: c_uint, data: *mut c_void) {
    if !is_executing_thread() {
        return;
    }
    let (_, register) = unpack(data);
    let recorder = &mut plugin().recorder;
    let selector = recorder.host().register(Register::General(register as u8)) as u16;
    recorder.load_task(cpu, selector);
}

const TABLES: [DescriptorTable; 3] =
    [DescriptorTable::Global, DescriptorTable::Interrupt, DescriptorTable::Task];

unsafe extern "C" fn translates(_: qemu_plugin_id_t, tb: *mut qemu_plugin_tb) {
    if !is_executing_thread() {
        return;
    }
    let Plugin { options, recorder, .. } = plugin();
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
            watch(insn, &bytes[..length]);
            lengths.push(length as u8);
            code.extend_from_slice(&bytes[..length]);
        }
        if count == 0 {
            return;
        }
        let words = |offset| qemu_plugin_u64 { score: recorder.host().board, offset };
        if matches!(recorder.phase(), Phase::Waiting | Phase::Done) {
            qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
                tb,
                qemu_plugin_op::QEMU_PLUGIN_INLINE_ADD_U64,
                words(std::mem::offset_of!(Words, executed)),
                count as u64,
            );
            return;
        }
        let begun = words(std::mem::offset_of!(Words, begun));
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
            instrument(recorder, qemu_plugin_tb_get_insn(tb, i), block, i, begun);
        }
    }
}

/// Asks to be told of markers and descriptor tables, which are watched from the first instruction
/// of the machine on.
///
/// # Safety
/// `insn` must be an instruction that QEMU is translating.
unsafe fn watch(insn: *mut qemu_plugin_insn, bytes: &[u8]) {
    let reads = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_R_REGS;
    let no_registers = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_NO_REGS;
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(number) = translate::marker(bytes) {
            let data = pack(0, number.into());
            qemu_plugin_register_vcpu_insn_exec_cb(insn, Some(marker_executes), reads, data);
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
        qemu_plugin_register_vcpu_mem_cb(insn, Some(loads), no_registers, read, data);
        qemu_plugin_register_vcpu_mem_cb(insn, Some(stores), no_registers, write, data);
    }
}

/// No CPU executes: recording begins or ends.
unsafe extern "C" fn on_reset(_: qemu_plugin_id_t) {
    let plugin = plugin();
    plugin.recorder.host().stopping.set(false);
    match plugin.recorder.phase() {
        Phase::Waiting => {
            let executed = plugin.recorder.host().executed();
            plugin.arm();
            plugin.recorder.host().say(&format!("armed at instruction {executed}"));
        }
        Phase::Armed | Phase::Recording | Phase::Done => plugin.stop(true),
    }
    plugin.register();
}

unsafe extern "C" fn at_exit(_: qemu_plugin_id_t, _: *mut c_void) {
    let plugin = plugin();
    match plugin.recorder.phase() {
        Phase::Recording => plugin.stop(false),
        Phase::Waiting => plugin.recorder.host().say(&format!(
            "error: the machine ended before it executed marker {}, so nothing was recorded",
            plugin.options.arm
        )),
        Phase::Armed | Phase::Done => {}
    }
}

impl Plugin {
    fn arm(&mut self) {
        let Some(file) = self.file.take() else { return };
        let description = format!("strata-recorder {}", env!("CARGO_PKG_VERSION"));
        let level = self.options.level;
        self.recorder.arm(Destination { sink: Box::new(file), level, description });
    }

    fn register(&self) {
        let id = self.recorder.host().id;
        // SAFETY: QEMU gave the id; the functions live as long as the library.
        unsafe {
            qemu_plugin_register_vcpu_init_cb(id, Some(cpu_starts));
            qemu_plugin_register_vcpu_tb_trans_cb(id, Some(translates));
            qemu_plugin_register_atexit_cb(id, Some(at_exit), null_mut());
        }
    }

    fn stop(&mut self, here: bool) {
        let instructions = self.recorder.counts().instructions;
        let result = self.recorder.stop(here);
        let host = self.recorder.host();
        match result {
            Ok(ended) => {
                let seconds = ended.cpu_time as f64 / 1e9;
                let rate = ended.written.totals.instructions as f64 / seconds.max(1e-9) / 1e6;
                host.say(&format!(
                    "disarmed after {} instructions, {} bytes, {seconds:.3} s of CPU time, \
                     {rate:.2} M instructions/s",
                    ended.written.totals.instructions, ended.written.bytes
                ));
            }
            Err(error) => host.say(&format!(
                "error: {}: {error}; recording stopped after {instructions} instructions. Free \
                 space or choose another place with out=; `strata check` salvages what was written",
                self.options.out.display()
            )),
        }
        for finding in self.recorder.findings() {
            host.say(&finding);
        }
        if self.options.exit && here {
            // SAFETY: has no preconditions. QEMU ends in good order on SIGTERM.
            unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
        }
    }
}

/// QEMU calls this once, when it has loaded the library.
///
/// # Safety
/// Called by QEMU, with `argc` strings in `argv`.
// SAFETY: no other function of this name is linked into the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: qemu_plugin_id_t,
    info: *const qemu_info_t,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU passes a valid description and as many strings as it says.
    let (target, system, cpus, arguments) = unsafe {
        let arguments: Vec<_> = (0..argc as usize)
            .map(|i| CStr::from_ptr(*argv.add(i)).to_string_lossy().into_owned())
            .collect();
        let system = (*info).system_emulation;
        let cpus = if system { (*info).__bindgen_anon_1.system.max_vcpus } else { 1 };
        (CStr::from_ptr((*info).target_name), system, cpus, arguments)
    };
    let result = if !system || target.to_bytes() != b"x86_64" {
        Err("only qemu-system-x86_64 can be recorded".to_owned())
    } else if cpus > 1 {
        // accel/tcg/plugin-gen.c, gen_cpu_index(): callbacks name the CPU that the code was
        // translated on, unless each CPU has a thread of its own; and then their order is unknown.
        Err(format!(
            "the machine has {cpus} CPUs, but QEMU does not tell a plugin which of them executes; \
             start it with -smp 1"
        ))
    } else {
        install(id, &arguments)
    };
    match result {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("strata-recorder: error: {message}");
            -1
        }
    }
}

fn install(id: qemu_plugin_id_t, arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments).map_err(|error| error.to_string())?;
    let memory = Memory::map(&options.ram).map_err(|error| error.to_string())?;
    let file = File::create(&options.out)
        .map_err(|error| format!("out={}: {error}", options.out.display()))?;
    // SAFETY: plain allocations by QEMU and GLib.
    let (buffer, board) = unsafe {
        (g_byte_array_new(), qemu_plugin_sys::qemu_plugin_scoreboard_new(size_of::<Words>()))
    };
    let host = Qemu {
        id,
        memory,
        registers: RefCell::new([null_mut(); REGISTERS.len()]),
        buffer,
        board,
        words: RefCell::new(Vec::new()),
        first: Cell::new(null_mut()),
        stopping: Cell::new(false),
    };
    let recorder = Recorder::new(host, options.xen, options.limit, options.verify);
    let mut plugin = Plugin { options, file: Some(file), recorder };
    if plugin.options.arm == 0 {
        plugin.arm();
    }
    let plugin = Box::leak(Box::new(plugin));
    PLUGIN.store(plugin, Ordering::Relaxed);
    plugin.register();
    Ok(())
}
