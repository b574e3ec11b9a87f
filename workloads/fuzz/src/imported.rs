//! What must hold of an import, whatever the input: an error, or a sound trace with as many
//! references as were counted.

use std::io::Cursor;
use strata_workloads::import::{Format, ImportOptions, Input, import};
use strata_workloads::trace::{TraceReader, check};

/// Imports `bytes`; panics if what comes out is not as it should be.
pub(crate) fn hold(format: Format, bytes: &[u8]) {
    let Ok(input) = Input::from_reader(Cursor::new(bytes.to_vec())) else { return };
    let options = ImportOptions { level: 1, ..ImportOptions::default() };
    let out = Cursor::new(Vec::new());
    let Ok((out, report)) = import(format, input, out, &options, |_| ()) else { return };
    let reader = TraceReader::new(out.get_ref().as_slice()).expect("the header is sound");
    assert_eq!(reader.lacks(), report.lacks);
    let checked = check(reader, |_| ()).expect("the trace is whole");
    // Bytes that were told to be an instruction may be another.
    assert!(format == Format::Drmemtrace || checked.is_sound(), "{:?}", checked.findings);
    assert_eq!(checked.ending, report.ending);
    let totals = report.ending.totals;
    assert_eq!(totals.instructions, report.counted.fetches);
    assert_eq!(totals.data_accesses, report.counted.reads + report.counted.writes);
}
