//! Errors as one paragraph on standard error.

use std::io::{self, Write};

/// True if writing failed because nobody reads any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}

/// Prints the error with its causes.
pub(crate) fn report(error: &anyhow::Error) {
    // With standard error closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "strata: {}", paragraph(error));
}

/// An error and its causes, outermost first, in one line.
fn paragraph(error: &anyhow::Error) -> String {
    let mut out = String::new();
    for cause in error.chain() {
        let text = one_line(&cause.to_string());
        // Some errors tell their cause themselves.
        if out.contains(&text) {
            continue;
        }
        if !out.is_empty() {
            out.push_str(": ");
        }
        out.push_str(&text);
    }
    out
}

/// Parsers draw the offending line with a margin and a row of carets: keeps the line.
fn one_line(text: &str) -> String {
    let mut parts = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        match line.split_once('|') {
            Some((margin, quoted)) if margin.trim().chars().all(|c| c.is_ascii_digit()) => {
                let quoted = quoted.trim();
                if !quoted.chars().all(|c| c == '^') {
                    parts.push(format!("`{quoted}`:"));
                }
            }
            _ if line.is_empty() => {}
            _ => parts.push(line.to_owned()),
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_follow_in_one_line_and_none_is_told_twice() {
        let error = anyhow!("disk full").context("a.csv: disk full").context("no report");
        assert_eq!(paragraph(&error), "no report: a.csv: disk full");
    }

    #[test]
    fn a_parsers_drawing_becomes_the_line_it_is_about() {
        let drawn = "TOML parse error at line 3, column 1\n  |\n3 | colour = 1\n  | ^^^^^^\nunknown field `colour`\n";
        assert_eq!(
            one_line(drawn),
            "TOML parse error at line 3, column 1 `colour = 1`: unknown field `colour`"
        );
    }

    #[test]
    fn a_closed_pipe_is_found_below_its_context() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("x");
        assert!(is_closed_pipe(&error));
        assert!(!is_closed_pipe(&anyhow!("x")));
    }
}
