//! Variable-length integers (LEB128) over byte columns.

use super::error::{Decoded, Malformed};

/// Appends an unsigned integer, seven bits a byte, least significant first.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer, zigzag-coded so that small magnitudes stay short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// A column being read, owned or borrowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bytes<D> {
    data: D,
    position: usize,
    name: &'static str,
}

impl<D: AsRef<[u8]>> Bytes<D> {
    pub(crate) fn new(data: D, name: &'static str) -> Self {
        Bytes { data, position: 0, name }
    }

    /// The whole column.
    pub(crate) fn into_inner(self) -> D {
        self.data
    }

    fn data(&self) -> &[u8] {
        self.data.as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.position >= self.data().len()
    }

    /// Fails if anything is left over.
    pub(crate) fn finish(&self) -> Decoded<()> {
        if self.is_empty() {
            return Ok(());
        }
        Err(Malformed::new(format!(
            "the {} column goes on after its end at byte {}",
            self.name, self.position
        )))
    }

    fn ended(&self) -> Malformed {
        Malformed::new(format!("the {} column ends at its byte {}", self.name, self.position))
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Decoded<u8> {
        let Some(&byte) = self.data().get(self.position) else {
            return Err(self.ended());
        };
        self.position += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Decoded<&[u8]> {
        let start = self.position;
        let end = start.checked_add(count).filter(|&end| end <= self.data().len());
        let Some(end) = end else { return Err(self.ended()) };
        self.position = end;
        Ok(&self.data()[start..end])
    }

    /// A little-endian integer of `count` bytes (1 to 8).
    #[inline]
    pub(crate) fn little_endian(&mut self, count: usize) -> Decoded<u64> {
        // Where there is more, eight bytes are as quick to have as one, and quicker than `count`.
        if let Some(&word) = self.data()[self.position..].first_chunk() {
            self.position += count;
            return Ok(u64::from_le_bytes(word) & u64::MAX >> (64 - 8 * count));
        }
        let mut word = [0; 8];
        word[..count].copy_from_slice(self.take(count)?);
        Ok(u64::from_le_bytes(word))
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Decoded<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 || shift > 63 {
                return Err(Malformed::new(format!(
                    "an integer of more than 64 bits at byte {} of the {} column",
                    self.position, self.name
                )));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub(crate) fn signed(&mut self) -> Decoded<i64> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// An integer that must be at most `limit`.
    pub(crate) fn bounded(&mut self, limit: u64, what: &str) -> Decoded<u64> {
        let value = self.number()?;
        if value > limit {
            return Err(Malformed::new(format!("{what} is {value}, more than {limit}")));
        }
        Ok(value)
    }

    /// A count of things that take at least one byte each in this column: it cannot exceed what is
    /// left, so that a damaged count never asks for memory that the file cannot fill.
    pub(crate) fn count(&mut self, what: &str) -> Decoded<usize> {
        let left = (self.data().len() - self.position) as u64;
        Ok(self.bounded(left, what)? as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            put(&mut out, unsigned);
            put_signed(&mut out, signed);
            let mut bytes = Bytes::new(out, "test");
            prop_assert_eq!(bytes.number().ok(), Some(unsigned));
            prop_assert_eq!(bytes.signed().ok(), Some(signed));
            prop_assert!(bytes.is_empty());
        }
    }

    #[test]
    fn an_integer_of_65_bits_is_refused() {
        let mut bytes =
            Bytes::new([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], "test");
        assert!(bytes.number().is_err());
    }
}
