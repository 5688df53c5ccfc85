//! Kafka's primitive types, in the encoding of the versions before the flexible ones
//! (<https://kafka.apache.org/protocol.html#protocol_types>), and the variable-length integers of records.

/// Appends values to a request or a record.
#[derive(Default)]
pub(super) struct Encoder(pub(super) Vec<u8>);

impl Encoder {
    pub(super) fn i8(&mut self, value: i8) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    /// Appends a text of less than 32 KiB: the name of a topic, of a mechanism or of this client.
    pub(super) fn string(&mut self, text: &str) {
        self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        self.0.extend(text.as_bytes());
    }

    /// Appends an absent text.
    pub(super) fn null_string(&mut self) {
        self.i16(-1);
    }

    /// Appends bytes, or the number of elements of an array that follow.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend(bytes);
    }

    pub(super) fn length(&mut self, length: usize) {
        self.i32(i32::try_from(length).unwrap_or(i32::MAX));
    }

    /// Appends a signed integer in zig-zag encoding, seven bits to a byte.
    pub(super) fn varint(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.0.push(rest.to_le_bytes()[0]);
    }

    /// Appends the length of a key, a value or a header, and its bytes; -1 for an absent one.
    pub(super) fn varint_bytes(&mut self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return self.varint(-1) };
        self.varint(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        self.0.extend(bytes);
    }
}

/// A response that ends early or has a length that it cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's response is malformed")]
pub(super) struct Malformed;

/// Reads values of a response from its start.
pub(super) struct Decoder<'a>(pub(super) &'a [u8]);

impl<'a> Decoder<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.take(count).map(drop)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let bytes = self.take(usize::try_from(length).map_err(|_| Malformed)?)?;
                str::from_utf8(bytes).map(Some).map_err(|_| Malformed)
            }
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        self.nullable_bytes()?.ok_or(Malformed)
    }

    pub(super) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some),
        }
    }

    /// Reads an array, whose elements `read` reads one after another; an absent array is empty.
    pub(super) fn elements<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.i32()?;
        // Not reserved: a malformed count would reserve gigabytes, and each element reads at least a byte.
        (0..count).map(|_| read(self)).collect()
    }
}

/// What only records and their batches have.
#[cfg(feature = "kafka-reader")]
impl<'a> Decoder<'a> {
    pub(super) fn i8(&mut self) -> Result<i8, Malformed> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads an integer of [`Encoder::varint`].
    pub(super) fn varint(&mut self) -> Result<i64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).ok_or(Malformed)?;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(Malformed)
    }

    /// Reads bytes of [`Encoder::varint_bytes`].
    pub(super) fn varint_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.varint()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_length_integers_are_those_of_protocol_buffers() {
        for (value, expected) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (300, &[0xd8, 4]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            let mut encoder = Encoder::default();
            encoder.varint(value);
            assert_eq!(encoder.0, expected, "{value}");
            #[cfg(feature = "kafka-reader")]
            {
                assert_eq!(Decoder(expected).varint(), Ok(value));
                assert_eq!(Decoder(&expected[..expected.len() - 1]).varint(), Err(Malformed), "{value}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_part_of_it_is_malformed() {
        let mut encoder = Encoder::default();
        encoder.i16(-3);
        encoder.string("orders");
        encoder.null_string();
        encoder.bytes(b"\x00\xff");
        encoder.length(2);
        encoder.i64(7);
        encoder.i64(8);
        let read = |bytes: &[u8]| {
            let mut decoder = Decoder(bytes);
            let head = (decoder.i16()?, decoder.string()?.to_owned(), decoder.nullable_string()?.is_none());
            Ok::<_, Malformed>((head, decoder.bytes()?.to_vec(), decoder.elements(Decoder::i64)?))
        };
        let whole = ((-3, "orders".to_owned(), true), b"\x00\xff".to_vec(), vec![7, 8]);
        assert_eq!(read(&encoder.0), Ok(whole));
        for end in 0..encoder.0.len() {
            assert_eq!(read(&encoder.0[..end]), Err(Malformed), "{end}");
        }
    }

    #[test]
    fn hostile_lengths_are_malformed() {
        assert_eq!(Decoder(&i32::MAX.to_be_bytes()).elements(Decoder::i32), Err(Malformed));
        assert_eq!(Decoder(&(-2_i32).to_be_bytes()).elements(Decoder::i32), Ok(Vec::new()));
        assert_eq!(Decoder(&(-2_i32).to_be_bytes()).bytes(), Err(Malformed));
        assert_eq!(Decoder(&(-2_i16).to_be_bytes()).nullable_string(), Err(Malformed));
        assert_eq!(Decoder(&[0, 1, 0xff]).string(), Err(Malformed));
    }

    #[cfg(feature = "kafka-reader")]
    #[test]
    fn hostile_variable_lengths_are_malformed() {
        assert_eq!(Decoder(&[0xff; 11]).varint(), Err(Malformed));
        // The length -2, and one beyond the end.
        assert_eq!(Decoder(&[3]).varint_bytes(), Err(Malformed));
        assert_eq!(Decoder(&[4, 0]).varint_bytes(), Err(Malformed));
    }
}
