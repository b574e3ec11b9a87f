//! `strata capture`: boots the real workload under QEMU and records it.

use std::io::{Write, stderr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use strata_workloads::capture::{self, Progress, Request, Scenario};

use crate::talk::TalkArgs;

/// Boots a hypervisor and a guest under QEMU, records what the guest does and makes a capture folder.
///
/// xen-net-tx sends from a paravirtualized guest of Xen through dom0's network driver to a server
/// on this machine; xen-net-rx receives over the same path; xen-net-local sends to a server in dom0.
/// xen-pvh-svm is like that with a guest that SVM runs, traced by xentrace; kvm-amd is a small guest
/// of Linux' KVM, traced by perf. Two captures of one of the last three are identical to the byte.
#[derive(Debug, clap::Args)]
pub(crate) struct CaptureArgs {
    /// xen-net-tx, xen-net-rx, xen-net-local, xen-pvh-svm or kvm-amd
    scenario: Scenario,
    /// Capture folder to make
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Replace an earlier capture of that name
    #[arg(long)]
    force: bool,
    /// The recorder (libstrata_recorder.so); looked for beside this program otherwise
    #[arg(long, value_name = "FILE")]
    recorder: Option<PathBuf>,
    /// Shell command to run instead of iperf3, $SERVER and $PORT name its server; or, under KVM,
    /// instead of strata-guest
    #[arg(long, value_name = "COMMAND")]
    guest_cmd: Option<String>,
    /// How much iperf3 transfers [default: 4M]
    #[arg(long, value_name = "SIZE")]
    bytes: Option<String>,
    /// The guest's memory in MiB [default: 192]
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Added to the hypervisor's command line
    #[arg(long, default_value = "", hide_default_value = true, value_name = "OPTIONS")]
    xen_options: String,
    /// Added to the kernels' command lines
    #[arg(long, default_value = "", hide_default_value = true, value_name = "OPTIONS")]
    linux_options: String,
    /// Emulated CPUs; the recorder follows one
    #[arg(long, default_value_t = 1)]
    cpus: u32,
    /// Compression level of the trace
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Where images are kept (~/.cache/strata)
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Keep also what the hypervisor and its tools logged
    #[arg(long)]
    keep_logs: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the capture could not be made.
pub(crate) fn run(args: CaptureArgs) -> anyhow::Result<()> {
    let cache = args
        .cache
        .or_else(capture::default_cache)
        .context("neither XDG_CACHE_HOME nor HOME is set: say with --cache where to keep images")?;
    let request = Request {
        scenario: args.scenario,
        out: args.output,
        force: args.force,
        recorder: args.recorder,
        guest_command: args.guest_cmd,
        bytes: args.bytes,
        memory_mib: args.memory,
        xen_options: args.xen_options,
        linux_options: args.linux_options,
        cpus: args.cpus,
        level: args.level,
        cache,
        keep_logs: args.keep_logs,
        command_line: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
    };
    let mut telling = Telling::new(args.talk);
    let made = capture::run(&request, &mut telling);
    telling.bar.finish_and_clear();
    let manifest = made.inspect_err(|error| {
        if let Some(lines) = error.detail() {
            // With standard error closed there is nobody to tell.
            let _ = writeln!(stderr(), "{lines}");
        }
    })?;
    let instructions = manifest
        .instructions
        .map_or_else(String::new, |count| format!(": {} instructions", HumanCount(count)));
    args.talk.note(&format!("{}{instructions}", request.out.display()));
    for line in &manifest.result {
        args.talk.note(&format!("  {line}"));
    }
    Ok(())
}

/// Stage lines on standard error; on a terminal the current stage is a line that moves.
struct Telling {
    bar: ProgressBar,
    talk: TalkArgs,
}

impl Telling {
    fn new(talk: TalkArgs) -> Telling {
        let bar = talk.progress("", None);
        if talk.shows_progress() {
            let style = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Telling { bar, talk }
    }
}

impl Progress for Telling {
    fn stage(&mut self, what: &str) {
        self.bar.set_message(what.to_owned());
        if !self.talk.shows_progress() {
            self.talk.note(what);
        }
    }

    fn note(&mut self, what: &str) {
        self.bar.suspend(|| self.talk.note(&format!("  {what}")));
    }

    fn recorded(&mut self, instructions: u64, bytes: u64) {
        let count = HumanCount(instructions);
        self.bar.set_message(format!("recording: {count} instructions, {}", HumanBytes(bytes)));
    }
}
