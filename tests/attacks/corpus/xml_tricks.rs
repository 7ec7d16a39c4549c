//! XML as a weapon: entities, depth, floods, encodings, and bytes before and behind the message.

use super::{Case, EVIL, honest, replaced};

pub fn cases() -> Vec<Case> {
    let mut cases = document_types();
    cases.extend(floods());
    cases.extend(encodings());
    cases.extend(surroundings());
    cases
}

fn document_types() -> Vec<Case> {
    let text = honest();
    let bomb: String = (1..10).map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10))).collect();
    let long = "x".repeat(100_000);
    let quadratic = format!("<!ENTITY e \"{long}\">");
    [
        ("empty", "<!DOCTYPE x>".to_owned(), "Ana"),
        ("entity", "<!DOCTYPE x [<!ENTITY e \"Eve\">]>".into(), "&e;"),
        ("file", "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>".into(), "&e;"),
        ("web", "<!DOCTYPE x [<!ENTITY e SYSTEM \"http://localhost/x\">]>".into(), "&e;"),
        ("parameter", "<!DOCTYPE x [<!ENTITY % e SYSTEM \"http://localhost/x\"> %e;]>".into(), "Ana"),
        ("subset-of-a-file", "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">".into(), "Ana"),
        ("public", "<!DOCTYPE x PUBLIC \"-//X//EN\" \"http://localhost/x\">".into(), "Ana"),
        ("bomb", format!("<!DOCTYPE x [<!ENTITY e0 \"lol\">{bomb}]>"), "&e9;"),
        ("quadratic-bomb", format!("<!DOCTYPE x [{quadratic}]>"), "&e;&e;&e;&e;"),
        ("itself", "<!DOCTYPE x [<!ENTITY e \"&e;\">]>".into(), "&e;"),
        ("identifiers", "<!DOCTYPE x [<!ATTLIST a:Answer name ID #IMPLIED>]>".into(), "Ana"),
        ("default-attribute", "<!DOCTYPE x [<!ATTLIST a:Name xml:lang CDATA \"en\">]>".into(), "Ana"),
        ("lower-case", "<!doctype x>".into(), "Ana"),
    ]
    .into_iter()
    .map(|(name, doctype, value)| Case::new(format!("doctype-{name}"), "xml", doctype + &text.replace("Ana", value)))
    .chain([
        Case::new("doctype-behind-a-comment", "xml", format!("<!-- --><!DOCTYPE x>{text}")),
        Case::new("doctype-inside", "xml", replaced(&text, "<s:Header>", "<!DOCTYPE x><s:Header>")),
        Case::new("entity-without-doctype", "xml", text.replace("Ana", "&undeclared;")),
    ])
    .collect()
}

fn floods() -> Vec<Case> {
    let text = honest();
    let in_header = |what: &str| replaced(&text, "<s:Header>", &format!("<s:Header>{what}"));
    let nested = |depth: usize| format!("{}{}", "<x>".repeat(depth), "</x>".repeat(depth));
    let attributes: String = (0..10_000).map(|n| format!(" a{n}=\"\"")).collect();
    let namespaces: String = (0..10_000).map(|n| format!(" xmlns:n{n}=\"urn:{n}\"")).collect();
    let spread: String = (0..10_000).map(|n| format!("<n{n}:x xmlns:n{n}=\"urn:{n}\"/>")).collect();
    let nested_namespaces: String = (0..90).map(|n| format!("<x xmlns:a{n}=\"urn:a\" xmlns:b{n}=\"urn:b\" xmlns:c{n}=\"urn:c\" xmlns:d{n}=\"urn:d\" xmlns:e{n}=\"urn:e\" xmlns:f{n}=\"urn:f\">")).collect();
    vec![
        Case::new("depth-of-a-hundred-thousand", "xml", in_header(&nested(100_000))),
        Case::new("depth-of-a-hundred-thousand-in-the-body", "xml", replaced(&text, "Ana", &nested(100_000))),
        Case::new("depth-never-closed", "xml", format!("{text}{}", "<x>".repeat(100_000))),
        Case::new("depth-just-too-much", "xml", in_header(&nested(101))),
        Case::new("attributes", "xml", in_header(&format!("<x{attributes}/>"))),
        Case::new("attributes-on-the-root", "xml", replaced(&text, "<s:Envelope", &format!("<s:Envelope{attributes}"))),
        Case::new("namespaces", "xml", in_header(&format!("<x{namespaces}/>"))),
        Case::new("namespaces-spread", "xml", in_header(&spread)),
        Case::new("namespaces-nested", "xml", in_header(&(nested_namespaces + &"</x>".repeat(90)))),
        Case::new("nodes", "xml", in_header(&"<x/>".repeat(400_001))),
        Case::new("comments", "xml", in_header(&"<!---->".repeat(400_001))),
        Case::new("size", "xml", replaced(&text, "Ana", &"x".repeat(16 << 20))),
        Case::new("one-long-name", "xml", in_header(&format!("<{}/", "x".repeat(1 << 20)))),
        Case::new("attribute-twice", "xml", replaced(&text, "wsu:Id=\"BODY\"", "wsu:Id=\"BODY\" wsu:Id=\"BODY\"")),
        Case::new(
            "attribute-twice-by-two-prefixes",
            "xml",
            replaced(
                &text,
                "wsu:Id=\"BODY\"",
                "wsu:Id=\"BODY\" xmlns:z=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd\" z:Id=\"OTHER\"",
            ),
        ),
        Case::new("instruction", "xml", format!("<?xml-stylesheet href=\"http://localhost/x\"?>{text}")),
        Case::new("instruction-inside", "xml", in_header("<?php x?>")),
        Case::new("prefix-is-not-bound", "xml", in_header("<nobody:x/>")),
        Case::new("prefix-is-unbound", "xml", in_header("<x xmlns:s=\"\"/>")),
        Case::new("xml-is-bound-anew", "xml", in_header("<x xmlns:xml=\"urn:x\"/>")),
        Case::new("xmlns-is-bound", "xml", in_header("<x xmlns:xmlns=\"urn:x\"/>")),
    ]
}

fn encodings() -> Vec<Case> {
    let text = honest();
    let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let (big, little) = (wide(u16::to_be_bytes), wide(u16::to_le_bytes));
    let utf32: Vec<u8> = text.chars().flat_map(|character| u32::from(character).to_be_bytes()).collect();
    let utf32_little: Vec<u8> = text.chars().flat_map(|character| u32::from(character).to_le_bytes()).collect();
    let with = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
    let declared = |declaration: &str| format!("{declaration}{text}");
    let raw = |value: &[u8]| {
        let at = text.find("Ana").unwrap();
        [&text.as_bytes()[..at], value, &text.as_bytes()[at + 3..]].concat()
    };
    let mut cases = vec![
        Case::new("utf16-with-the-other-order's-mark", "xml", with(&[0xFE, 0xFF], &little)),
        Case::new("utf16-with-two-marks", "xml", with(&[0xFF, 0xFE, 0xFF, 0xFE], &little)),
        Case::new("utf16-cut-short", "xml", big[..big.len() - 1].to_vec()),
        Case::new("utf16-half-a-pair", "xml", with(&[0xFE, 0xFF], &[&big[..], &[0xD8, 0]].concat())),
        Case::new("utf32-big", "xml", with(&[0, 0, 0xFE, 0xFF], &utf32)),
        Case::new("utf32-little", "xml", with(&[0xFF, 0xFE, 0, 0], &utf32_little)),
        Case::new("utf32-without-mark", "xml", utf32),
        Case::new("two-marks", "xml", with(&[0xEF, 0xBB, 0xBF, 0xEF, 0xBB, 0xBF], text.as_bytes())),
        Case::new("mark-of-utf16-before-utf8", "xml", with(&[0xFF, 0xFE], text.as_bytes())),
        Case::new("bare-carriage-return-beside-a-reference", "xml", raw(b"A\r&#110;a")),
        Case::new("mark-inside", "xml", text.replace("<s:Header>", "<s:Header\u{FEFF}>")),
        Case::new("overlong", "xml", raw(&[0xC0, 0xBC])),
        Case::new("surrogates", "xml", raw(&[0xED, 0xA0, 0x80, 0xED, 0xB0, 0x80])),
        Case::new("beyond-unicode", "xml", raw(&[0xF4, 0x90, 0x80, 0x80])),
        Case::new("latin1", "xml", raw(&[0xE9])),
        Case::new("nul", "xml", raw(&[0])),
        Case::new("control-character", "xml", raw(&[1])),
        Case::new("nul-as-reference", "xml", raw(b"&#0;")),
        Case::new("control-character-as-reference", "xml", raw(b"&#x1;")),
        Case::new("surrogate-as-reference", "xml", raw(b"&#xD800;")),
        Case::new("no-character", "xml", raw("\u{FFFE}".as_bytes())),
    ];
    for (name, declaration) in [
        ("utf16", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>"),
        ("utf7", "<?xml version=\"1.0\" encoding=\"UTF-7\"?>"),
        ("ibm850", "<?xml version='1.0' encoding='IBM850'?>"),
        ("ebcdic", "<?xml version=\"1.0\" encoding=\"IBM037\"?>"),
        ("nothing", "<?xml version=\"1.0\" encoding=\"\"?>"),
        ("with-spaces", "<?xml version=\"1.0\" encoding  =  \"UTF-7\" ?>"),
        ("twice", "<?xml version=\"1.0\" encoding=\"UTF-8\" encoding=\"UTF-7\"?>"),
        ("hidden", "<?xml version=\"1.0\" standalone=\"encoding='utf-8'\" encoding=\"UTF-7\"?>"),
        ("version-1.1", "<?xml version=\"1.1\" encoding=\"UTF-8\"?>"),
        ("version-2.0", "<?xml version=\"2.0\"?>"),
        ("two-declarations", "<?xml version=\"1.0\"?><?xml version=\"1.0\"?>"),
        ("late", "\n<?xml version=\"1.0\"?>"),
    ] {
        cases.push(Case::new(format!("declared-{name}"), "xml", declared(declaration)));
    }
    cases
}

fn surroundings() -> Vec<Case> {
    let text = honest();
    let half = text.len() / 2;
    vec![
        Case::new("nothing-at-all", "xml", ""),
        Case::new("only-white-space", "xml", " \n"),
        Case::new("half", "xml", &text.as_bytes()[..half]),
        Case::new("all-but-a-byte", "xml", &text.as_bytes()[..text.len() - 1]),
        Case::new("two-messages", "xml", text.repeat(2)),
        Case::new("evil-root-behind", "xml", format!("{text}{EVIL}")),
        Case::new("evil-root-before", "xml", format!("{EVIL}{text}")),
        Case::new("text-behind", "xml", format!("{text}garbage")),
        Case::new("text-before", "xml", format!("garbage{text}")),
        Case::new("nul-behind", "xml", format!("{text}\0")),
        Case::new("reference-behind", "xml", format!("{text}&#65;")),
        Case::new("cdata-behind", "xml", format!("{text}<![CDATA[x]]>")),
        Case::new("end-tag-behind", "xml", format!("{text}</s:Envelope>")),
        Case::new("open-comment-behind", "xml", format!("{text}<!--")),
        Case::new("zip", "xml", [b"PK\x03\x04".as_slice(), text.as_bytes()].concat()),
        Case::new("gzip", "xml", [0x1F, 0x8B, 8, 0, 0, 0, 0, 0]),
        Case::new("json", "xml", "{\"body\": \"Eve\"}"),
        Case::new("mime", "xml", format!("--b\r\nContent-Type: text/xml\r\n\r\n{text}\r\n--b--")),
    ]
}
