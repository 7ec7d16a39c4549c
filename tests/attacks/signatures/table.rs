//! The corpus against the verifier and against `punte trust verify`: every case has the verdict that it must have.

use crate::{
    allocations::{Cost, measured},
    corpus::{self, Case},
    pki::{now, pki, policy},
};
use punte::{
    soap::content::{TextKind, charset},
    trust::{
        AnswerKind, ReplayCache,
        wss::{self, WssRefusal},
    },
    xml,
};
use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Duration};

/// The verdict, and the name that the verified Body tells. Read as an answer is in delivery.
fn judged(message: &[u8]) -> (&'static str, Option<String>) {
    let Ok(text) = charset::decode(message, None, TextKind::Xml) else { return ("xml", None) };
    let read = || -> Result<Option<String>, WssRefusal> {
        let document = xml::parse(&text)?;
        let verified = wss::verify(&document, &policy("soap", AnswerKind::Wss), now(), &ReplayCache::default())?;
        let body = document.get_node(verified.body).unwrap();
        let name = body.descendants().find(|node| node.has_tag_name(("urn:demo", "Name")));
        Ok(name.and_then(|name| name.text()).map(str::to_owned))
    };
    match read() {
        Ok(name) => ("accepted", name),
        Err(refusal) => (refusal.reason(), None),
    }
}

#[test]
fn every_forged_message_is_refused_for_its_own_reason() {
    let cases = corpus::forged();
    let mut wrong = Vec::new();
    let mut most = Cost::default();
    for case in &cases {
        let ((reason, _), cost) = measured(|| judged(&case.message));
        most = most.most(cost);
        if reason != case.expected {
            wrong.push(format!("{}: {reason} instead of {}", case.name, case.expected));
        }
    }
    println!("{} forged messages, none accepted; the dearest took {most:?}", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 300, "{}", cases.len());
    assert!(most.time < Duration::from_secs(2), "{most:?}");
    assert!(most.bytes < 128 << 20, "{most:?}");
}

#[test]
fn no_two_cases_of_the_corpus_have_the_same_name() {
    let mut names: Vec<_> = corpus::forged().into_iter().chain(corpus::genuine()).map(|case| case.name).collect();
    names.sort();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}

#[test]
fn every_genuine_message_is_accepted_and_read_as_it_was_signed() {
    for case in corpus::genuine() {
        assert_eq!(judged(&case.message), ("accepted", Some("Ana".to_owned())), "{}", case.name);
    }
}

/// What a reviewer would do with a corpus of her own.
#[test]
fn the_corpus_gets_the_same_verdicts_from_the_program() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("PUNTE_CORPUS");
    let folder = kept.as_ref().map_or(temporary.path(), Path::new);
    let (forged, genuine) = (corpus::forged(), corpus::genuine());
    write(&folder.join("forged"), &forged);
    write(&folder.join("genuine"), &genuine);
    fs::copy(pki().agency("soap", "answer-signing.pem"), folder.join("agency.pem")).unwrap();
    let profile = "[seal]\nkind = \"none\"\n[seal.answer]\nkind = \"wss\"\nalgorithms = [\"rsa-sha256\", \"ecdsa-sha256\"]\ncertificates = [\"agency.pem\"]\n";
    fs::write(folder.join("profile.toml"), profile).unwrap();
    fs::write(folder.join("now.txt"), now().to_string()).unwrap();
    for (policy, file) in [("--profile", "profile.toml"), ("--certificate", "agency.pem")] {
        let (exit, verdicts) = run(folder, &[policy, file, "--message", "forged"]);
        assert_eq!(exit, Some(1));
        compare(&verdicts, &forged);
        let (exit, verdicts) = run(folder, &[policy, file, "--message", "genuine"]);
        assert_eq!(exit, Some(0));
        compare(&verdicts, &genuine);
    }
    let one = format!("genuine/{}.xml", genuine[0].name);
    let (exit, verdicts) = run(folder, &["--profile", "profile.toml", "--in-sequence", "--message", &one, &one]);
    assert_eq!(
        (exit, verdicts[0]["reason"].as_str(), verdicts[1]["reason"].as_str()),
        (Some(1), Some("accepted"), Some("replayed"))
    );
    let (exit, verdicts) = run(folder, &["--profile", "profile.toml", "--message", "forged/nobody.xml"]);
    assert_eq!((exit, verdicts[0]["reason"].as_str()), (Some(1), Some("unreadable")));
}

fn write(folder: &Path, cases: &[Case]) {
    fs::create_dir_all(folder).unwrap();
    for case in cases {
        fs::write(folder.join(format!("{}.xml", case.name)), &case.message).unwrap();
    }
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
    command.current_dir(folder).args(["trust", "verify", "--json", "--now", &now().to_string()]).args(arguments);
    let done = command.output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    (done.status.code(), text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn compare(verdicts: &[Value], cases: &[Case]) {
    assert_eq!(verdicts.len(), cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let is_it = |verdict: &&Value| {
            Path::new(verdict["message"].as_str().unwrap()).file_stem().is_some_and(|stem| *stem == *case.name)
        };
        let verdict = verdicts.iter().find(is_it).unwrap_or_else(|| panic!("no verdict on {}", case.name));
        // A message beyond every size is not even read.
        let expected = if case.message.len() > 16 << 20 { "xml" } else { case.expected };
        if verdict["reason"] != expected {
            wrong.push(format!("{}: {} instead of {expected}", case.name, verdict["reason"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
