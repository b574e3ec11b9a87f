//! Kernels out of their compressed forms: the ELF inside a Linux bzImage, Xen's ELF out of its
//! gzip file. Booting the plain ELF spares each guest the decompression, which an emulator with
//! instruction counting does slowly.

use std::io::Read;
use std::path::Path;

use super::CaptureError;

/// Unpacks Xen's image.
///
/// # Errors
///
/// If it is not a gzip file.
pub(super) fn gunzip(bytes: &[u8], path: &Path) -> Result<Vec<u8>, CaptureError> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .map_err(|error| content(path, format!("not a gzip file: {error}")))?;
    Ok(plain)
}

/// Unpacks the ELF kernel of a bzImage.
///
/// The position of the compressed kernel is in the setup header (Linux,
/// Documentation/arch/x86/boot.rst: `setup_sects`, `payload_offset`, `payload_length`, protocol
/// 2.08 and later).
///
/// # Errors
///
/// If the file is no bzImage, or is compressed by a method unknown here.
pub(super) fn vmlinux_of(image: &[u8], path: &Path) -> Result<Vec<u8>, CaptureError> {
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return Err(content(path, "not a bzImage: no HdrS at offset 0x202".to_owned()));
    }
    let version = u16::from_le_bytes([image[0x206], image[0x207]]);
    let word = |at: usize| -> usize {
        image.get(at..at + 4).map_or(0, |bytes| {
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
        })
    };
    if version < 0x208 {
        return Err(content(path, format!("boot protocol {version:#x}, expected 0x208 or later")));
    }
    // Zero means four, for images older than the field.
    let setup_sectors = match image[0x1f1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (setup_sectors + 1) * 512 + word(0x248);
    let payload = start
        .checked_add(word(0x24c))
        .and_then(|end| image.get(start..end))
        .ok_or_else(|| content(path, "the compressed kernel lies outside the file".to_owned()))?;
    let plain = decompress(payload)
        .map_err(|problem| content(path, format!("cannot unpack the kernel: {problem}")))?;
    if !plain.starts_with(b"\x7fELF") {
        return Err(content(path, "the unpacked kernel is not an ELF file".to_owned()));
    }
    Ok(plain)
}

/// Unpacks by the magic number. The kernel's build appends the plain size to some of these, so
/// that bytes may follow the compressed data.
fn decompress(payload: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let result = if payload.starts_with(b"\xfd7zXZ\0") {
        liblzma::read::XzDecoder::new(payload).read_to_end(&mut plain)
    } else if payload.starts_with(b"\x28\xb5\x2f\xfd") {
        zstd::stream::read::Decoder::new(payload)
            .and_then(|decoder| decoder.single_frame().read_to_end(&mut plain))
    } else if payload.starts_with(b"\x1f\x8b") {
        flate2::read::GzDecoder::new(payload).read_to_end(&mut plain)
    } else if payload.starts_with(b"\x02\x21\x4c\x18") {
        return legacy_lz4(&payload[4..]);
    } else {
        let magic = &payload[..payload.len().min(4)];
        return Err(format!("unknown compression {magic:02x?}; known are xz, zstd, gzip and lz4"));
    };
    result.map(|_| plain).map_err(|error| error.to_string())
}

/// The kernel's lz4 is the legacy frame: blocks of up to 8 MiB plain, each after its compressed
/// size, and in the end the plain size of all.
fn legacy_lz4(mut blocks: &[u8]) -> Result<Vec<u8>, String> {
    const BLOCK: usize = 8 << 20;
    let mut plain = Vec::new();
    while blocks.len() > 4 {
        let (size, rest) = blocks.split_at(4);
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        let block = rest.get(..size).ok_or("an lz4 block is cut off")?;
        plain.extend(lz4_flex::block::decompress(block, BLOCK).map_err(|e| e.to_string())?);
        blocks = &rest[size..];
    }
    Ok(plain)
}

/// Reads a file that may be compressed with xz, as later kernel modules are.
pub(super) fn read_module(path: &Path) -> Result<Vec<u8>, CaptureError> {
    use super::error::FileContext;
    let bytes = std::fs::read(path).on("read", path)?;
    if bytes.starts_with(b"\x7fELF") {
        return Ok(bytes);
    }
    decompress(&bytes).map_err(|problem| content(path, problem))
}

fn content(path: &Path, problem: String) -> CaptureError {
    CaptureError::Content { path: path.to_path_buf(), problem }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A bzImage with nothing but the header fields and the payload.
    fn bz_image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend([0; 16]);
        image.extend(payload);
        image
    }

    fn kernel() -> Vec<u8> {
        [b"\x7fELF".as_slice(), &[7; 5000]].concat()
    }

    #[test]
    fn every_compression_of_the_kernel_build_unpacks() {
        let kernel = kernel();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&kernel).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&kernel).unwrap();
        let block = lz4_flex::block::compress(&kernel);
        let mut lz4 = vec![2, 0x21, 0x4c, 0x18];
        lz4.extend((block.len() as u32).to_le_bytes());
        lz4.extend(block);
        let zstd = zstd::stream::encode_all(kernel.as_slice(), 1).unwrap();
        for mut payload in [xz.finish().unwrap(), gz.finish().unwrap(), lz4, zstd] {
            // The size that the kernel's build appends.
            payload.extend((kernel.len() as u32).to_le_bytes());
            let unpacked = vmlinux_of(&bz_image(&payload), Path::new("vmlinuz")).unwrap();
            assert_eq!(unpacked, kernel);
        }
    }

    #[test]
    fn other_files_are_refused_by_name() {
        for image in [Vec::new(), b"\x7fELF".to_vec(), vec![0; 4096]] {
            let error = vmlinux_of(&image, Path::new("boot/vmlinuz")).unwrap_err();
            assert!(error.to_string().contains("boot/vmlinuz: not a bzImage"), "{error}");
        }
        let error = vmlinux_of(&bz_image(b"????????"), Path::new("vmlinuz")).unwrap_err();
        assert!(error.to_string().contains("unknown compression"), "{error}");
    }

    #[test]
    fn a_payload_outside_the_file_is_refused() {
        let mut image = bz_image(b"x");
        image[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(vmlinux_of(&image, Path::new("vmlinuz")).is_err());
    }
}
