//! Lines of a text, whatever bytes are in it.

use std::io::{self, BufRead, BufReader, Read};

/// Bytes of a line that are looked at; what follows is left out.
const LONGEST: usize = 1 << 16;

/// Reads line by line in bounded memory.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    bytes: Vec<u8>,
    /// 1-based number of the line read last.
    pub(super) number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Lines { input: BufReader::with_capacity(1 << 18, input), bytes: Vec::new(), number: 0 }
    }

    /// Goes to the next line; false at the end.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        self.bytes.clear();
        let mut limited = self.input.by_ref().take(LONGEST as u64);
        if limited.read_until(b'\n', &mut self.bytes)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.bytes.last() != Some(&b'\n') && self.bytes.len() == LONGEST {
            self.input.skip_until(b'\n')?;
        }
        while matches!(self.bytes.last(), Some(b'\n' | b'\r')) {
            self.bytes.pop();
        }
        Ok(true)
    }

    /// The line, if it is text.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}
