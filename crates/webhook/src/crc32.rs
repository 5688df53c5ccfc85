//! The CRC-32 of IEEE 802.3, which PayPal signs in place of the body. It finds errors of a transmission, not forgeries:
//! bytes with a wanted CRC-32 are easy to make.

/// The polynomial, with the bits reversed.
const POLYNOMIAL: u32 = 0xEDB8_8320;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        // The index is below 256.
        #[allow(clippy::cast_possible_truncation)]
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

/// Returns the CRC-32.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::crc32;

    /// The check value of the catalogue of parametrised CRC algorithms, and a value of Python's zlib.
    #[test]
    fn the_check_value_is_right() {
        assert_eq!((crc32(b""), crc32(b"123456789"), crc32(br#"{"id":1}"#)), (0, 0xCBF4_3926, 1_147_009_221));
    }
}
