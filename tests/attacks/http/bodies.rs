//! Bodies that readers of JSON disagree about: each is refused with a problem, or reaches the agency as exactly the value
//! that every reader sees.

use crate::front::environment::{open, submission_request};
use http::{Method, StatusCode};

/// The request as text, with something else where the number of copies is.
fn with_copies(text: &str) -> Vec<u8> {
    submission_request().to_string().replace("\"copies\":2", &format!("\"copies\":{text}")).into_bytes()
}

fn with_note(text: &str) -> Vec<u8> {
    submission_request().to_string().replace("\"copies\":2", &format!("\"copies\":2,\"note\":{text}")).into_bytes()
}

#[tokio::test]
async fn what_is_no_json_or_not_one_value_is_refused() {
    let open = open().await;
    let office = open.office("causeni");
    let whole = submission_request().to_string();
    let utf16: Vec<u8> = whole.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16_be: Vec<u8> = [0xfe, 0xff].into_iter().chain(whole.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    let utf32: Vec<u8> = whole.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let latin: Vec<u8> = with_note("\"#\"").into_iter().map(|byte| if byte == b'#' { 0xe9 } else { byte }).collect();
    let bytes = |text: String| text.into_bytes();
    let with_bytes = |mark: &[u8]| {
        let at = whole.find("ledger").unwrap();
        [&whole.as_bytes()[..at], mark, &whole.as_bytes()[at..]].concat()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("UTF-16", utf16),
        ("UTF-16 with its mark", utf16_be),
        ("UTF-32", utf32),
        ("UTF-8 with a mark", [b"\xef\xbb\xbf", whole.as_bytes()].concat()),
        ("Latin-1", latin),
        ("an overlong slash", with_bytes(b"\xc0\xaf")),
        ("a surrogate in UTF-8", with_bytes(b"\xed\xa0\x80")),
        ("beyond Unicode", with_bytes(b"\xf4\x90\x80\x80")),
        ("half a character", with_bytes(b"\xe2\x82")),
        ("a lone high surrogate", with_note("\"\\ud800\"")),
        ("a lone low surrogate", with_note("\"\\udc00\"")),
        ("surrogates in the wrong order", with_note("\"\\udc00\\ud800\"")),
        ("a high surrogate and a letter", with_note("\"\\ud800\\u0041\"")),
        ("a raw line feed in a text", with_note("\"a\nb\"")),
        ("a raw nul in a text", with_note("\"a\0b\"")),
        ("an unknown escape", with_note("\"\\x41\"")),
        ("half an escape", with_note("\"\\u12\"")),
        ("garbage behind it", bytes(format!("{whole} x"))),
        ("a second value", bytes(format!("{whole}{whole}"))),
        ("two lines of values", bytes(format!("{whole}\n{whole}"))),
        ("a nul behind it", bytes(format!("{whole}\0"))),
        ("a comma too many", bytes(whole.replace("\"copies\":2", "\"copies\":2,"))),
        ("a comment", bytes(format!("/* x */{whole}"))),
        ("single quotes", bytes(whole.replace('"', "'"))),
        ("names without quotes", bytes(whole.replace("\"copies\"", "copies"))),
        ("a no-break space", bytes(format!("\u{a0}{whole}"))),
        ("XML", b"<submission/>".to_vec()),
        ("a form", b"service=ledger-entry".to_vec()),
        ("JSONP", bytes(format!("callback({whole})"))),
        ("a guard against inclusion", bytes(format!(")]}}',\n{whole}"))),
    ];
    for (what, body) in cases {
        let said = office.send(office.posting("k", body)).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{what}: {}", said.text);
        assert!(
            matches!(said.code(), "office.request.invalid-json" | "office.request.not-utf8"),
            "{what}: {}",
            said.text
        );
    }
    assert!(open.env.journal.list(&Default::default(), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_comes_twice_in_any_spelling_is_refused() {
    let open = open().await;
    let office = open.office("causeni");
    let whole = submission_request().to_string();
    for (what, body) in [
        ("plain", whole.replace("\"copies\":2", "\"copies\":2,\"copies\":2")),
        ("escaped", whole.replace("\"copies\":2", "\"copies\":2,\"\\u0063opies\":3")),
        ("at the top", whole.replacen('{', "{\"service\":\"person-lookup\",", 1)),
        ("far apart", format!("{},\"service\":\"x\"}}", whole.strip_suffix('}').unwrap())),
        ("empty", whole.replace("\"copies\":2", "\"\":1,\"\":2")),
    ] {
        let said = office.send(office.posting("k", body)).await;
        assert_eq!((said.status.as_u16(), said.code()), (400, "office.request.duplicate-key"), "{what}: {}", said.text);
    }
    // Names that other machinery gives a meaning are only names: unknown ones.
    for name in ["__proto__", "constructor", "$ref", "@type", "toString"] {
        let body = whole.replace("\"copies\":2", &format!("\"copies\":2,\"{name}\":{{\"x\":1}}"));
        let said = office.send(office.posting("k", body)).await;
        assert_eq!((said.status.as_u16(), said.code()), (422, "office.request.schema"), "{name}: {}", said.text);
    }
}

#[tokio::test]
async fn numbers_at_the_edges_are_kept_to_the_last_digit_or_refused() {
    let open = open().await;
    let office = open.office("causeni");
    // Integers that every reader keeps.
    for (number, text) in
        ["1", "2147483648", "9007199254740991", "9007199254740992", "9223372036854775807", "18446744073709551615"]
            .iter()
            .enumerate()
    {
        let said = office.send(office.posting(&format!("kept-{number}"), with_copies(text))).await;
        assert_eq!(said.status, StatusCode::ACCEPTED, "{text}: {}", said.text);
        let record = open.env.journal.find(said.id()).await.unwrap().unwrap();
        assert_eq!(record.submission.data["copies"].to_string(), *text);
    }
    for text in [
        "1e400",
        "-1e400",
        "1E999999999999999999",
        "18446744073709551616.5",
        "0.1000000000000000055511151231257827021181583404541015625",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "01",
        "+1",
        ".5",
        "1.",
        "-",
        "1e",
        "0x10",
        "1_000",
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "1,5",
        "٣",
        "--1",
    ] {
        let said = office.send(office.posting(&format!("k-{text}").replace('٣', "x"), with_copies(text))).await;
        assert!(matches!(said.status.as_u16(), 400 | 422), "{text}: {} {}", said.status, said.text);
    }
    // Right as numbers, and wrong for the schema.
    for text in ["0", "-0", "-1", "1.5", "1e-400", "-9223372036854775808", "5e-324"] {
        let said = office.send(office.posting(&format!("s-{text}"), with_copies(text))).await;
        assert!(
            matches!((said.status.as_u16(), said.code()), (400, _) | (422, "office.request.schema")),
            "{text}: {}",
            said.text
        );
    }
}

#[tokio::test]
async fn depth_and_length_have_an_end_that_comes_quickly() {
    let open = open().await;
    let office = open.office("causeni");
    for (what, body) in [
        ("deep arrays", "[".repeat(60_000)),
        ("deep objects", "{\"a\":".repeat(12_000)),
        (
            "deep in data",
            submission_request()
                .to_string()
                .replace("\"copies\":2", &format!("\"copies\":{}{}", "[".repeat(30_000), "]".repeat(30_000))),
        ),
        ("many empty arrays", format!("[{}[]]", "[],".repeat(20_000))),
        ("a long number", String::from_utf8(with_copies(&"9".repeat(60_000))).unwrap()),
        ("a long fraction", String::from_utf8(with_copies(&format!("0.{}", "3".repeat(60_000)))).unwrap()),
        ("a long text", String::from_utf8(with_note(&format!("\"{}\"", "x".repeat(60_000)))).unwrap()),
        ("a text of escapes", String::from_utf8(with_note(&format!("\"{}\"", "\\u0041".repeat(10_000)))).unwrap()),
        (
            "a long name",
            submission_request().to_string().replace("\"copies\":2", &format!("\"{}\":2", "x".repeat(60_000))),
        ),
        (
            "many names",
            format!("{{{}\"z\":1}}", (0..5_000).map(|number| format!("\"{number}\":0,")).collect::<String>()),
        ),
    ] {
        let begun = std::time::Instant::now();
        let said = office.send(office.posting("k", body)).await;
        assert!(said.status.is_client_error(), "{what}: {} {}", said.status, said.text);
        assert!(said.text.len() < 20_000, "{what}: an answer of {} bytes", said.text.len());
        assert!(begun.elapsed().as_secs() < 3, "{what} took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_media_type_that_is_not_json_in_utf_8_is_refused() {
    let open = open().await;
    let office = open.office("causeni");
    for media_type in [
        "text/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonp",
        "application/json, text/plain",
        "application/json text/plain",
        "application/*",
        "*/*",
        "json",
        "",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/json; charset=iso-8859-1",
        "application/json; charset=\"ibm037\"",
    ] {
        let request = office.request(Method::POST, "/v1/submissions").header("idempotency-key", "k");
        let said = office.send(request.header("content-type", media_type).body(submission_request().to_string())).await;
        assert_eq!(
            (said.status.as_u16(), said.code()),
            (415, "office.request.media-type"),
            "{media_type}: {}",
            said.text
        );
    }
    for (number, media_type) in [
        "application/json",
        "Application/JSON",
        "application/json;charset=UTF-8",
        "application/json; charset=\"utf-8\"",
    ]
    .iter()
    .enumerate()
    {
        let request = office.request(Method::POST, "/v1/submissions").header("idempotency-key", format!("k{number}"));
        let said =
            office.send(request.header("content-type", *media_type).body(submission_request().to_string())).await;
        assert_eq!(said.status, StatusCode::ACCEPTED, "{media_type}: {}", said.text);
    }
}
