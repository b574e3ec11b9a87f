//! Where foreign bytes come from: files and pipes, packed or not. What they are packed with is told
//! by their first bytes.

use super::lz4_end::Lz4Frames;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes handed from the unpacking thread at a time.
const PIECE: usize = 1 << 18;
/// Pieces in flight.
const PIECES: usize = 8;

/// How an input is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// It is not.
    Plain,
    /// gzip (RFC 1952), several members too.
    Gzip,
    /// Zstandard (RFC 8878), several frames too.
    Zstd,
    /// xz, several streams too.
    Xz,
    /// LZ4 frames.
    Lz4,
    /// A zip archive, whose entries follow one another.
    Zip,
}

impl Packing {
    /// As the first bytes tell.
    fn of(first: &[u8]) -> Self {
        let magics: [(&[u8], Packing); 5] = [
            (&[0x1f, 0x8b], Packing::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd], Packing::Zstd),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Packing::Xz),
            (&[0x04, 0x22, 0x4d, 0x18], Packing::Lz4),
            (b"PK\x03\x04", Packing::Zip),
        ];
        magics
            .into_iter()
            .find(|(magic, _)| first.starts_with(magic))
            .map_or(Packing::Plain, |m| m.1)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Plain => "not packed",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
            Packing::Xz => "xz",
            Packing::Lz4 => "lz4",
            Packing::Zip => "zip",
        }
    }
}

/// An input, unpacked.
pub struct Input {
    source: Source,
    /// The piece being read: how much of it there is, and how much has been read.
    piece: Vec<u8>,
    filled: usize,
    at: usize,
    ended: bool,
    packing: Packing,
    taken: Arc<AtomicU64>,
}

/// Where pieces come from.
enum Source {
    Here(Box<dyn Read + Send>),
    /// A thread of its own. Its last piece is empty.
    Beside(Receiver<io::Result<Vec<u8>>>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("packing", &self.packing).finish_non_exhaustive()
    }
}

impl Input {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, or is a zip archive without a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut first = [0; 6];
        let count = read_up_to(&mut file, &mut first)?;
        if Packing::of(&first[..count]) != Packing::Zip {
            return Self::begin(first[..count].to_vec(), file);
        }
        let taken = Arc::new(AtomicU64::new(0));
        let counting = Counting { inner: file, taken: Arc::clone(&taken) };
        let archive =
            zip::ZipArchive::new(io::BufReader::new(counting)).map_err(io::Error::other)?;
        let source = beside(|pieces| unpack_archive(archive, pieces));
        Ok(Self::new(source, Packing::Zip, taken))
    }

    /// Takes anything that gives bytes, such as a pipe.
    ///
    /// # Errors
    /// If reading fails, or if it is a zip archive, whose directory is at its end.
    pub fn from_reader(mut reader: impl Read + Send + 'static) -> io::Result<Self> {
        let mut first = [0; 6];
        let count = read_up_to(&mut reader, &mut first)?;
        Self::begin(first[..count].to_vec(), reader)
    }

    fn begin(first: Vec<u8>, rest: impl Read + Send + 'static) -> io::Result<Self> {
        let packing = Packing::of(&first);
        let taken = Arc::new(AtomicU64::new(first.len() as u64));
        let rest = Counting { inner: rest, taken: Arc::clone(&taken) };
        let all = io::BufReader::with_capacity(PIECE, Cursor::new(first).chain(rest));
        let unpacked: Box<dyn Read + Send> = match packing {
            Packing::Plain => Box::new(all),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(all)),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(all)?),
            Packing::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(all)),
            Packing::Lz4 => Box::new(Lz4Frames::new(all)),
            Packing::Zip => {
                let what = "a zip archive cannot be read from a pipe, as its directory is at its \
                            end: name the file";
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
        };
        Ok(Self::new(Source::Here(unpacked), packing, taken))
    }

    fn new(source: Source, packing: Packing, taken: Arc<AtomicU64>) -> Self {
        Input { source, piece: Vec::new(), filled: 0, at: 0, ended: false, packing, taken }
    }

    /// Unpacks on a thread of its own, beside the import. The thread ends when it has read its input
    /// or nobody wants it any more, but not before the read it is in returns.
    #[must_use]
    pub fn beside(mut self) -> Self {
        if let Source::Here(unpacked) = self.source {
            self.source = beside(move |pieces| copy(unpacked, pieces));
        }
        self
    }

    /// How it is packed.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Counts the bytes that are taken from the file or pipe, packed as they are.
    pub fn bytes_taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    /// The bytes that come next, at least one of them; empty at the end.
    pub(crate) fn fill(&mut self) -> io::Result<&[u8]> {
        while self.at == self.filled && !self.ended {
            (self.at, self.filled) = (0, 0);
            match &mut self.source {
                Source::Here(unpacked) => {
                    self.piece.resize(PIECE, 0);
                    self.filled = match unpacked.read(&mut self.piece) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        read => read?,
                    };
                }
                Source::Beside(pieces) => {
                    // An end without its mark is that of a thread that failed.
                    let Ok(piece) = pieces.recv() else {
                        return Err(io::Error::other("unpacking has failed"));
                    };
                    self.piece = piece?;
                    self.filled = self.piece.len();
                }
            }
            self.ended = self.filled == 0;
        }
        Ok(&self.piece[self.at..self.filled])
    }

    /// Passes over bytes that [`fill`](Self::fill) gave.
    pub(crate) fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut next = self.fill()?;
        let count = next.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Runs `unpack` on a thread of its own.
fn beside(
    unpack: impl FnOnce(&SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> + Send + 'static,
) -> Source {
    let (sender, pieces) = sync_channel(PIECES);
    std::thread::spawn(move || {
        let end = unpack(&sender).map(|()| Vec::new());
        // Nobody listens any more if the import has failed on its own.
        let _ = sender.send(end);
    });
    Source::Beside(pieces)
}

fn copy(mut from: impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
    loop {
        let mut piece = vec![0; PIECE];
        // What was unpacked before a failure is handed on first: it tells where that is.
        let mut filled = 0;
        let failure = loop {
            match from.read(&mut piece[filled..]) {
                Ok(0) => break None,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
            if filled == PIECE {
                break None;
            }
        };
        let last = filled < PIECE;
        piece.truncate(filled);
        // An empty piece is the mark of the end.
        if filled > 0 && pieces.send(Ok(piece)).is_err() {
            return Ok(());
        }
        match failure {
            Some(error) => return Err(error),
            None if last => return Ok(()),
            None => {}
        }
    }
}

fn unpack_archive<R: Read + Seek>(
    mut archive: zip::ZipArchive<R>,
    pieces: &SyncSender<io::Result<Vec<u8>>>,
) -> io::Result<()> {
    for number in 0..archive.len() {
        let entry = archive.by_index(number).map_err(io::Error::other)?;
        copy(entry, pieces).map_err(|error| {
            io::Error::new(error.kind(), format!("entry {number} of the archive: {error}"))
        })?;
    }
    Ok(())
}

/// Reads as much as there is, up to the buffer's length.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Counts the bytes that come through.
struct Counting<R> {
    inner: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R: Seek> Seek for Counting<R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
