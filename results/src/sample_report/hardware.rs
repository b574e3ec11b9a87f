//! Profiles that counters of real hardware gave, as `perf report --stdio` and `opreport -l` print
//! them.

use super::{Overlap, SampleRow};
use crate::error::Error;
use std::collections::BTreeMap;

/// A function in such a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct HardwareRow {
    /// Per cent of the samples.
    pub percent: f64,
    /// Program, library, kernel or module, without its folder.
    pub module: Option<String>,
    /// The function.
    pub function: String,
}

/// A profile by hardware.
#[derive(Clone, Debug, PartialEq)]
pub struct HardwareProfile {
    /// `perf report` or `opreport`.
    pub tool: &'static str,
    /// Functions, in the order of the file.
    pub rows: Vec<HardwareRow>,
    /// Lines that are neither rows nor head.
    pub skipped: u64,
}

const PERF: &str = "perf report";
const OPREPORT: &str = "opreport";

impl HardwareProfile {
    /// Reads what one of the tools printed. `name` is that of the file.
    ///
    /// # Errors
    /// [`Error::HardwareProfile`] for a text without rows of either.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        let mut perf = HardwareProfile { tool: PERF, rows: Vec::new(), skipped: 0 };
        let mut opreport = HardwareProfile { tool: OPREPORT, ..perf.clone() };
        let mut has_images = None;
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with("samples") && line.contains("symbol name") {
                has_images = Some(line.contains("image name"));
                continue;
            }
            if let Some(row) = perf_row(line) {
                perf.rows.push(row);
            } else if let Some(row) = has_images.and_then(|images| opreport_row(line, images)) {
                opreport.rows.push(row);
            } else {
                perf.skipped += 1;
                // What comes before the header of opreport is its head.
                opreport.skipped += u64::from(has_images.is_some());
            }
        }
        let found = if perf.rows.len() >= opreport.rows.len() { perf } else { opreport };
        if found.rows.is_empty() {
            return Err(Error::HardwareProfile { name: name.to_owned() });
        }
        Ok(found)
    }

    /// Puts the shares of functions into the rows of the same names.
    pub(super) fn lay_beside(&self, rows: &mut [SampleRow]) -> Overlap {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, row) in rows.iter().enumerate() {
            if let Some(function) = &row.function {
                by_name.entry(function).or_default().push(number);
            }
        }
        let mut shares = vec![None; rows.len()];
        let (mut all, mut unmatched) = (0.0, 0.0);
        for row in &self.rows {
            all += row.percent;
            // Of several by one name the one in the module of that name, else the first.
            let numbers = by_name.get(row.function.as_str()).map_or(&[][..], Vec::as_slice);
            let of_module = |&&number: &&usize| match (&rows[number].module, &row.module) {
                (Some(ours), Some(theirs)) => is_same_module(ours, theirs),
                _ => false,
            };
            match numbers.iter().find(of_module).or(numbers.first()) {
                Some(&number) => *shares[number].get_or_insert(0.0) += row.percent,
                None => unmatched += row.percent,
            }
        }
        let mut overlap = 0.0;
        for (row, share) in rows.iter_mut().zip(shares) {
            row.hardware = share;
            overlap += share.map_or(0.0, |share: f64| share.min(row.share));
        }
        debug_assert!(unmatched <= all + 1e-9, "a part of all");
        Overlap { percent: overlap, unmatched }
    }
}

/// `[kernel.kallsyms]`, `vmlinux` and `vmlinux-6.1` are one.
fn is_same_module(ours: &str, theirs: &str) -> bool {
    let is_kernel =
        |name: &str| name.starts_with("vmlinux") || name.starts_with("[kernel.kallsyms]");
    ours == theirs || is_kernel(ours) && is_kernel(theirs)
}

fn percentage(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    (0.0..=100.0).contains(&value).then_some(value)
}

/// `23.24%  sqlite3  libc.so.6  [.] memcpy`, with a second percentage where callers were recorded.
fn perf_row(line: &str) -> Option<HardwareRow> {
    let mut words = line.split_whitespace();
    let first = percentage(words.next()?.strip_suffix('%')?)?;
    // With callers, the share of the function itself comes second.
    let own = words.next().and_then(|word| percentage(word.strip_suffix('%')?));
    let (before, function) = ["[k] ", "[.] ", "[g] ", "[u] ", "[H] "]
        .iter()
        .find_map(|mode| line.split_once(&format!(" {mode}")))?;
    let module = before.split_whitespace().next_back();
    Some(HardwareRow {
        percent: own.unwrap_or(first),
        module: module.filter(|word| !word.ends_with('%')).map(file_name),
        function: function.trim().to_owned(),
    })
}

/// `1234  23.4567  vmlinux  vmlinux  schedule`, the modules only where there are several.
fn opreport_row(line: &str, has_images: bool) -> Option<HardwareRow> {
    let mut words = line.split_whitespace();
    let _samples: u64 = words.next()?.parse().ok()?;
    let percent = percentage(words.next()?)?;
    // Of several events, the first counts.
    let mut rest = words.skip_while(|word| word.parse::<f64>().is_ok()).peekable();
    let module = if has_images { Some(file_name(rest.next()?)) } else { None };
    let words: Vec<&str> = rest.collect();
    // The application's name, where it is another than the image's, is one word.
    let name = if has_images && words.len() > 1 { &words[1..] } else { &words[..] };
    let function = name.join(" ");
    (!function.is_empty()).then_some(HardwareRow { percent, module, function })
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PERF_TEXT: &str = "\
# To display the perf.data header info, please use --header/--header-only options.
# Samples: 4K of event 'cycles'
# Overhead  Command  Shared Object      Symbol
# ........  .......  .................  ......................
    60.10%  sqlite3  libsqlite3.so.0    [.] sqlite3VdbeExec
    23.24%  sqlite3  [kernel.kallsyms]  [k] clear_page_erms
     0.50%  iperf3   /usr/lib/libc.so.6  [.] operator new(unsigned long)
";

    const OPREPORT_TEXT: &str = "\
CPU: P4 / Xeon, speed 2392.02 MHz (estimated)
Counted GLOBAL_POWER_EVENTS events with a unit mask of 0x01 count 100000
samples  %        image name               app name                 symbol name
1234     23.4567  vmlinux                  vmlinux                  schedule
200       3.8000  libc-2.3.5.so            iperf                    memcpy
";

    #[test]
    fn both_tools_tables_are_read() {
        let perf = HardwareProfile::parse(PERF_TEXT, "perf.txt").unwrap();
        assert_eq!((perf.tool, perf.rows.len(), perf.skipped), (PERF, 3, 0));
        assert_eq!(perf.rows[1].function, "clear_page_erms");
        assert_eq!(perf.rows[2].module.as_deref(), Some("libc.so.6"));
        assert_eq!(perf.rows[2].function, "operator new(unsigned long)");
        let opreport = HardwareProfile::parse(OPREPORT_TEXT, "opreport.txt").unwrap();
        assert_eq!((opreport.tool, opreport.rows.len(), opreport.skipped), (OPREPORT, 2, 0));
        let memcpy = HardwareRow {
            percent: 3.8,
            module: Some("libc-2.3.5.so".to_owned()),
            function: "memcpy".to_owned(),
        };
        assert_eq!(opreport.rows[1], memcpy);
    }

    #[test]
    fn callers_and_single_images_are_told_apart() {
        let line = "    50.00%     7.25%  cmd  vmlinux  [k] do_syscall_64";
        assert_eq!(perf_row(line.trim()).unwrap().percent, 7.25);
        let text = "samples  %        symbol name\n10  100.0  main\n";
        let profile = HardwareProfile::parse(text, "opreport.txt").unwrap();
        assert_eq!((profile.rows[0].module.as_deref(), &*profile.rows[0].function), (None, "main"));
    }

    #[test]
    fn a_text_of_neither_says_what_is_wanted() {
        let error = HardwareProfile::parse("hello\n1 2 3\n", "notes.txt").unwrap_err().to_string();
        assert!(error.starts_with("notes.txt: "), "{error}");
        assert!(error.contains("perf report --stdio"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_panics(lines in proptest::collection::vec("(samples  %  image name  symbol name|[0-9]{1,3}\\.?[0-9]{0,2}%?( {1,3}(\\[[k.]\\]|[a-z/]{1,6}|[0-9.]{1,5}))*|\\PC{0,30})", 0..20)) {
            if let Ok(profile) = HardwareProfile::parse(&lines.join("\n"), "x") {
                prop_assert!(!profile.rows.is_empty());
            }
        }
    }
}
