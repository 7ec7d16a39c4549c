//! Hexadecimal digits: bytes come in, two digits for each go out; and back.

use std::fmt::Write;

/// In lower case.
pub fn lower_hex(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Two digits of either case, and nothing else: the standard library would take a sign for the first.
pub fn byte_of_hex(pair: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(pair[0])? << 4 | digit(pair[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_as_two_digits_and_read_from_them() {
        assert_eq!(lower_hex([0x00, 0x0a, 0xff]), "000aff");
        for byte in 0..=u8::MAX {
            for text in [format!("{byte:02x}"), format!("{byte:02X}")] {
                assert_eq!(byte_of_hex(text.as_bytes().try_into().unwrap()), Some(byte));
            }
        }
        for bad in [b"+a", b"-1", b" 1", b"1 ", b"g0", b"0x"] {
            assert_eq!(byte_of_hex(*bad), None);
        }
    }
}
