//! How much of an input was read.

use crate::read_at::ReadAt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An input that counts what is read of it.
pub(crate) struct Counted<R> {
    input: R,
    bytes: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub(crate) fn new(input: R, bytes: Arc<AtomicU64>) -> Self {
        Counted { input, bytes }
    }

    fn count(&self, read: io::Result<usize>) -> io::Result<usize> {
        if let Ok(count) = read {
            self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        }
        read
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer);
        self.count(read)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

impl<R: ReadAt> ReadAt for Counted<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.count(self.input.read_at(buffer, offset))
    }
}
