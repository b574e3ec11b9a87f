//! Records the program of `calls.c` in an emulated machine and has callgrind count it on this one.
//!
//! ```sh
//! cargo build --release -p strata-recorder
//! cargo run -p strata-workloads --features capture --example record-calls -- \
//!     --kernel vmlinuz --busybox busybox --recorder target/release/libstrata_recorder.so -o calls
//! ```
//!
//! makes the capture folder `calls`, with callgrind's count in it as `callgrind.out`. README.md
//! beside this file says where kernel and busybox come from.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strata_workloads::manifest::{Address, CaptureManifest, Domain, ElfFile, Machine, Mapping};
use strata_workloads::manifest::{Process, SCHEMA};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/calls");
const QEMU: &str = "qemu-system-x86_64";
const CPU_MODEL: &str = "core2duo,-vmx";
const MEMORY_MIB: u32 = 256;
const ICOUNT_SHIFT: u32 = 3;
const LINUX_OPTIONS: &str =
    "console=ttyS0 nokaslr norandmaps pti=off mitigations=off quiet panic=1 oops=panic";
const COMPILER: &[&str] =
    &["-O2", "-g", "-ffreestanding", "-nostdlib", "-static", "-fno-pie", "-no-pie"];

struct Options {
    kernel: PathBuf,
    busybox: PathBuf,
    recorder: PathBuf,
    out: PathBuf,
}

fn main() -> Result<()> {
    let options = options()?;
    let out = &options.out;
    fs::create_dir(out).map_err(|error| format!("{}: {error}", out.display()))?;
    fs::create_dir(out.join("symbols"))?;
    let work = tempfile::tempdir()?;
    let program = work.path().join("calls");

    build(&program)?;
    callgrind(work.path(), &out.join("callgrind.out"))?;
    let image = work.path().join("init.cpio");
    pack(&image, &program, &options.busybox)?;
    boot(&options, &image, work.path())?;
    save(out, &program, &work.path().join("serial"))
}

fn options() -> Result<Options> {
    let mut named: [(&str, Option<PathBuf>); 4] =
        [("--kernel", None), ("--busybox", None), ("--recorder", None), ("-o", None)];
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        let place = named.iter_mut().find(|(name, _)| word == *name);
        let (name, value) = place.ok_or_else(|| format!("unknown argument {word:?}"))?;
        *value = Some(words.next().ok_or_else(|| format!("{name} needs a path"))?.into());
    }
    let [kernel, busybox, recorder, out] =
        named.map(|(name, value)| value.ok_or_else(|| format!("{name} PATH is missing")));
    Ok(Options {
        kernel: kernel?,
        busybox: busybox?,
        // QEMU looks for a bare name in the system's folders.
        recorder: recorder?.canonicalize()?,
        out: out?,
    })
}

/// Runs a program to its end in good order and returns what it printed.
fn run(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The program, without any trace of the folder it was built in.
fn build(program: &Path) -> Result<()> {
    let mut compiler = Command::new("cc");
    compiler.current_dir(HERE).args(COMPILER).arg(format!("-ffile-prefix-map={HERE}=."));
    run(compiler.arg("-o").arg(program).arg("calls.c")).map(drop)
}

fn callgrind(work: &Path, out: &Path) -> Result<()> {
    let counts = work.join("counts");
    let option = format!("--callgrind-out-file={}", counts.display());
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
    run(valgrind.current_dir(work).arg(option).arg("./calls"))?;
    let text = fs::read_to_string(counts)?;
    Ok(fs::write(out, text.replace(&format!("{}/", work.display()), ""))?)
}

/// The initial RAM file system.
fn pack(image: &Path, program: &Path, busybox: &Path) -> Result<()> {
    const FOLDER: u32 = 0o040_755;
    const FILE: u32 = 0o100_755;
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let entries = [
        ("bin", FOLDER, Vec::new()),
        ("dev", FOLDER, Vec::new()),
        ("proc", FOLDER, Vec::new()),
        ("bin/busybox", FILE, read(busybox)?),
        ("calls", FILE, read(program)?),
        ("init", FILE, read(&Path::new(HERE).join("init"))?),
    ];
    let mut archive = Vec::new();
    for (number, (name, mode, bytes)) in (1..).zip(entries) {
        let header = cpio::newc::Builder::new(name).ino(number).nlink(1).mode(mode);
        let mut entry = header.write(&mut archive, u32::try_from(bytes.len())?);
        entry.write_all(&bytes)?;
        entry.finish()?;
    }
    cpio::newc::trailer(&mut archive)?;
    Ok(fs::write(image, archive)?)
}

fn boot(options: &Options, image: &Path, work: &Path) -> Result<()> {
    let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
    let console = work.join("console");
    let ram = tempfile::NamedTempFile::new_in("/dev/shm")?;
    let trace = options.out.join("trace.strata");
    let mut qemu = Command::new(QEMU);
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-machine", "pc,memory-backend=ram0", "-cpu", CPU_MODEL, "-smp", "1"])
        .args(["-m", &MEMORY_MIB.to_string(), "-accel", "tcg,thread=single"])
        .args(["-icount", &format!("shift={ICOUNT_SHIFT},sleep=off")])
        .args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"])
        .args(["-append", LINUX_OPTIONS])
        .args(["-kernel".as_ref(), options.kernel.as_os_str()])
        .args(["-initrd".as_ref(), image.as_os_str()])
        .arg("-object")
        .arg(format!(
            "memory-backend-file,id=ram0,size={MEMORY_MIB}M,share=on,mem-path={}",
            path(ram.path())
        ))
        .arg("-plugin")
        .arg(format!("{},out={},ram={}", path(&options.recorder), path(&trace), path(ram.path())));
    for (name, file) in [("console", console.as_path()), ("serial", &work.join("serial"))] {
        qemu.arg("-chardev").arg(format!("file,id={name},path={}", path(file)));
        qemu.arg("-serial").arg(format!("chardev:{name}"));
    }
    run(&mut qemu)?;
    let said = fs::read_to_string(&console)?;
    if said.contains("calls: status 0") {
        Ok(())
    } else {
        Err(format!("it failed:\n{said}").into())
    }
}

/// Symbols and manifest.
fn save(out: &Path, program: &Path, sent: &Path) -> Result<()> {
    let mut kallsyms = Vec::new();
    let mut release = String::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(sent)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        match entry.path()?.file_name().and_then(|name| name.to_str()) {
            Some("kallsyms") => drop(entry.read_to_end(&mut kallsyms)?),
            Some("release") => drop(entry.read_to_string(&mut release)?),
            _ => {}
        }
    }
    fs::write(out.join("symbols/dom0.kallsyms.zst"), zstd::encode_all(kallsyms.as_slice(), 6)?)?;
    let elf = fs::read(program)?;
    fs::write(out.join("symbols/calls.zst"), zstd::encode_all(elf.as_slice(), 19)?)?;
    let qemu = run(Command::new(QEMU).arg("--version"))?;
    let version = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let manifest = CaptureManifest {
        schema: SCHEMA,
        scenario: "linux-calls".to_owned(),
        command: ["cargo", "run", "--example", "record-calls"].map(str::to_owned).to_vec(),
        guest_command: "/calls".to_owned(),
        trace: "trace.strata".to_owned(),
        instructions: None,
        deterministic: true,
        patches: Vec::new(),
        events: Vec::new(),
        result: vec![
            format!(
                "program: cc {}, {}",
                COMPILER.join(" "),
                version(run(Command::new("cc").arg("--version"))?)
            ),
            format!("callgrind.out: {}", version(run(Command::new("valgrind").arg("--version"))?)),
        ],
        machine: Machine {
            qemu: version(qemu),
            cpu_model: CPU_MODEL.to_owned(),
            cpus: 1,
            memory_mib: MEMORY_MIB,
            icount_shift: ICOUNT_SHIFT,
            xen_options: String::new(),
            linux_options: LINUX_OPTIONS.to_owned(),
        },
        hypervisor: None,
        domains: vec![Domain {
            id: 0,
            name: "linux".to_owned(),
            kernel: release.trim().to_owned(),
            kallsyms: "symbols/dom0.kallsyms.zst".to_owned(),
            kernel_build_id: None,
            modules: None,
            linux_options: LINUX_OPTIONS.to_owned(),
            // The linker's first page of code, in the file and in memory.
            processes: vec![Process {
                pid: 0,
                command: "/calls".to_owned(),
                mappings: vec![Mapping {
                    start: Address(0x40_1000),
                    end: Address(0x40_2000),
                    offset: Address(0x1000),
                    path: "/calls".to_owned(),
                }],
            }],
            elf_files: vec![ElfFile {
                path: "/calls".to_owned(),
                file: "symbols/calls.zst".to_owned(),
                build_id: None,
                blake3: blake3::hash(&elf).to_hex().to_string(),
            }],
        }],
        packages: Vec::new(),
        images: Vec::new(),
    };
    Ok(manifest.save(out)?)
}
