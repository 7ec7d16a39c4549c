//! Numbers keep their digits over the whole way, in both directions: as an agency writes them, to the byte but for the letter
//! and sign of an exponent, in what an office gets; as an office writes them, or refused at the door, in what an agency gets.

use super::hostile::Hostile;
use crate::environment::{CITIZEN, TestEnvironment, copy, new_key, request};
use punte::domain::AgencyName;
use std::path::Path;

/// As an agency may write them, and as an office gets them; a double holds hardly any of them. An exponent
/// has one spelling, and the integer zero no sign.
const WRITTEN: [(&str, &str); 12] = [
    ("12345678901234567890123", "12345678901234567890123"),
    ("-98765432109876543210987", "-98765432109876543210987"),
    ("1E400", "1e+400"),
    ("-0", "0"),
    ("-0.0", "-0.0"),
    ("1.10", "1.10"),
    ("0.1234567891", "0.1234567891"),
    ("1234567890.0123456789", "1234567890.0123456789"),
    ("100000000000000000000000.000000000000000000001", "100000000000000000000000.000000000000000000001"),
    ("-1.50e-7", "-1.50e-7"),
    ("1e5", "1e+5"),
    ("0E+0", "0e+0"),
];

fn edit(file: &Path, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed, "{} was not changed", file.display());
    std::fs::write(file, changed).unwrap();
}

/// Both agencies hand on whatever number they are told, and nobody signs.
fn write_fixtures(folder: &Path) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&project.join("adapters"), &folder.join("adapters"));
    copy(&project.join("schemas/services"), &folder.join("services"));
    let in_adapters = |file: &str| folder.join("adapters").join(file);
    let in_services = |file: &str| folder.join("services").join(file);
    edit(&in_adapters("legal-events/agency.toml"), |text| {
        let (head, tail) = text.split_once("[seal]").unwrap();
        let operation = tail.split_once("[operations.legal-event]").unwrap().1;
        let cannot = "correlates = { cannot = \"it says the same to everybody\" }";
        format!(
            "{head}[seal]\nkind = \"none\"\n[seal.answer]\nkind = \"none\"\n[operations.legal-event]\n{cannot}{operation}"
        )
    });
    edit(&in_adapters("legal-events/legal-event/answer.jq"), |text| {
        let handed_on = "(if .body.numbers then {numbers: .body.numbers} else {} end)";
        text.replace(
            "registered_at: .body.registered_at}}",
            &format!("registered_at: .body.registered_at}} + {handed_on}}}"),
        )
    });
    edit(&in_services("legal-event/answer.schema.json"), |text| {
        text.replacen("\"uid\": {", "\"numbers\": true, \"uid\": {", 1)
    });
    edit(&in_adapters("civil-registry/person-lookup/answer.jq"), |text| {
        let read = "(.[\"cr:FamilyName\"] | try {number: tonumber} catch {})";
        text.replace("} + (.[\"cr:Address\"]", &format!("}} + {read} + (.[\"cr:Address\"]"))
    });
    edit(&in_services("person-lookup/answer.schema.json"), |text| {
        text.replacen("\"family_name\": {", "\"number\": true, \"family_name\": {", 1)
    });
}

async fn env_with(agency: &str) -> (TestEnvironment, Hostile, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write_fixtures(folder.path());
    let hostile = Hostile::default();
    let (player, agency): (Hostile, AgencyName) = (hostile.clone(), agency.parse().unwrap());
    let env = TestEnvironment::planned(|plan| {
        (plan.adapters, plan.services) = (folder.path().join("adapters"), folder.path().join("services"));
        let begin = move |keys: &Path| format!("https://localhost:{}/x", player.begin(keys));
        plan.external_agencies.insert(agency, Box::new(begin));
    });
    (env.await, hostile, folder)
}

/// What the office reads of it, to the byte.
async fn text_of(env: &TestEnvironment, id: &str) -> String {
    env.ends(id, "completed").await;
    let response = env.office.get(format!("{}/v1/submissions/{id}", env.stack.gateway())).send().await.unwrap();
    response.text().await.unwrap()
}

/// The legal event with these details, as an office writes them.
async fn post_details(env: &TestEnvironment, details: &str) -> (u16, String) {
    let mut event = request("legal-event", CITIZEN);
    event["data"]["details"] = "DETAILS".into();
    let posting = env.posting(&new_key(), event.to_string().replace("\"DETAILS\"", details));
    let response = posting.header("prefer", "wait=20").send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_json_goes_over_the_whole_way_in_both_directions_without_losing_a_digit() {
    let (env, hostile, _folder) = env_with("legal-events").await;
    let answered = WRITTEN.map(|(written, _)| written).join(",");
    let body = format!("{{\"uid\":\"1\",\"registered_at\":\"2026-03-02T08:30:01Z\",\"numbers\":[{answered}]}}");
    hostile.says(200, "content-type: application/json\r\n", body);
    let details = "{\"long\":18446744073709551615,\"zero\":-0,\"places\":0.1234567891,\"fee\":1.10,\"text\":\"1.10\"}";
    let (status, said) = post_details(&env, details).await;
    let expected = format!("\"numbers\":[{}]", WRITTEN.map(|(_, got)| got).join(","));
    assert!(status == 200 && said.contains(&expected), "{status}: {said}\nhas not {expected}");
    let id = serde_json::from_str::<serde_json::Value>(&said).unwrap()["id"].as_str().unwrap().to_owned();
    let shown = text_of(&env, &id).await;
    assert!(shown.contains(&expected), "{shown}\nhas not {expected}");
    // Templates print values: the fee's last place is none of its value.
    let attempts = env.stack.process().unwrap().journal.attempts(id.parse().unwrap()).await.unwrap();
    let sent = String::from_utf8(attempts[0].wire.as_ref().unwrap().sent.clone()).unwrap();
    let wire = "{\"long\":18446744073709551615,\"zero\":0,\"places\":0.1234567891,\"fee\":1.1,\"text\":\"1.10\"}";
    assert!(sent.contains(wire), "{sent}\nhas not {wire}");
    for number in
        ["12345678901234567890123", "1E400", "1234567890.0123456789", "100000000000000000000000.000000000000000000001"]
    {
        let (status, said) = post_details(&env, &format!("{{\"n\":{number}}}")).await;
        assert!(matches!(status, 400 | 422) && said.contains("/data/details/n"), "{number}: {status} {said}");
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_in_xml_is_text_with_every_digit_and_a_filter_may_make_it_a_number_with_every_digit() {
    let (env, hostile, _folder) = env_with("civil-registry").await;
    for (number, got) in WRITTEN.into_iter().chain([("007", ""), ("+5", "")]) {
        hostile.says_signed_xml(&format!(
            "<LookUpPersonResponse xmlns=\"urn:example:civil-registry:1\"><PersonalNumber>{CITIZEN}</PersonalNumber>\
             <FamilyName>{number}</FamilyName><GivenName>A</GivenName><BirthDate>1980-02-29</BirthDate>\
             </LookUpPersonResponse>"
        ));
        let id = env.post("person-lookup").await;
        let shown = text_of(&env, &id).await;
        let text = format!("\"family_name\":\"{number}\"");
        assert!(shown.contains(&text), "{shown}\nhas not {text}");
        if !got.is_empty() {
            let made = format!("\"number\":{got}");
            assert!(
                shown.contains(&format!("{made},")) || shown.contains(&format!("{made}}}")),
                "{shown}\nhas not {made}"
            );
        }
    }
    env.leave().await;
}
