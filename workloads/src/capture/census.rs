//! The census: which processes were seen in a domain, and what code they had mapped.

use crate::manifest::{Address, Mapping, Process};

/// Reads what `census` in `workloads/xen/common.sh` wrote: for each process a line
/// `process PID COMMAND` and its executable lines of `/proc/PID/maps`. A process seen several times
/// appears once, with all mappings it was seen with.
pub(super) fn parse(text: &str) -> Vec<Process> {
    let mut processes: Vec<Process> = Vec::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("process ") {
            let (pid, command) = header.split_once(' ').unwrap_or((header, ""));
            let Ok(pid) = pid.parse::<u32>() else {
                current = None;
                continue;
            };
            let command = command.trim().to_owned();
            let known = processes.iter().position(|p| p.pid == pid && p.command == command);
            current = Some(known.unwrap_or_else(|| {
                processes.push(Process { pid, command, mappings: Vec::new() });
                processes.len() - 1
            }));
        } else if let (Some(index), Some(mapping)) = (current, parse_mapping(line)) {
            let mappings = &mut processes[index].mappings;
            if !mappings.contains(&mapping) {
                mappings.push(mapping);
            }
        }
    }
    for process in &mut processes {
        process.mappings.sort_by_key(|mapping| (mapping.start, mapping.end));
    }
    // A process that ended while it was looked at has no mappings.
    processes.retain(|process| !process.mappings.is_empty());
    processes.sort_by_key(|process| process.pid);
    processes
}

/// `7f00-7f10 r-xp 00001000 00:02 123   /usr/bin/iperf3`; `None` for lines of another form and
/// mappings without a name.
fn parse_mapping(line: &str) -> Option<Mapping> {
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok().map(Address);
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let offset = words.next()?;
    let path = words.nth(2)?;
    permissions.contains('x').then_some(())?;
    Some(Mapping {
        start: hexadecimal(start)?,
        end: hexadecimal(end)?,
        offset: hexadecimal(offset)?,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "process 1 /bin/sh /init \n\
        00401000-005a2000 r-xp 00001000 00:02 9    /usr/bin/busybox\n\
        7ffff7ffd000-7ffff7fff000 r-xp 00000000 00:00 0   [vdso]\n\
        process 90 iperf3 -c 10.0.2.2 \n\
        process 90 iperf3 -c 10.0.2.2 \n\
        555555556000-555555558000 r-xp 00002000 00:02 11   /usr/bin/iperf3\n\
        process 1 /bin/sh /init \n\
        00401000-005a2000 r-xp 00001000 00:02 9    /usr/bin/busybox\n\
        process 91 gone\n";

    #[test]
    fn a_process_seen_twice_appears_once_with_all_it_had_mapped() {
        let processes = parse(TEXT);
        assert_eq!(processes.len(), 2);
        assert_eq!(processes[0].mappings.len(), 2);
        assert_eq!(processes[1].command, "iperf3 -c 10.0.2.2");
        assert_eq!(processes[1].mappings[0].offset, Address(0x2000));
        assert_eq!(processes[1].mappings[0].path, "/usr/bin/iperf3");
    }

    #[test]
    fn lines_of_another_form_are_passed_over() {
        assert!(parse("process x y\n00-10 r-xp 0 0 0 /a\nrubbish\n").is_empty());
        assert_eq!(parse_mapping("00400000-00401000 r--p 0 00:02 9 /usr/bin/busybox"), None);
        assert_eq!(parse_mapping("7fff0000-7fff1000 rwxp 0 00:00 0"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "(process [0-9]{1,12} [a-z ]*\n|[0-9a-f]{1,18}-[0-9a-f]{1,18} [rwxp-]{4} [0-9a-f]* .{0,20}\n|.*\n){0,8}") {
            for process in parse(&text) {
                assert!(!process.mappings.is_empty());
            }
        }
    }
}
