//! Exclusive canonicalization, compared with libxml2 on generated documents.

use proptest::prelude::*;
use punte::xml;
use std::{io::Write, process::Command};

/// Documents rich in what canonicalization is about: namespaces declared, redeclared, undeclared and unused.
fn element() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("e"), Just("p:e"), Just("q:f")];
    let text = "[ a-z&<>\"'\r\n\té\u{1F600}]{0,8}".prop_map(|raw| xml::text(&raw).unwrap().into_owned());
    let leaf = prop_oneof![
        text,
        Just("<!-- comment -->".to_owned()),
        Just("<![CDATA[<raw> & ]]>".to_owned()),
        Just("&#13;&#x9;&#10;".to_owned()),
    ];
    let attributes = proptest::sample::subsequence(
        vec![
            " b='2'",
            " a='1'",
            " p:a='&#10;&#13;&lt;&quot;'",
            " q:a=\"'\"",
            " xml:lang='mk'",
            " xmlns:p='urn:p2'",
            " xmlns:q='urn:q2'",
            " xmlns='urn:default'",
            " xmlns:unused='urn:u'",
            " xmlns=''",
        ],
        0..6,
    )
    .prop_map(|mut chosen| {
        if chosen.contains(&" xmlns=''") {
            chosen.retain(|attribute| *attribute != " xmlns='urn:default'");
        }
        chosen.concat()
    });
    let wrap = move |(name, attributes, children): (&str, String, Vec<String>)| match children.is_empty() {
        true => format!("<{name}{attributes}/>"),
        false => format!("<{name}{attributes}>{}</{name}>", children.concat()),
    };
    leaf.prop_recursive(5, 40, 4, move |inner| {
        (name.clone(), attributes.clone(), proptest::collection::vec(inner, 0..4)).prop_map(wrap)
    })
}

fn document(content: &str) -> String {
    format!("<r xmlns=\"urn:r\" xmlns:p=\"urn:p\" xmlns:q=\"urn:q\">{content}</r>\n")
}

fn by_libxml2(text: &str) -> Vec<u8> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let made = Command::new("xmllint").arg("--exc-c14n").arg(file.path()).output();
    let made = made.expect("xmllint is missing: run tests/run");
    assert!(made.status.success(), "{}: {text}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

/// xmllint keeps comments; we never do, so theirs are removed first.
fn without_comments(text: &str) -> String {
    text.replace("<!-- comment -->", "")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn our_canonical_form_is_libxml2s(content in element()) {
        let text = document(&content);
        let parsed = xml::parse(&text).unwrap();
        let mut ours = Vec::new();
        xml::canonicalize(parsed.root_element(), &[], &mut ours);
        let theirs = by_libxml2(&without_comments(&text));
        prop_assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
    }

    #[test]
    fn the_canonical_form_is_its_own_canonical_form(content in element()) {
        let text = document(&content);
        let mut once = Vec::new();
        xml::canonicalize(xml::parse(&text).unwrap().root_element(), &[], &mut once);
        let once = String::from_utf8(once).unwrap();
        let mut twice = Vec::new();
        xml::canonicalize(xml::parse(&once).unwrap().root_element(), &[], &mut twice);
        prop_assert_eq!(once, String::from_utf8(twice).unwrap());
    }
}
