//! How well returns could be followed, in words and as JSON.

use crate::numbers::{counted, grouped, telling_percent};
use crate::text_table::wrapped;
use serde::Serialize;
use strata_sim::ReturnReport;

/// The same as JSON.
#[derive(Serialize)]
pub(crate) struct Returns {
    matched: u64,
    unwound: u64,
    as_jumps: u64,
    before_stream: u64,
    thunks: u64,
}

impl From<&ReturnReport> for Returns {
    fn from(report: &ReturnReport) -> Self {
        let &ReturnReport { matched, unwound, as_jumps, before_stream, thunks } = report;
        Returns { matched, unwound, as_jumps, before_stream, thunks }
    }
}

/// A labelled paragraph.
pub(crate) fn returns_text(returns: &ReturnReport) -> String {
    let said = if returns.all() == 0 {
        "no returns that could have matched".to_owned()
    } else {
        format!(
            "{} of {} matched ({} %), {} left several frames at once, {} taken as jumps; {} from \
             frames entered before the stream",
            grouped(returns.matched),
            counted(returns.all(), "return"),
            telling_percent(returns.matched, returns.all()),
            grouped(returns.unwound),
            grouped(returns.as_jumps),
            grouped(returns.before_stream),
        )
    };
    wrapped("returns", &said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_returns_are_not_said_to_be_all() {
        let returns = ReturnReport {
            matched: 1_460_813,
            as_jumps: 29,
            before_stream: 41,
            ..ReturnReport::default()
        };
        let text = returns_text(&returns);
        assert!(text.contains("1,460,813 of 1,460,842 returns matched (99.998 %)"), "{text}");
        assert!(returns_text(&ReturnReport::default()).contains("no returns"));
    }
}
