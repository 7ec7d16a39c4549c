//! A message and a source of chance come in; a mutant of the message goes out.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Xml,
    Token,
    Http,
}

/// One to four changes, each of any kind that fits the form.
pub fn mangle(message: &[u8], form: Form, chance: &mut StdRng) -> Vec<u8> {
    let mut bytes = message.to_vec();
    // Two changes of bytes nearly always make XML that is none: most mutants get only one of those, or none.
    for _ in 0..*[1, 1, 1, 2, 2, 3, 4].choose(chance).unwrap() {
        bytes = match (form, chance.random_range(0..10)) {
            (_, 0) => of_bytes(bytes, chance),
            (_, 1) => insertion(bytes, chance),
            (Form::Xml, 2 | 3) => elements(&bytes, chance),
            (Form::Xml, 4 | 5) => attributes(&bytes, chance),
            (Form::Xml, 6) => namespaces(&bytes, chance),
            (Form::Xml, 7) => texts(&bytes, chance),
            (Form::Token, 2..=5) => parts(&bytes, chance),
            (Form::Http, 2..=5) => lines(&bytes, chance),
            (_, 8) => ranges(bytes, chance),
            (_, _) => words(&bytes, chance),
        };
    }
    if bytes == message {
        return of_bytes(bytes, chance);
    }
    bytes
}

fn of_bytes(mut bytes: Vec<u8>, chance: &mut StdRng) -> Vec<u8> {
    if bytes.is_empty() {
        return vec![b'<'];
    }
    let at = chance.random_range(0..bytes.len());
    match chance.random_range(0..4) {
        0 => bytes[at] ^= 1 << chance.random_range(0..8),
        1 => bytes[at] = *b"<>&\"'=/:#; \0\r\n\xff\xc3A9".choose(chance).unwrap(),
        2 => drop(bytes.remove(at)),
        _ => bytes.insert(at, bytes[at]),
    }
    bytes
}

/// Spaces, comments and the like: most of them change nothing, and some of them should not.
fn insertion(bytes: Vec<u8>, chance: &mut StdRng) -> Vec<u8> {
    const PIECES: [&str; 14] = [
        " ",
        "\n",
        "\r\n",
        "\t",
        "<!-- -->",
        "<!---->",
        "<?x?>",
        "<![CDATA[]]>",
        "&#32;",
        "&amp;",
        "\u{FEFF}",
        "\u{200B}",
        "<!DOCTYPE x>",
        ",",
    ];
    let tags: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at] == b'<' || *at > 0 && bytes[*at - 1] == b'>').collect();
    let at = match chance.random_bool(0.7) && !tags.is_empty() {
        true => *tags.choose(chance).unwrap(),
        false => chance.random_range(0..=bytes.len()),
    };
    replaced(&bytes, at..at, PIECES.choose(chance).unwrap().as_bytes())
}

/// A stretch of bytes is deleted, doubled, or changes places with another.
fn ranges(bytes: Vec<u8>, chance: &mut StdRng) -> Vec<u8> {
    let some = |chance: &mut StdRng| {
        let from = chance.random_range(0..=bytes.len());
        from..bytes.len().min(from + chance.random_range(1..200))
    };
    let (first, second) = (some(chance), some(chance));
    match chance.random_range(0..4) {
        0 => replaced(&bytes, first, b""),
        1 => replaced(&bytes, first.end..first.end, &bytes[first]),
        2 => replaced(&bytes, first, &bytes[second]),
        _ => bytes[..chance.random_range(0..=bytes.len())].to_vec(),
    }
}

/// One word of the message is put in the place of another, or a word that Eve would like is.
fn words(bytes: &[u8], chance: &mut StdRng) -> Vec<u8> {
    const WANTED: [&str; 22] = [
        "Eve",
        "Body",
        "Header",
        "Envelope",
        "Security",
        "Timestamp",
        "Id",
        "ID",
        "200",
        "none",
        "HS256",
        "alg",
        "kid",
        "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        "http://www.w3.org/2000/09/xmldsig#sha1",
        "1",
        "true",
        "nil",
        "http://schemas.xmlsoap.org/soap/envelope/",
        "http://www.w3.org/2003/05/soap-envelope",
        "sha-512",
        "\"@method\"",
    ];
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.#/@%+".contains(byte) || *byte >= 0x80;
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        match (is_word(byte), found.last_mut()) {
            (true, Some(last)) if last.end == at => last.end += 1,
            (true, _) => found.push(at..at + 1),
            (false, _) => {}
        }
    }
    let Some(target) = found.choose(chance).cloned() else { return of_bytes(bytes.to_vec(), chance) };
    let word = match chance.random_bool(0.5) {
        true => WANTED.choose(chance).unwrap().as_bytes(),
        false => &bytes[found.choose(chance).unwrap().clone()],
    };
    replaced(bytes, target, word)
}

/// Takes one element and puts it before, behind, into, or in the place of another; perhaps with other words in it.
fn elements(bytes: &[u8], chance: &mut StdRng) -> Vec<u8> {
    let elements = elements_of(bytes);
    let (Some(from), Some(to)) = (elements.choose(chance), elements.choose(chance)) else {
        return of_bytes(bytes.to_vec(), chance);
    };
    let mut piece = bytes[from.whole.clone()].to_vec();
    if chance.random_bool(0.4) {
        piece = texts(&piece, chance);
    }
    let target = match chance.random_range(0..4) {
        0 => to.whole.start..to.whole.start,
        1 => to.whole.end..to.whole.end,
        2 => to.inside..to.inside,
        _ => to.whole.clone(),
    };
    let mut edits = vec![(target, piece)];
    if chance.random_bool(0.5) {
        edits.push((from.whole.clone(), Vec::new()));
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    edits.into_iter().fold(bytes.to_vec(), |bytes, (range, piece)| match range.end <= bytes.len() {
        true => replaced(&bytes, range, &piece),
        false => bytes,
    })
}

struct Element {
    whole: Range<usize>,
    /// Just behind the start tag.
    inside: usize,
}

/// By counting tags: mutants need not be well-formed.
fn elements_of(bytes: &[u8]) -> Vec<Element> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for tag in tags_of(bytes) {
        match (bytes.get(tag.start + 1), bytes[tag.end - 2]) {
            (Some(b'/'), _) => {
                if let Some((start, inside)) = open.pop() {
                    found.push(Element { whole: start..tag.end, inside });
                }
            }
            (_, b'/') => found.push(Element { whole: tag.clone(), inside: tag.end }),
            _ => open.push((tag.start, tag.end)),
        }
    }
    found
}

/// Start and end tags, without comments and declarations.
fn tags_of(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(start) = bytes[at..].iter().position(|byte| *byte == b'<').map(|found| at + found) {
        let Some(end) = bytes[start..].iter().position(|byte| *byte == b'>').map(|found| start + found + 1) else {
            break;
        };
        if !matches!(bytes.get(start + 1), Some(b'!' | b'?')) && end > start + 2 {
            tags.push(start..end);
        }
        at = end;
    }
    tags
}

/// An attribute is copied, taken away, or gets another's value.
fn attributes(bytes: &[u8], chance: &mut StdRng) -> Vec<u8> {
    let mut found: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let starts: Vec<_> = tags_of(bytes).into_iter().filter(|tag| bytes[tag.start + 1] != b'/').collect();
    for tag in &starts {
        let mut at = tag.start;
        while let Some(space) = bytes[at..tag.end].iter().position(u8::is_ascii_whitespace).map(|found| at + found) {
            let Some(open) = bytes[space..tag.end].iter().position(|byte| *byte == b'"').map(|found| space + found + 1)
            else {
                break;
            };
            let Some(close) = bytes[open..tag.end].iter().position(|byte| *byte == b'"').map(|found| open + found)
            else {
                break;
            };
            found.push((space..close + 1, open..close));
            at = close + 1;
        }
    }
    let (Some(from), Some(to), Some(tag)) = (found.choose(chance), found.choose(chance), starts.choose(chance)) else {
        return of_bytes(bytes.to_vec(), chance);
    };
    let name_ends = tag.start + bytes[tag.clone()].iter().position(|byte| b" \t\r\n/>".contains(byte)).unwrap();
    match chance.random_range(0..5) {
        0 => replaced(bytes, to.1.clone(), &bytes[from.1.clone()]),
        1 => replaced(bytes, to.0.clone(), b""),
        2 => replaced(bytes, to.0.clone(), &bytes[from.0.clone()]),
        3 => replaced(bytes, name_ends..name_ends, &bytes[from.0.clone()]),
        _ => {
            const MADE: [&str; 10] = [
                " xml:id=\"x\"",
                " xml:base=\"http://localhost/\"",
                " xml:space=\"preserve\"",
                " ID=\"x\"",
                " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:nil=\"true\"",
                " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"x\"",
                " soap:actor=\"urn:x\"",
                " soap:mustUnderstand=\"1\"",
                " xmlns=\"\"",
                " a='1'",
            ];
            replaced(bytes, name_ends..name_ends, MADE.choose(chance).unwrap().as_bytes())
        }
    }
}

/// A prefix is bound to another namespace: at its declaration, or anew at any element.
fn namespaces(bytes: &[u8], chance: &mut StdRng) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let declared: Vec<(String, Range<usize>)> = text
        .match_indices("xmlns")
        .filter_map(|(at, _)| {
            let open = at + text[at..].find('"')? + 1;
            Some((text.get(at..open - 2)?.to_owned(), open..open + text[open..].find('"')?))
        })
        .filter(|(name, _)| name.len() < 20)
        .collect();
    let (Some((name, _)), Some((_, to)), Some((_, other))) =
        (declared.choose(chance), declared.choose(chance), declared.choose(chance))
    else {
        return of_bytes(bytes.to_vec(), chance);
    };
    let uri = if chance.random_bool(0.3) { "urn:evil" } else { &text[other.clone()] };
    if chance.random_bool(0.4) {
        return replaced(text.as_bytes(), to.clone(), uri.as_bytes());
    }
    let starts: Vec<_> =
        tags_of(text.as_bytes()).into_iter().filter(|tag| text.as_bytes()[tag.start + 1] != b'/').collect();
    let Some(tag) = starts.choose(chance) else { return bytes.to_vec() };
    let name_ends = tag.start + text[tag.clone()].find([' ', '\t', '\r', '\n', '/', '>']).unwrap();
    replaced(text.as_bytes(), name_ends..name_ends, format!(" {name}=\"{uri}\"").as_bytes())
}

/// The text between two tags becomes another's, or Eve's.
fn texts(bytes: &[u8], chance: &mut StdRng) -> Vec<u8> {
    let tags = tags_of(bytes);
    let texts: Vec<_> =
        tags.windows(2).map(|pair| pair[0].end..pair[1].start).filter(|text| text.end > text.start).collect();
    let (Some(to), Some(from)) = (texts.choose(chance), texts.choose(chance)) else {
        return of_bytes(bytes.to_vec(), chance);
    };
    let text = match chance.random_range(0..3) {
        0 => b"Eve".to_vec(),
        1 => bytes[from.clone()].to_vec(),
        _ => {
            let at = to.start + chance.random_range(0..=to.len());
            [&bytes[to.start..at], b"<!-- -->", &bytes[at..to.end]].concat()
        }
    };
    replaced(bytes, to.clone(), &text)
}

/// The parts of a JWS: one is decoded, changed and encoded again, or they change places.
fn parts(bytes: &[u8], chance: &mut StdRng) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect();
    let at = chance.random_range(0..parts.len());
    match (chance.random_range(0..5), URL_SAFE_NO_PAD.decode(&parts[at])) {
        (0, _) => {
            let other = chance.random_range(0..parts.len());
            parts.swap(at, other);
        }
        (1, _) => parts.insert(at, parts[at].clone()),
        (2, _) => drop(parts.remove(at)),
        (3, _) => return [b" ".as_slice(), bytes, b"\r\n"].concat(),
        (_, Ok(decoded)) => {
            let changed = if chance.random_bool(0.5) { words(&decoded, chance) } else { of_bytes(decoded, chance) };
            parts[at] = URL_SAFE_NO_PAD.encode(changed).into_bytes();
        }
        (_, Err(_)) => {}
    }
    parts.join(&b'.')
}

/// The lines of an HTTP message: doubled, taken away, changed places, or two of them one.
fn lines(bytes: &[u8], chance: &mut StdRng) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (at, other) = (chance.random_range(0..lines.len()), chance.random_range(0..lines.len()));
    match chance.random_range(0..5) {
        0 => lines.swap(at, other),
        1 => lines.insert(other, lines[at].clone()),
        2 => drop(lines.remove(at)),
        3 => lines[at] = words(&lines[at], chance),
        _ => lines[at] = parts(&lines[at], chance),
    }
    lines.join(&b'\n')
}

fn replaced(bytes: &[u8], range: Range<usize>, with: &[u8]) -> Vec<u8> {
    [&bytes[..range.start], with, &bytes[range.end..]].concat()
}
