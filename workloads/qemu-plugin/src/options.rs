//! The arguments that follow the plugin's file name on QEMU's command line.

use std::path::PathBuf;

/// Why the recorder cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// An argument that the recorder does not know.
    #[error(
        "{0}: no such argument; known are out, ram, arm, disarm, curr-vcpu, current, vcpu-domain, \
         vcpu-id, domain-id, level, limit, exit, verify and cr0-reads"
    )]
    Unknown(String),
    /// An argument whose value does not parse.
    #[error("{name}={value}: must be {expected}")]
    Value {
        /// The argument's name.
        name: String,
        /// The value as given.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// An argument without which nothing can be recorded.
    #[error("{0} is missing: {1}")]
    Missing(&'static str, &'static str),
    /// Arguments of which either all or none must be given.
    #[error("{given} is given but {missing} is not: who runs under Xen is read with both")]
    Incomplete {
        /// The one present.
        given: &'static str,
        /// The one absent.
        missing: &'static str,
    },
}

/// Where Xen keeps who runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XenLayout {
    /// Virtual address of `per_cpu(curr_vcpu)` of CPU 0.
    pub curr_vcpu: u64,
    /// Distance in bytes from the end of the hypervisor's stack down to `cpu_info.current_vcpu`.
    pub current: u64,
    /// Offset of `domain` in `struct vcpu`.
    pub vcpu_domain: u64,
    /// Offset of `vcpu_id` in `struct vcpu`.
    pub vcpu_id: u64,
    /// Offset of `domain_id` in `struct domain`.
    pub domain_id: u64,
}

/// What to record and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The trace.
    pub out: PathBuf,
    /// The file that backs the guest's RAM.
    pub ram: PathBuf,
    /// Marker that starts the recording; 0 records from the first instruction.
    pub arm: u16,
    /// Marker that ends it.
    pub disarm: u16,
    /// Present when Xen is the guest.
    pub xen: Option<XenLayout>,
    /// zstd level.
    pub level: i32,
    /// Number of instructions after which recording ends by itself; 0 for none.
    pub limit: u64,
    /// End QEMU when recording has ended.
    pub exit: bool,
    /// Compare what is derived with the registers at each block.
    pub verify: bool,
    /// Clear the intercept of CR0 reads in the VMCB before each VMRUN, which changes the guest.
    pub direct_cr0_reads: bool,
}

impl Options {
    /// Parses `name=value` arguments.
    ///
    /// # Errors
    /// Names the argument that is unknown, missing or does not parse.
    pub fn parse<S: AsRef<str>>(arguments: &[S]) -> Result<Self, OptionError> {
        let (mut out, mut ram) = (None, None);
        let (mut arm, mut disarm, mut level, mut limit) = (1, 2, 6, 0);
        let (mut exit, mut verify, mut direct_cr0_reads) = (false, false, false);
        let mut xen = [None; 5];
        for argument in arguments {
            let (name, value) =
                argument.as_ref().split_once('=').unwrap_or((argument.as_ref(), ""));
            match name {
                "out" => out = Some(path(name, value)?),
                "ram" => ram = Some(path(name, value)?),
                "arm" => arm = marker(name, value)?,
                "disarm" => disarm = marker(name, value)?,
                "level" => level = number(name, value, 1, 22)? as i32,
                "limit" => limit = number(name, value, 0, u64::MAX)?,
                "exit" => exit = switch(name, value)?,
                "verify" => verify = switch(name, value)?,
                "cr0-reads" if value == "direct" => direct_cr0_reads = true,
                "cr0-reads" => return Err(wrong(name, value, "direct, or left out")),
                _ => match XEN.iter().position(|&known| known == name) {
                    Some(0) => xen[0] = Some(hexadecimal(name, value)?),
                    Some(i) => xen[i] = Some(number(name, value, 0, 1 << 20)?),
                    None => return Err(OptionError::Unknown(argument.as_ref().to_owned())),
                },
            }
        }
        Ok(Options {
            out: out.ok_or(OptionError::Missing("out", "the trace file to write"))?,
            ram: ram.ok_or(OptionError::Missing(
                "ram",
                "the file given to -object memory-backend-file,share=on",
            ))?,
            arm,
            disarm,
            xen: xen_layout(xen)?,
            level,
            limit,
            exit,
            verify,
            direct_cr0_reads,
        })
    }
}

const XEN: [&str; 5] = ["curr-vcpu", "current", "vcpu-domain", "vcpu-id", "domain-id"];

fn xen_layout(values: [Option<u64>; 5]) -> Result<Option<XenLayout>, OptionError> {
    let Some(given) = values.iter().position(Option::is_some) else { return Ok(None) };
    if let Some(missing) = values.iter().position(Option::is_none) {
        return Err(OptionError::Incomplete { given: XEN[given], missing: XEN[missing] });
    }
    let [curr_vcpu, current, vcpu_domain, vcpu_id, domain_id] =
        values.map(|value| value.unwrap_or_default());
    Ok(Some(XenLayout { curr_vcpu, current, vcpu_domain, vcpu_id, domain_id }))
}

fn wrong(name: &str, value: &str, expected: &'static str) -> OptionError {
    OptionError::Value { name: name.to_owned(), value: value.to_owned(), expected }
}

fn path(name: &str, value: &str) -> Result<PathBuf, OptionError> {
    if value.is_empty() { Err(wrong(name, value, "a path")) } else { Ok(PathBuf::from(value)) }
}

fn number(name: &str, value: &str, least: u64, most: u64) -> Result<u64, OptionError> {
    value
        .parse()
        .ok()
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| wrong(name, value, "a decimal number in range"))
}

fn marker(name: &str, value: &str) -> Result<u16, OptionError> {
    value.parse().map_err(|_| wrong(name, value, "a marker number from 0 to 65535"))
}

fn hexadecimal(name: &str, value: &str) -> Result<u64, OptionError> {
    u64::from_str_radix(value.trim_start_matches("0x"), 16)
        .map_err(|_| wrong(name, value, "a hexadecimal address"))
}

fn switch(name: &str, value: &str) -> Result<bool, OptionError> {
    match value {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(wrong(name, value, "on or off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(arguments: &[&str]) -> String {
        Options::parse(arguments).unwrap_err().to_string()
    }

    #[test]
    fn two_paths_are_enough() {
        let options = Options::parse(&["out=t", "ram=r"]).unwrap();
        assert_eq!((options.arm, options.disarm, options.level), (1, 2, 6));
        assert_eq!(options.xen, None);
    }

    #[test]
    fn errors_name_the_argument() {
        assert!(message(&["out=t"]).starts_with("ram is missing"));
        assert!(message(&["out="]).starts_with("out=: must be a path"));
        assert!(message(&["arm=70000"]).starts_with("arm=70000: must be a marker"));
        assert!(message(&["colour=red"]).starts_with("colour=red: no such argument"));
        assert!(message(&["cr0-reads=no"]).starts_with("cr0-reads=no: must be direct"));
        assert!(message(&["exit=perhaps"]).starts_with("exit=perhaps: must be on or off"));
        assert!(message(&["curr-vcpu=xyz"]).contains("a hexadecimal address"));
    }

    #[test]
    fn xen_offsets_come_all_or_none() {
        let all = [
            "out=t",
            "ram=r",
            "curr-vcpu=ffff82d0405e9d80",
            "current=24",
            "vcpu-domain=16",
            "vcpu-id=0",
            "domain-id=0",
        ];
        let xen = Options::parse(&all).unwrap().xen.unwrap();
        assert_eq!(xen.curr_vcpu, 0xffff_82d0_405e_9d80);
        assert_eq!((xen.current, xen.vcpu_domain), (24, 16));
        assert!(message(&all[..6]).contains("domain-id is not"));
    }
}
