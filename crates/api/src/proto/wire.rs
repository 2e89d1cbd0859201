//! The wire format: varints, tags, lengths.

use super::ProtoError;

/// A field's value as the wire has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Reads the fields of a message.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) =
                self.bytes.split_first().ok_or(ProtoError::Malformed("unexpected EOF"))?;
            self.bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtoError::Malformed("integer overflow"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], ProtoError> {
        let length = usize::try_from(length).map_err(|_| ProtoError::Malformed("wrong length"))?;
        if length > self.bytes.len() {
            return Err(ProtoError::Malformed("unexpected EOF"));
        }
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Ok(taken)
    }

    /// The next field; `None` at the end.
    pub(crate) fn next_field(&mut self) -> Result<Option<(u32, Wire<'a>)>, ProtoError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| ProtoError::Malformed("illegal tag"))?;
        if number == 0 {
            return Err(ProtoError::Malformed("illegal tag 0"));
        }
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?.first_chunk().copied().unwrap_or_default();
                Wire::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            _ => return Err(ProtoError::Malformed("illegal wireType")),
        };
        Ok(Some((number, value)))
    }
}

/// A string field's value.
pub(crate) fn text(bytes: &[u8]) -> Result<String, ProtoError> {
    // Go's strings may hold any bytes, JSON's may not.
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Ok(String::from_utf8_lossy(bytes).into_owned()),
    }
}

pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number of bytes that a varint takes.
fn varint_len(value: usize) -> usize {
    (1..10).find(|len| value >> (7 * len) == 0).unwrap_or(10)
}

fn put_tag(number: u32, wire_type: u8, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | u64::from(wire_type), out);
}

pub(crate) fn put_int(number: u32, value: i64, out: &mut Vec<u8>) {
    put_tag(number, 0, out);
    // Negative numbers are sign-extended to ten bytes, those of 32 bits too.
    put_varint(value.cast_unsigned(), out);
}

pub(crate) fn put_double(number: u32, value: f64, out: &mut Vec<u8>) {
    put_tag(number, 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_tag(number, 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Puts what `write` writes, behind its length.
pub(crate) fn put_nested<E>(
    number: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(number, 2, out);
    // Room for a length of one byte; moved when it needs more.
    let start = out.len();
    out.push(0);
    write(out)?;
    let length = out.len() - start - 1;
    let needed = varint_len(length);
    if needed == 1 {
        out[start] = length as u8;
    } else {
        let mut prefix = Vec::with_capacity(needed);
        put_varint(length as u64, &mut prefix);
        out.splice(start..=start, prefix);
    }
    Ok(())
}
