//! Whether LZ4 data ends where a frame does.
//!
//! The decoder takes an input that ends between two blocks for one that ends with its frame. Here
//! the frames' outline is followed beside it: magic, descriptor, blocks by their sizes, end mark
//! (LZ4 Frame Format Description 1.6.4).

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const MAGIC: u32 = 0x184d_2204;
/// Low four bits are the writer's own.
const SKIPPABLE: u32 = 0x184d_2a50;

/// What the outline's next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Magic,
    /// Flags and block size.
    Descriptor,
    BlockSize,
    SkippableSize,
    /// Bytes that do not matter, and what comes after them.
    Skip {
        bytes: u64,
        then_frame: bool,
    },
}

/// Passes bytes through and follows the frames' outline.
#[derive(Debug)]
pub(crate) struct Lz4Outline<R> {
    inner: R,
    next: Next,
    held: [u8; 4],
    filled: usize,
    block_checksums: bool,
    content_checksum: bool,
    at_end: Arc<AtomicBool>,
}

impl<R: Read> Lz4Outline<R> {
    /// The flag is true while all that has passed is whole frames.
    pub(crate) fn new(inner: R) -> (Self, Arc<AtomicBool>) {
        let at_end = Arc::new(AtomicBool::new(true));
        let outline = Lz4Outline {
            inner,
            next: Next::Magic,
            held: [0; 4],
            filled: 0,
            block_checksums: false,
            content_checksum: false,
            at_end: Arc::clone(&at_end),
        };
        (outline, at_end)
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if let Next::Skip { bytes: left, then_frame } = self.next {
                let now = left.min(bytes.len() as u64);
                bytes = &bytes[now as usize..];
                self.skip(left - now, then_frame);
                continue;
            }
            let wanted = if self.next == Next::Descriptor { 2 } else { 4 };
            let now = (wanted - self.filled).min(bytes.len());
            self.held[self.filled..self.filled + now].copy_from_slice(&bytes[..now]);
            self.filled += now;
            bytes = &bytes[now..];
            if self.filled == wanted {
                self.filled = 0;
                self.field();
            }
        }
        self.at_end.store(self.next == Next::Magic && self.filled == 0, Ordering::Relaxed);
    }

    fn skip(&mut self, bytes: u64, then_frame: bool) {
        self.next = match (bytes, then_frame) {
            (0, true) => Next::Magic,
            (0, false) => Next::BlockSize,
            _ => Next::Skip { bytes, then_frame },
        };
    }

    fn field(&mut self) {
        let word = u32::from_le_bytes(self.held);
        match self.next {
            Next::Magic if word == MAGIC => self.next = Next::Descriptor,
            Next::Magic if word & !0xf == SKIPPABLE => self.next = Next::SkippableSize,
            // The decoder says what is wrong with anything else.
            Next::Magic => self.skip(u64::MAX, true),
            Next::Descriptor => {
                let flags = self.held[0];
                (self.block_checksums, self.content_checksum) = (flags & 16 != 0, flags & 4 != 0);
                let size = if flags & 8 != 0 { 8 } else { 0 };
                let dictionary = if flags & 1 != 0 { 4 } else { 0 };
                self.skip(size + dictionary + 1, false);
            }
            Next::BlockSize if word == 0 => {
                self.skip(if self.content_checksum { 4 } else { 0 }, true);
            }
            Next::BlockSize => {
                let checksum = if self.block_checksums { 4 } else { 0 };
                self.skip(u64::from(word & 0x7fff_ffff) + checksum, false);
            }
            Next::SkippableSize => self.skip(u64::from(word), true),
            Next::Skip { .. } => {}
        }
    }
}

impl<R: Read> Read for Lz4Outline<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.follow(&buffer[..count]);
        Ok(count)
    }
}

/// Unpacks LZ4 frames one after the other; an error where the input ends within one.
#[derive(Debug)]
pub(crate) struct Lz4Frames<R: Read> {
    decoder: lz4_flex::frame::FrameDecoder<Lz4Outline<R>>,
    at_end: Arc<AtomicBool>,
}

impl<R: Read> Lz4Frames<R> {
    pub(crate) fn new(inner: R) -> Self {
        let (outline, at_end) = Lz4Outline::new(inner);
        Lz4Frames { decoder: lz4_flex::frame::FrameDecoder::new(outline), at_end }
    }
}

impl<R: Read> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // The decoder also gives nothing at the end of each frame.
        for _ in 0..2 {
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
        }
        if self.at_end.load(Ordering::Relaxed) {
            return Ok(0);
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the LZ4 data is cut off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;

    fn frame(content: &[u8], checksums: bool) -> Vec<u8> {
        let info = FrameInfo::new()
            .block_size(BlockSize::Max64KB)
            .content_checksum(checksums)
            .block_checksums(checksums);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        for piece in content.chunks(70_000) {
            encoder.write_all(piece).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn frames_after_one_another_are_one_stream_and_any_cut_is_an_error() {
        let content: Vec<u8> = (0..300_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for checksums in [false, true] {
            let mut packed = frame(&content, checksums);
            let first = packed.len();
            packed.extend(frame(b"and more", checksums));
            let mut out = Vec::new();
            Lz4Frames::new(&packed[..]).read_to_end(&mut out).unwrap();
            assert_eq!(out, [&content[..], b"and more"].concat());
            for cut in (1..packed.len()).step_by(997).chain(packed.len() - 30..packed.len()) {
                let read = Lz4Frames::new(&packed[..cut]).read_to_end(&mut Vec::new());
                assert!(cut == first || read.is_err(), "cut at {cut} of {}", packed.len());
            }
        }
    }

    #[test]
    fn a_cut_between_two_blocks_is_an_error() {
        let packed = frame(&[7; 500_000], false);
        let mut between = Vec::new();
        let mut at = 7;
        while at < packed.len() - 4 {
            between.push(at);
            let size = u32::from_le_bytes(packed[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
            at += 4 + size as usize;
        }
        assert!(between.len() > 3);
        for cut in between {
            assert!(Lz4Frames::new(&packed[..cut]).read_to_end(&mut Vec::new()).is_err());
        }
    }
}
