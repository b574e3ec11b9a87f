//! Inputs of records of one size.

use super::error::{ImportError, Place};
use super::input::Input;

/// Records of `N` bytes.
pub(crate) struct Records<const N: usize> {
    input: Input,
    /// Record being read.
    number: u64,
    /// Begins in one piece of the input and ends in another.
    split: [u8; N],
}

impl<const N: usize> Records<N> {
    /// # Errors
    /// If the input is empty or cannot be read.
    pub(crate) fn new(mut input: Input) -> Result<Self, ImportError> {
        if input.fill().map_err(|error| ImportError::Input { bytes: 0, error })?.is_empty() {
            return Err(ImportError::Empty);
        }
        Ok(Records { input, number: 0, split: [0; N] })
    }

    /// Where the record numbered `number` is.
    fn place(number: u64) -> Place {
        Place::Record { number, offset: number * N as u64 }
    }

    /// Gives each record in turn to `take`, with the number of it. `take` says what is wrong with
    /// one.
    ///
    /// # Errors
    /// What `take` says, or if the input fails or ends within a record.
    pub(crate) fn each(
        mut self,
        mut take: impl FnMut(&[u8; N], Place) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        loop {
            let offset = self.number * N as u64;
            let bytes =
                self.input.fill().map_err(|error| ImportError::Input { bytes: offset, error })?;
            if bytes.is_empty() {
                return Ok(());
            }
            let (whole, rest) = bytes.as_chunks::<N>();
            for record in whole {
                take(record, Self::place(self.number))?;
                self.number += 1;
            }
            let (read, left) = (bytes.len(), rest.len());
            self.split[..left].copy_from_slice(rest);
            self.input.consume(read);
            if left > 0 {
                self.join(left)?;
                take(&self.split, Self::place(self.number))?;
                self.number += 1;
            }
        }
    }

    /// Fills up the record of which `have` bytes are there.
    fn join(&mut self, mut have: usize) -> Result<(), ImportError> {
        let place = Self::place(self.number);
        let offset = self.number * N as u64;
        while have < N {
            let bytes = self
                .input
                .fill()
                .map_err(|error| ImportError::Input { bytes: offset + have as u64, error })?;
            if bytes.is_empty() {
                let what = format!("{have} of the {N} bytes of a record are there");
                return Err(ImportError::CutOff { place, what });
            }
            let now = bytes.len().min(N - have);
            self.split[have..have + now].copy_from_slice(&bytes[..now]);
            self.input.consume(now);
            have += now;
        }
        Ok(())
    }
}
