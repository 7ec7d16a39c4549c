//! Signed messages, cut up and put together at random: whatever is accepted says what was signed.

use super::{profile, verify};
use crate::{
    forgery::{CONTENT, SOAP11},
    pki::{agency_signer, now, policy},
};
use proptest::prelude::*;
use punte::{
    trust::{Algorithm, AnswerKind, wss},
    xml,
};
use std::{ops::Range, sync::OnceLock};

fn signed() -> &'static str {
    static SIGNED: OnceLock<String> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let envelope = format!(
            "<s:Envelope xmlns:s=\"{SOAP11}\"><s:Header><h/></s:Header><s:Body>{CONTENT}</s:Body></s:Envelope>"
        );
        wss::sign(&envelope, &profile(Algorithm::EcdsaSha256), &agency_signer("rest"), now()).unwrap()
    })
}

/// Takes one element's text, perhaps with the name changed, and puts it before, into, or in the place of another.
#[derive(Debug, Clone)]
struct Mutation {
    from: prop::sample::Index,
    to: prop::sample::Index,
    place: u8,
    evil: bool,
    keep_original: bool,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let indices = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (indices, 0..4_u8, any::<bool>(), any::<bool>()).prop_map(|((from, to), place, evil, keep_original)| Mutation {
        from,
        to,
        place,
        evil,
        keep_original,
    })
}

fn apply(text: &str, mutation: &Mutation) -> Option<String> {
    let document = xml::parse(text).ok()?;
    let elements: Vec<Range<usize>> =
        document.descendants().filter(roxmltree::Node::is_element).map(|element| element.range()).collect();
    let (from, to) = (mutation.from.get(&elements).clone(), mutation.to.get(&elements).clone());
    let piece = text.get(from.clone())?;
    let piece = if mutation.evil { piece.replace("Ana", "Eve") } else { piece.to_owned() };
    let inside = to.start + text.get(to.clone())?.find('>')? + 1;
    let target = match mutation.place {
        0 => to.start..to.start,
        1 => to.end..to.end,
        2 => inside..inside,
        _ => to,
    };
    let mut edits = vec![(target, piece)];
    if !mutation.keep_original {
        edits.push((from, String::new()));
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse((range.start, range.end)));
    let mut mutated = text.to_owned();
    for (range, piece) in edits {
        mutated.get(range.clone())?;
        mutated.replace_range(range, &piece);
    }
    Some(mutated)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_accepted_says_what_was_signed(mutations in proptest::collection::vec(mutation(), 1..4)) {
        let mutated = mutations.iter().try_fold(signed().to_owned(), |text, mutation| apply(&text, mutation));
        let Some(mutated) = mutated else { return Ok(()) };
        if let Ok(verified) = verify(&mutated, &policy("rest", AnswerKind::Wss)) {
            let document = xml::parse(&mutated).unwrap();
            let body = document.get_node(verified.body).unwrap();
            prop_assert_eq!(&mutated[body.range()], &signed()[signed().find("<s:Body").unwrap()..signed().find("</s:Envelope>").unwrap()]);
            prop_assert_eq!(body.parent(), Some(document.root_element()));
            prop_assert_eq!(verified.created, now());
        }
    }
}

#[test]
fn the_message_that_is_cut_up_is_good_itself() {
    assert!(verify(signed(), &policy("rest", AnswerKind::Wss)).is_ok());
}
