//! Helper programs: run to their end, output captured, failure explained.

use std::process::{Command, Stdio};

use super::CaptureError;

/// How many of a failed program's last lines go into the error.
const LINES_KEPT: usize = 12;

/// Runs a program and returns what it printed.
///
/// # Errors
///
/// If it cannot be started or does not end with status 0; `remedy` is the last line of the message.
pub(super) fn output_of(command: &mut Command, remedy: &str) -> Result<Vec<u8>, CaptureError> {
    let shown = shown(command);
    let failed = |status: String, output: String| CaptureError::Program {
        command: shown.clone(),
        status,
        output,
        remedy: remedy.to_owned(),
    };
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed("it did not start".to_owned(), error.to_string()))?;
    if !output.status.success() {
        let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.trim().is_empty() {
            said = String::from_utf8_lossy(&output.stdout).into_owned();
        }
        return Err(failed(output.status.to_string(), last_lines(&said, LINES_KEPT)));
    }
    Ok(output.stdout)
}

/// [`output_of`] as text.
pub(super) fn text_of(command: &mut Command, remedy: &str) -> Result<String, CaptureError> {
    output_of(command, remedy).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The command line as one would type it, for messages.
pub(super) fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of a text, without blank ones, indented.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(count);
    lines[from..].iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_reported_with_what_it_said() {
        let error = text_of(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]), "do that")
            .unwrap_err();
        let message = error.to_string();
        assert!(message.contains("broken") && message.contains("exit status: 3"), "{message}");
        assert!(message.ends_with("do that"), "{message}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_not_a_panic() {
        let error = text_of(&mut Command::new("/nonexistent/program"), "install it").unwrap_err();
        assert!(error.to_string().contains("it did not start"), "{error}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\n\nc\n", 2), "    b\n    c");
    }
}
