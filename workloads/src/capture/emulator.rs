//! The running emulator: follows its console and its recorder, keeps time limits, and turns what
//! goes wrong into one error with the end of the log.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::CaptureError;
use super::error::FileContext;
use super::program::{last_lines, shown};
use super::recorder::Said;
use super::tools::is_on_path;

/// How often the console log is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How much of the log goes into an error.
const TAIL_LINES: usize = 15;
/// What a guest's or the hypervisor's end looks like on the console.
const FATAL: [&str; 5] = [
    "Kernel panic - not syncing",
    "Panic on CPU",
    "FATAL TRAP",
    "FATAL PAGE FAULT",
    "domain_crash called",
];

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A domain said something meant for us: `dom1 up`.
    Domain(String),
    /// So much is recorded.
    Recorded {
        /// Instructions so far.
        instructions: u64,
        /// Bytes of the trace so far.
        bytes: u64,
    },
}

impl Event {
    /// Whether a domain said something that begins so.
    pub(super) fn says(&self, start: &str) -> bool {
        matches!(self, Event::Domain(said) if said.starts_with(start))
    }
}

/// What the recorder has said so far. Its lines overtake those of the console, so that they are
/// not tied to a stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recording {
    /// A marker started it.
    pub(super) armed: bool,
    /// A marker ended it after so many instructions.
    pub(super) instructions: Option<u64>,
}

/// A started emulator. It is ended when this is dropped.
pub(super) struct Emulator {
    child: Child,
    console: Console,
    errors: Receiver<String>,
    error_log: PathBuf,
    pending: VecDeque<Event>,
    recording: Recording,
    stage: &'static str,
    limit: Duration,
    began: Instant,
    proceeded: Instant,
}

impl Emulator {
    /// Starts it; `console.log` and `emulator.log` are in `logs`.
    ///
    /// # Errors
    ///
    /// If it does not start or the logs cannot be written.
    pub(super) fn start(command: Command, logs: &Path) -> Result<Emulator, CaptureError> {
        let error_log = logs.join("emulator.log");
        let mut log = fs::File::create(&error_log).on("create", &error_log)?;
        writeln!(log, "{}", shown(&command)).on("write", &error_log)?;
        let mut command = ending_with_us(&command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .on("start", Path::new(command.get_program()))?;
        let stderr = child.stderr.take().expect("it was piped just now");
        let (sender, errors) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                // The log is for people; a full disk shows elsewhere.
                let _ = writeln!(log, "{line}");
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let now = Instant::now();
        Ok(Emulator {
            child,
            console: Console::new(logs.join("console.log")),
            errors,
            error_log,
            pending: VecDeque::new(),
            recording: Recording::default(),
            stage: "starting",
            limit: Duration::MAX,
            began: now,
            proceeded: now,
        })
    }

    /// A stage begins that must proceed within `limit`.
    pub(super) fn begin(&mut self, stage: &'static str, limit: Duration) {
        (self.stage, self.limit) = (stage, limit);
        (self.began, self.proceeded) = (Instant::now(), Instant::now());
    }

    /// How long the stage took, for people.
    pub(super) fn took(&self) -> String {
        format!("{}: {:.1} s", self.stage, self.began.elapsed().as_secs_f64())
    }

    /// Waits for an event and returns what was said.
    ///
    /// # Errors
    ///
    /// If the limit passes, a guest fails, or the emulator ends.
    pub(super) fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<String, CaptureError> {
        self.wait_for_with_progress(|event| (wanted(event), false))
    }

    /// Like [`wait_for`](Self::wait_for), with a second answer that says whether the event shows
    /// progress, so that the limit begins anew.
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn wait_for_with_progress(
        &mut self,
        mut look: impl FnMut(&Event) -> (bool, bool),
    ) -> Result<String, CaptureError> {
        loop {
            while let Some(event) = self.pending.pop_front() {
                let (found, proceeds) = look(&event);
                if proceeds {
                    self.proceeded = Instant::now();
                }
                if found {
                    return Ok(match event {
                        Event::Domain(said) => said,
                        Event::Recorded { .. } => String::new(),
                    });
                }
            }
            self.step()?;
        }
    }

    /// Waits until a condition holds.
    ///
    /// # Errors
    ///
    /// As [`wait_for`](Self::wait_for).
    pub(super) fn wait_until(&mut self, holds: impl Fn() -> bool) -> Result<(), CaptureError> {
        while !holds() {
            self.step()?;
        }
        Ok(())
    }

    /// Ends the emulator in good order, so that the recorder can finish its file; returns all that
    /// it said.
    ///
    /// # Errors
    ///
    /// If it does not end in time, or the recorder reports an error on the way.
    pub(super) fn end(&mut self) -> Result<Recording, CaptureError> {
        if let Some(id) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // Failure means that it has ended, which is looked at next.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        loop {
            let ended = self.child.try_wait().on("wait for", Path::new("QEMU"))?;
            self.gather()?;
            match ended {
                Some(status) if status.success() => {
                    // The reading thread ends with the pipe: nothing it said is missed.
                    while let Ok(line) = self.errors.recv() {
                        self.hear(&line)?;
                    }
                    return Ok(self.recording);
                }
                Some(status) => return Err(self.emulator_failed(&format!("QEMU ended: {status}"))),
                None if self.proceeded.elapsed() > self.limit => {
                    return Err(self.emulator_failed("QEMU did not end when asked to"));
                }
                None => thread::sleep(POLL),
            }
        }
    }

    /// The error for what the console shows.
    pub(super) fn failed(&mut self, problem: &str) -> CaptureError {
        let log = self.console.path.clone();
        self.error_with(problem, &log)
    }

    fn emulator_failed(&mut self, problem: &str) -> CaptureError {
        let log = self.error_log.clone();
        self.error_with(problem, &log)
    }

    fn error_with(&self, problem: &str, log: &Path) -> CaptureError {
        let text = fs::read(log).unwrap_or_default();
        CaptureError::Guest {
            stage: self.stage.to_owned(),
            problem: problem.to_owned(),
            log: log.to_path_buf(),
            tail: last_lines(&String::from_utf8_lossy(&text), TAIL_LINES),
        }
    }

    /// Looks once at everything, and waits a little if nothing happened.
    fn step(&mut self) -> Result<(), CaptureError> {
        // Asked before the logs are read: what it said last is then still seen.
        let ended = self.child.try_wait().on("wait for", Path::new("QEMU"))?;
        self.gather()?;
        if !self.pending.is_empty() {
            return Ok(());
        }
        if let Some(status) = ended {
            return Err(self.emulator_failed(&format!("QEMU ended early ({status})")));
        }
        if self.proceeded.elapsed() > self.limit {
            let seconds = self.limit.as_secs();
            return Err(self.failed(&format!("nothing happened for {seconds} s")));
        }
        thread::sleep(POLL);
        Ok(())
    }

    /// Takes in what was said since the last time.
    fn gather(&mut self) -> Result<(), CaptureError> {
        while let Ok(line) = self.errors.try_recv() {
            self.hear(&line)?;
        }
        for line in self.console.new_lines()? {
            if FATAL.iter().any(|fatal| line.contains(fatal)) {
                // The lines that explain it follow.
                thread::sleep(Duration::from_secs(2));
                return Err(
                    self.failed(&format!("a guest or the hypervisor died ({})", line.trim()))
                );
            }
            if let Some((_, said)) = line.split_once("strata: ") {
                let said = said.trim_end();
                if let Some((domain, reason)) = said.split_once(" failed ") {
                    return Err(self.failed(&format!("{domain}: {reason}")));
                }
                self.pending.push_back(Event::Domain(said.to_owned()));
            }
        }
        Ok(())
    }

    /// Takes in a line of the emulator's standard error.
    fn hear(&mut self, line: &str) -> Result<(), CaptureError> {
        match Said::parse(line) {
            Said::Error(problem) => {
                return Err(self.emulator_failed(&format!("the recorder: {problem}")));
            }
            Said::Other => {}
            Said::Armed => self.recording.armed = true,
            Said::Disarmed { instructions } => self.recording.instructions = Some(instructions),
            Said::Progress { instructions, bytes } => {
                self.pending.push_back(Event::Recorded { instructions, bytes });
            }
        }
        Ok(())
    }
}

/// The same command, ended by the system when this program is: a guest never ends by itself.
/// `setpriv` is part of util-linux, which any Debian has; elsewhere the command runs as it is.
pub(super) fn ending_with_us(command: &Command) -> Command {
    let mut wrapped = if is_on_path("setpriv") {
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program());
        wrapped
    } else {
        Command::new(command.get_program())
    };
    wrapped.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    wrapped
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // After an error there is nothing in it to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The guests' console, a log that grows.
struct Console {
    path: PathBuf,
    read: u64,
    unfinished: Vec<u8>,
}

impl Console {
    fn new(path: PathBuf) -> Console {
        Console { path, read: 0, unfinished: Vec::new() }
    }

    /// The lines completed since the last call.
    fn new_lines(&mut self) -> Result<Vec<String>, CaptureError> {
        let Ok(mut file) = fs::File::open(&self.path) else {
            // QEMU has not made it yet.
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.read))
            .and_then(|_| file.read_to_end(&mut bytes))
            .on("read", &self.path)?;
        self.read += bytes.len() as u64;
        self.unfinished.extend(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unfinished.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell script in the emulator's place.
    fn emulator(logs: &Path, script: &str) -> Emulator {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("CONSOLE", logs.join("console.log"));
        let mut emulator = Emulator::start(command, logs).unwrap();
        emulator.begin("testing", Duration::from_secs(60));
        emulator
    }

    #[test]
    fn what_domains_and_recorder_say_arrives() {
        let logs = tempfile::tempdir().unwrap();
        let mut emulator = emulator(
            logs.path(),
            "printf 'noise\\r\\n(XEN) strata: dom1 up\\r\\n' > $CONSOLE
             echo 'strata-recorder: armed at instruction 3' >&2
             echo 'strata-recorder: progress 4 2' >&2
             trap 'echo strata-recorder: disarmed after 5 instructions >&2; exit 0' TERM
             while :; do sleep 0.1; done",
        );
        let (mut up, mut recorded) = (false, false);
        emulator
            .wait_for(|event| {
                up |= event.says("dom1 up");
                recorded |= *event == Event::Recorded { instructions: 4, bytes: 2 };
                up && recorded
            })
            .unwrap();
        let recording = emulator.end().unwrap();
        assert!(recording.armed);
        assert_eq!(recording.instructions, Some(5));
    }

    #[test]
    fn a_panic_is_reported_with_the_end_of_the_console() {
        let logs = tempfile::tempdir().unwrap();
        let mut emulator = emulator(
            logs.path(),
            "printf 'Kernel panic - not syncing: no init\\ncall trace\\n' > $CONSOLE; sleep 600",
        );
        let error = emulator.wait_for(|event| event.says("dom0")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("testing: a guest or the hypervisor died"), "{message}");
        assert!(message.contains("no init") && message.contains("console.log"), "{message}");
        assert!(error.detail().is_some_and(|lines| lines.contains("call trace")), "{error:?}");
    }

    #[test]
    fn an_emulator_that_ends_early_is_reported_with_what_it_said() {
        let logs = tempfile::tempdir().unwrap();
        let mut emulator = emulator(logs.path(), "echo 'cannot allocate' >&2; exit 1");
        let error = emulator.wait_for(|event| event.says("dom0")).unwrap_err().to_string();
        assert!(error.contains("QEMU ended early (exit status: 1)"), "{error}");
        assert!(error.contains("emulator.log"), "{error}");
    }

    #[test]
    fn a_guest_that_gives_up_says_why() {
        let logs = tempfile::tempdir().unwrap();
        let mut emulator =
            emulator(logs.path(), "echo 'strata: dom0 failed no card' > $CONSOLE; sleep 600");
        let error = emulator.wait_for(|event| event.says("dom0 up")).unwrap_err().to_string();
        assert!(error.contains("dom0: no card"), "{error}");
    }

    #[test]
    fn a_stage_without_progress_ends_at_its_limit() {
        let logs = tempfile::tempdir().unwrap();
        let mut emulator = emulator(logs.path(), "sleep 600");
        emulator.begin("testing", Duration::ZERO);
        let error = emulator.wait_for(|event| event.says("dom0 up")).unwrap_err().to_string();
        assert!(error.contains("nothing happened for 0 s"), "{error}");
    }
}
