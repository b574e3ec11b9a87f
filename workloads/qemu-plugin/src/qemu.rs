//! QEMU's side: this module and those below it are the only ones that call the emulator or are
//! called by it.
//!
//! All callbacks but the last (`at_exit`, when the machine stands still) come on the one thread
//! that executes the machine's CPU.

#![allow(unsafe_code, reason = "QEMU's plugin interface is one of C functions and pointers")]
#![allow(unreachable_pub, reason = "QEMU finds the two public items by their symbols")]

mod emulator;
mod instrument;

use crate::host::Host;
use crate::memory::Memory;
use crate::options::Options;
use crate::recorder::{Phase, Recorder};
use crate::session::Destination;
use emulator::Qemu;
use qemu_plugin_sys::{
    qemu_info_t, qemu_plugin_id_t, qemu_plugin_register_atexit_cb,
    qemu_plugin_register_vcpu_init_cb, qemu_plugin_register_vcpu_tb_trans_cb,
};
use rustc_hash::FxHashSet;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Version of the plugin interface; QEMU looks for this symbol.
// SAFETY: no other item of this name is linked into the library.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 4;

struct Plugin {
    options: Options,
    file: Option<File>,
    recorder: Recorder<Qemu>,
    /// Addresses behind each VMRUN translated so far, where #VMEXIT leads.
    after_vmrun: FxHashSet<u64>,
}

static PLUGIN: AtomicPtr<Plugin> = AtomicPtr::new(null_mut());

/// The plugin, for a callback on the executing thread.
#[inline(always)]
fn plugin() -> &'static mut Plugin {
    // SAFETY: the pointer is set before any callback is registered and never freed. Callbacks do
    // not nest: none calls into QEMU in a way that calls back.
    unsafe { &mut *PLUGIN.load(Ordering::Relaxed) }
}

unsafe extern "C" fn cpu_starts(_: qemu_plugin_id_t, _: c_uint) {
    // SAFETY: this is that callback.
    unsafe { plugin().recorder.host().cpu_starts() };
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
            qemu_plugin_register_vcpu_tb_trans_cb(id, Some(instrument::translates));
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
    let memory =
        Memory::map(&options.ram, options.direct_cr0_reads).map_err(|error| error.to_string())?;
    let file = File::create(&options.out)
        .map_err(|error| format!("out={}: {error}", options.out.display()))?;
    let host = Qemu::new(id, memory);
    let recorder = Recorder::new(host, options.xen, options.limit, options.verify);
    let mut plugin =
        Plugin { options, file: Some(file), recorder, after_vmrun: FxHashSet::default() };
    if plugin.options.arm == 0 {
        plugin.arm();
    }
    let plugin = Box::leak(Box::new(plugin));
    PLUGIN.store(plugin, Ordering::Relaxed);
    plugin.register();
    Ok(())
}
