//! The bytes of a file outside of its sections come in; what was lost there goes out with its place: the remains of a
//! section, or a whole one in a form that is read nowhere but in a file of its own (DER, UTF-16, a compressed file).

/// How the whole file was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    Utf8,
    /// It has been decoded. Bytes of anything else that was put behind it have become letters of far away.
    Utf16,
}

/// Where among the bytes, and what it is and how to go on.
pub(super) struct Lost {
    pub at: usize,
    pub what: &'static str,
}

const EDGE: &str = "it looks like the edge of a section and is not written as one, such as -----BEGIN CERTIFICATE-----";
const BASE64: &str = "base64 outside of any section: its BEGIN line is missing";
const DER: &str = "bytes that are no text stand outside of any section: it looks like DER, which counts for nothing there; \
                   `openssl x509 -inform DER -in FILE` (`openssl crl` for a list) makes PEM of it";
const UTF16: &str = "bytes that are no text stand outside of any section: it looks like UTF-16 in a file of another \
                     encoding, as `>>` of PowerShell writes it; save the whole file as plain text (UTF-8)";
const OTHER: &str = "bytes that are no text in UTF-8 stand outside of any section and count for nothing: unpack what is \
                     compressed, make PEM of what is DER, and save comments as UTF-8";

/// The shortest base64 that is told: a list or certificate is longer.
const SHORTEST: usize = 60;

pub(super) fn lost_in(bytes: &[u8], writing: Writing) -> Option<Lost> {
    let torn = || edge_in(bytes).or_else(|| lines_of_base64(bytes)).or_else(|| words_of_base64(bytes));
    no_text(bytes, writing).or_else(torn)
}

fn no_text(bytes: &[u8], writing: Writing) -> Option<Lost> {
    let (text, broken) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            (std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(), Some(error.valid_up_to()))
        }
    };
    let foreign = text.char_indices().find(|(_, character)| !is_text(*character, writing)).map(|(at, _)| at);
    let at = foreign.or(broken)?;
    let what = match (writing, &bytes[at..]) {
        (Writing::Utf16, _) => UTF16,
        // Of a DER length the second byte is the first one that is no text.
        (_, [0x80..=0x84, ..]) if at > 0 && bytes[at - 1] == 0x30 => DER,
        (_, [0, ..] | [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) => UTF16,
        _ => OTHER,
    };
    Some(Lost { at, what })
}

/// `copy a+b` of Windows puts 0x1a behind its files, and editors put marks before theirs.
fn is_text(character: char, writing: Writing) -> bool {
    match character {
        '\t' | '\n' | '\x0c' | '\r' | '\x1a' | '\u{feff}' => true,
        // Plain text or DER that is read as UTF-16 has become Asian letters; comments of our offices are in European ones.
        '\u{600}'.. if writing == Writing::Utf16 => {
            matches!(character, '\u{1e00}'..='\u{1fff}' | '\u{2010}'..='\u{2027}')
        }
        other => !other.is_control(),
    }
}

fn edge_in(bytes: &[u8]) -> Option<Lost> {
    lines(bytes).find_map(|(at, line)| edge_of(line).map(|what| Lost { at, what }))
}

/// What a line shows of a section that was torn.
fn edge_of(line: &str) -> Option<&'static str> {
    const LABELS: [&str; 5] = ["CERTIFICATE", "X509 CRL", "PKCS7", "CMS", "PRIVATE KEY"];
    let text = line.to_ascii_uppercase();
    let edge = |edge: &str| {
        text.match_indices(edge).any(|(at, _)| {
            let label = text[at + edge.len()..].trim_start();
            let before = text[..at].trim_end();
            let is_dashed = before.ends_with("--") || before.ends_with(['–', '—']);
            is_dashed || (before.is_empty() && LABELS.iter().any(|known| label.starts_with(known)))
        })
    };
    match (edge("BEGIN "), edge("END ")) {
        (_, true) if text.contains("-----END") => Some("a section ends there that has not begun: its BEGIN is missing"),
        (true, _) | (_, true) => Some(EDGE),
        (false, false) => None,
    }
}

/// Lines of nothing but base64, however long each is, that are together as long as a section.
fn lines_of_base64(bytes: &[u8]) -> Option<Lost> {
    let (mut begin, mut run) = (0, String::new());
    for (at, line) in lines(bytes) {
        if line.is_empty() {
            continue;
        }
        if !is_base64(line) {
            run.clear();
            continue;
        }
        if run.is_empty() {
            begin = at;
        }
        run.push_str(line);
        // Of short lines only a mixture is base64: a list of towns is none.
        let has = |is: fn(&u8) -> bool| run.bytes().any(|byte| is(&byte));
        let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
        if (line.len() >= SHORTEST && !is_fingerprint(line)) || (run.len() >= SHORTEST && is_mixed) {
            return Some(Lost { at: begin, what: BASE64 });
        }
    }
    None
}

/// Words of base64 behind each other that are a whole DER value, whatever stands around them on their lines.
fn words_of_base64(bytes: &[u8]) -> Option<Lost> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let words: Vec<(usize, &str)> = text
        .split(|c: char| c.is_whitespace() || QUOTES.contains(&c) || matches!(c, ':' | '"' | '\'' | ','))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
        .collect();
    let is_whole = |from: usize| {
        let mut joined = String::new();
        for word in words[from..].iter().map(|(_, word)| *word).take_while(|word| is_base64(word)) {
            joined.push_str(word);
            match encoded_length(&joined) {
                Some(wanted) if wanted >= SHORTEST && joined.len() >= wanted => return true,
                None if joined.len() >= 8 => return false,
                _ => {}
            }
        }
        false
    };
    let from = (0..words.len()).find(|from| words[*from].1.starts_with('M') && is_whole(*from))?;
    Some(Lost { at: words[from].0, what: BASE64 })
}

/// How many letters a DER SEQUENCE has in base64 that begins so, if its length is told in one or two bytes.
fn encoded_length(text: &str) -> Option<usize> {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    let head = STANDARD_NO_PAD.decode(text.get(..8)?).ok()?;
    let length = match *head.as_slice() {
        [0x30, 0x81, length, ..] => 3 + usize::from(length),
        [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        _ => return None,
    };
    Some((length * 4).div_ceil(3))
}

/// What mail programs and people put before a line.
const QUOTES: [char; 6] = ['>', '#', '|', '*', ';', '%'];

/// Each line with its place, without white space and marks of quoting.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    bytes.split(|byte| matches!(byte, b'\n' | b'\r')).map(move |line| {
        let begin = at;
        at += line.len() + 1;
        let text = std::str::from_utf8(line).unwrap_or_default();
        (begin, text.trim().trim_start_matches(|c: char| c.is_whitespace() || QUOTES.contains(&c)))
    })
}

fn is_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

/// As `sha256sum` prints it.
fn is_fingerprint(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Option<&'static str> {
        lost_in(bytes, Writing::Utf8).map(|lost| lost.what)
    }

    #[test]
    fn base64_without_edges_is_found_however_it_is_broken_and_quoted() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let der: Vec<u8> = [0x30, 0x81, 172].into_iter().chain((0..172_u8).map(|it| it.wrapping_mul(89))).collect();
        let list = STANDARD.encode(der);
        for width in [1, 4, 16, 32, 48, 59, 64, 76, list.len()] {
            for (before, joint) in [("", "\n"), ("", "\r\n"), ("> ", "\n"), ("# ", "\n"), ("", "\n\n"), ("", " ")] {
                let lines = list.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned());
                let text = lines.map(|line| format!("{before}{line}{joint}")).collect::<String>();
                assert_eq!(
                    told(format!("The list:\n{text}\n").as_bytes()),
                    Some(BASE64),
                    "{width} {before:?} {joint:?}"
                );
            }
        }
        assert_eq!(told(format!("crl: \"{list}\"").as_bytes()), Some(BASE64));
    }

    #[test]
    fn what_people_write_around_sections_is_no_fault() {
        for text in [
            "",
            "Bag Attributes\n    localKeyID: 01 02 03\nsubject=C = MD, O = Primăria Căușeni, CN = desk\n",
            "sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
            "Causeni\nChisinau\nBalti\nStrumica\nSkopje\nTirana\nShkoder\nOrhei\nCahul\nSoroca\nComrat\n",
            "MINISTRY OF JUSTICE of the republic and its certification authority for offices and registries\n",
            "MIHAI signed this list for the offices in 2026 and sent it to all town halls of the north\n",
            "\u{feff}# Општина Струмица\t№ 7\r\n\x1a",
            "------------------------------------------------------------------------\n",
        ] {
            assert_eq!(told(text.as_bytes()), None, "{text}");
        }
        let comment: Vec<u8> = "Primăria – Општина".bytes().collect();
        assert!(lost_in(&comment, Writing::Utf16).is_none());
    }

    #[test]
    fn what_is_no_text_is_told_by_its_form() {
        let wide: Vec<u8> = "\nlist".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, expected) in [
            (&[b'\n', 0x30, 0x82, 1, 0, 0x30, 0x0d][..], DER),
            (&[0x30, 0x81, 0xf0, 0x30], DER),
            (&wide, UTF16),
            (&[&[0xff, 0xfe][..], &wide].concat(), UTF16),
            (&[0x1f, 0x8b, 8, 0, 0], OTHER),
            (b"Prim\xe3ria", OTHER),
        ] {
            assert_eq!(told(bytes), Some(expected), "{bytes:?}");
        }
        let ascii_in_utf16: Vec<u16> =
            b"-----BEGIN X509 CRL-----".as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let decoded = String::from_utf16(&ascii_in_utf16).unwrap();
        assert_eq!(lost_in(decoded.as_bytes(), Writing::Utf16).map(|lost| lost.what), Some(UTF16));
    }
}
