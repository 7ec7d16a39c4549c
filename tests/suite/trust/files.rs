//! Nothing that a file of trust holds is lost: it is read, or it is refused in words.

use super::{
    forge::{Forge, LISTED_AT, meet_server},
    pki::{now, pki},
};
use punte::trust::{
    AgencyRoots, AnswerPolicy, AnswerProfile, CertificateRefusal, ClientTrust, ClientTrustFiles, Identity,
    SealAsWritten, TrustError,
};
use std::{fs, path::Path};

fn told<T>(result: Result<T, TrustError>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn two_files_that_were_glued_together_count_both() {
    let (forge, other) = (Forge::new(), Forge::named("Another authority", |_| {}));
    let office = forge.issue(|_| {});
    let glued = |parts: &[&str]| parts.iter().map(|part| part.trim_end()).collect::<String>();
    for text in [
        glued(&[&other.authority.pem(), &forge.authority.pem(), &forge.list(&["4711"], "")]),
        glued(&[&forge.authority.pem(), &forge.list(&["4711"], "")]).replace('\n', "\r\n"),
        format!("\u{feff}  {}  {}", forge.authority.pem().trim(), forge.list(&["4711"], "").trim()),
    ] {
        let file = forge.write("glued.pem", text);
        let files = ClientTrustFiles { authorities: vec![file.clone()], revocation_lists: vec![] };
        let trust = ClientTrust::load(&files, now()).unwrap();
        assert_eq!(trust.judge(std::slice::from_ref(&office.der), now()), Err(CertificateRefusal::Revoked));
        let said = meet_server(&AgencyRoots::load(&file).unwrap(), &office);
        assert!(said.as_ref().is_some_and(|said| said.contains("has been revoked")), "{said:?}");
    }
    // Two lists in one file, the one that counts behind the other.
    let lists = forge.write("lists.crl", glued(&[&other.list(&[], ""), &forge.list(&["4711"], "")]));
    let authorities = vec![forge.path("ca.pem"), other.path("ca.pem")];
    let trust = ClientTrust::load(&ClientTrustFiles { authorities, revocation_lists: vec![lists] }, now()).unwrap();
    assert_eq!(trust.judge(std::slice::from_ref(&office.der), now()), Err(CertificateRefusal::Revoked));
}

#[test]
fn a_section_that_cannot_be_read_is_told_with_its_line_in_every_kind_of_file() {
    let forge = Forge::new();
    let (authority, list) = (forge.authority.pem(), forge.list(&["4711"], ""));
    let leaf = forge.issue(|_| {});
    let torn = list.replace("-----END X509 CRL-----", "");
    let lines = authority.lines().count() + 1;
    let file = forge.write("torn.pem", format!("{authority}{torn}"));
    let files = ClientTrustFiles { authorities: vec![file.clone()], revocation_lists: vec![] };
    let place = format!("torn.pem: line {lines}: ");
    let key = forge.write("leaf.key", leaf.key.serialize_pem());
    let pinned = pinned(&file);
    for said in [
        told(ClientTrust::load(&files, now())),
        told(AgencyRoots::load(&file)),
        told(Identity::load(&file, &key, now())),
        told(AnswerPolicy::load(&pinned, now())),
        told(Identity::load(&pki().office("causeni.pem"), &file, now())),
    ] {
        assert!(said.contains(&place) && said.contains("END"), "{said}");
    }
}

/// `cat ca.pem list.der`, `>>` of PowerShell, a list whose edges were lost: each would be a list that counts for nothing.
#[test]
fn bytes_outside_of_sections_that_are_no_text_are_told_with_their_line_in_every_kind_of_file() {
    let forge = Forge::new();
    let (authority, list, leaf) = (forge.authority.pem(), forge.list(&["4711"], ""), forge.issue(|_| {}));
    let key = forge.write("leaf.key", leaf.key.serialize_pem());
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let body: String = list.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &body).unwrap();
    let in_lines = |width: usize| {
        let lines = body.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned());
        lines.collect::<Vec<_>>().join("\n").into_bytes()
    };
    let all = [
        (der.clone(), "DER"),
        (wide(&list), "UTF-16"),
        ([&[0xff, 0xfe][..], &wide(&list)].concat(), "UTF-16"),
        ([&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0][..], &der].concat(), "compressed"),
        (in_lines(48), "base64"),
        (in_lines(64), "base64"),
        (in_lines(7), "base64"),
        (in_lines(10_000), "base64"),
    ];
    for (lost, expected) in all {
        for text in [&authority, &list, &leaf.key.serialize_pem()] {
            let place = format!("lost.pem: line {}: ", text.lines().count() + 1);
            let file = forge.write("lost.pem", [text.as_bytes(), &lost].concat());
            let files = ClientTrustFiles { authorities: vec![file.clone()], revocation_lists: vec![] };
            for said in [
                told(ClientTrust::load(&files, now())),
                told(forge.trust(&[&file])),
                told(AgencyRoots::load(&file)),
                told(Identity::load(&file, &key, now())),
                told(AnswerPolicy::load(&pinned(&file), now())),
                told(Identity::load(&pki().office("causeni.pem"), &file, now())),
            ] {
                assert!(said.contains(&place) && said.contains(expected), "{expected}: {said}");
            }
        }
    }
    // A file of UTF-16 to which something else was added.
    let utf16 = [&[0xff, 0xfe][..], &wide(&authority)].concat();
    for lost in [list.clone() + if list.len() % 2 == 0 { "" } else { "\n" }, list.clone() + " \n", body.clone()] {
        let said = told(AgencyRoots::load(&forge.write("lost.pem", [&utf16, lost.as_bytes()].concat())));
        assert!(said.contains("line ") && said.contains("UTF-16"), "{said}");
    }
    let said = told(AgencyRoots::load(&forge.write("lost.pem", [&utf16[..], &der].concat())));
    assert!(said.contains("line ") && said.contains("UTF-16"), "{said}");
    assert_eq!(told(AgencyRoots::load(&forge.write("good.pem", [&utf16[..], &wide(&list)].concat()))), "");
}

fn pinned(path: &Path) -> AnswerProfile {
    let text = format!(
        "kind = \"none\"\n[answer]\nkind = \"wss\"\nalgorithms = [\"ecdsa-sha256\"]\ncertificates = [{:?}]",
        path.display().to_string()
    );
    toml::from_str::<SealAsWritten>(&text).unwrap().check(Path::new("/")).unwrap().answer
}

#[test]
fn what_counts_for_nothing_where_it_stands_is_refused_with_the_way_out() {
    let forge = Forge::new();
    let (authority, list, leaf) = (forge.authority.pem(), forge.list(&["4711"], ""), forge.issue(|_| {}));
    let convert = |arguments: &[&str]| {
        let done = std::process::Command::new("openssl").args(arguments).current_dir(forge.path("")).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let bundle = convert(&["crl2pkcs7", "-nocrl", "-certfile", "ca.pem"]);
    let trusted = convert(&["x509", "-trustout", "-in", "ca.pem"]);
    for (text, expected) in [
        (format!("{authority}{bundle}"), "openssl pkcs7 -print_certs"),
        (trusted, "openssl x509"),
        (format!("{authority}-----BEGIN PUNTE-----\nAAAA\n-----END PUNTE-----\n"), "PUNTE"),
        (authority.replace("-----BEGIN", "----BEGIN"), "edge of a section"),
        (list.clone(), "no certificate"),
    ] {
        let said = told(AgencyRoots::load(&forge.write("bad.pem", text)));
        assert!(said.contains(expected), "{said}");
    }
    let certificate = forge.write("leaf.pem", &leaf.pem);
    forge.write("leaf.key", leaf.key.serialize_pem());
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let encrypted = convert(&["pkcs8", "-topk8", "-in", "leaf.key", "-passout", "pass:geheim"]);
    let old = convert(&["ec", "-in", "leaf.key", "-aes128", "-passout", "pass:geheim"]);
    for (text, expected) in [
        (leaf.key.serialize_pem().trim_end().to_owned() + &other, "two private keys"),
        (encrypted, "openssl pkcs8 -topk8 -nocrypt"),
        (old, "openssl pkcs8 -topk8 -nocrypt"),
        (leaf.pem.clone(), "no private key"),
    ] {
        let said = told(Identity::load(&certificate, &forge.write("bad.key", text), now()));
        assert!(said.contains(expected) && !said.contains("geheim"), "{said}");
    }
    let said = told(forge.trust(&[&forge.path("ca.pem")]));
    assert!(said.contains("a certificate stands there"), "{said}");
    let said = told(Identity::load(&forge.write("both.pem", leaf.pem.clone() + &list), &forge.path("leaf.key"), now()));
    assert!(said.contains("client_crl"), "{said}");
    // In the wrong order, as some authorities send them.
    let reversed = forge.write("reversed.pem", format!("{authority}{}", leaf.pem));
    let said = told(Identity::load(&reversed, &forge.path("leaf.key"), now()));
    assert!(said.contains("put it first"), "{said}");
}

/// The renewed certificate at the end of the key's file, and its like.
#[test]
fn what_counts_for_nothing_in_a_pair_of_files_is_told_unless_both_are_one_file() {
    let forge = Forge::new();
    let (leaf, renewed) = (forge.issue(|_| {}), forge.issue(|_| {}));
    let (own, key, public) = (leaf.pem.clone(), leaf.key.serialize_pem(), leaf.key.public_key_pem());
    let passed_over = |certificate: &Path, key: &Path| {
        let told = Identity::load(certificate, key, now()).unwrap().warnings;
        told.into_iter().filter(|it| it.contains("is passed over")).collect::<Vec<_>>()
    };
    let told = |certificate: &str, key: &str| {
        passed_over(&forge.write("client.pem", certificate), &forge.write("client.key", key))
    };
    let after = |text: &str| text.lines().count() + 1;
    for (certificate, key, place, what) in [
        (own.clone(), key.clone() + &renewed.pem, format!("client.key: line {}: ", after(&key)), "a certificate"),
        (own.clone(), key.clone() + &public, format!("client.key: line {}: ", after(&key)), "a public key"),
        (own.clone() + &key, key.clone(), format!("client.pem: line {}: ", after(&own)), "a private key"),
        (own.clone() + &public, key.clone(), format!("client.pem: line {}: ", after(&own)), "a public key"),
    ] {
        let told = told(&certificate, &key);
        assert!(told.len() == 1 && told[0].contains(&format!("{place}{what}")), "{place}: {told:?}");
    }
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    assert_eq!(told(&own, &format!("{parameters}{key}")), [""; 0], "OpenSSL writes them before each key");
    let both = forge.write("both.pem", format!("{own}{key}"));
    assert_eq!(passed_over(&both, &both), [""; 0]);
    let told = AnswerPolicy::load(&pinned(&forge.write("pinned.pem", format!("{public}{own}"))), now()).unwrap();
    let told = told.warnings(now()).join(" ");
    assert!(told.contains("pinned.pem: line 1: a public key is passed over"), "{told}");
}

#[test]
fn der_is_read_to_its_end() {
    let forge = Forge::new();
    let office = forge.issue(|_| {});
    let list = forge.write("list.pem", forge.list(&["4711"], ""));
    let der = forge.path("list.der");
    let done = std::process::Command::new("openssl")
        .args(["crl", "-outform", "DER", "-in"])
        .arg(&list)
        .arg("-out")
        .arg(&der)
        .output();
    assert!(done.unwrap().status.success());
    let both = [forge.authority.der().to_vec(), fs::read(&der).unwrap()].concat();
    let file = forge.write("both.der", &both);
    let files = ClientTrustFiles { authorities: vec![file], revocation_lists: vec![] };
    let trust = ClientTrust::load(&files, now()).unwrap();
    assert_eq!(trust.judge(&[office.der], now()), Err(CertificateRefusal::Revoked));
    for cut in [&both[..both.len() - 1], &[&both[..], b"\n"].concat()] {
        let said = told(AgencyRoots::load(&forge.write("cut.der", cut)));
        assert!(said.contains("DER"), "{said}");
    }
}

#[test]
fn a_list_counts_whatever_its_distribution_point_says() {
    let forge = Forge::new();
    let office = forge.issue(|_| {});
    let point = |line: &str| format!("issuingDistributionPoint=critical,@point\n[point]\n{line}");
    for extensions in [
        String::new(),
        "crlNumber=DER:020101".replace("crlNumber", "2.5.29.20"),
        point(&format!("fullname=URI:{LISTED_AT}")),
        point("fullname=URI:http://elsewhere.example/b.crl"),
        point("fullname=URI:http://elsewhere.example/b.crl\nonlyuser=TRUE"),
        point("onlyuser=TRUE"),
        point("onlyCA=TRUE"),
        point("onlysomereasons=keyCompromise"),
        point("relativename=name\n[name]\nCN=part 7"),
    ] {
        let list = forge.write("list.crl", forge.list(&["4711"], &extensions));
        let trust = forge.trust(&[&list]).unwrap_or_else(|error| panic!("{extensions}: {error}"));
        assert_eq!(
            trust.judge(std::slice::from_ref(&office.der), now()),
            Err(CertificateRefusal::Revoked),
            "{extensions}"
        );
        let both = forge.write("both.pem", forge.authority.pem() + &fs::read_to_string(&list).unwrap());
        let said = meet_server(&AgencyRoots::load(&both).unwrap(), &office);
        assert!(said.as_ref().is_some_and(|said| said.contains("has been revoked")), "{extensions}: {said:?}");
    }
    let told: Vec<_> = ["onlyCA=TRUE", "onlysomereasons=keyCompromise"]
        .iter()
        .flat_map(|line| {
            let list = forge.write("list.crl", forge.list(&[], &point(line)));
            forge.trust(&[&list]).unwrap().warnings(now())
        })
        .collect();
    assert_eq!(told.len(), 2, "what a list leaves out is told: {told:?}");
}

#[test]
fn a_list_that_covers_nothing_or_is_not_understood_is_refused_by_name() {
    let forge = Forge::new();
    let point = |line: &str| format!("issuingDistributionPoint=critical,@point\n[point]\n{line}");
    for (extensions, expected) in [
        ("2.5.29.27=critical,DER:020101".to_owned(), "delta list"),
        ("1.2.3.4=critical,DER:0500".to_owned(), "critical extension 1.2.3.4"),
        (point("indirectCRL=TRUE"), "indirect list"),
        (point("onlyAA=TRUE"), "covers nothing"),
        ("2.5.29.28=critical,DER:0500".to_owned(), "malformed"),
        ("2.5.29.28=critical,DER:30068101FF8201FF".to_owned(), "covers nothing"),
    ] {
        let list = forge.list(&["4711"], &extensions);
        let said = told(forge.trust(&[&forge.write("list.crl", &list)]));
        assert!(said.contains(expected), "{extensions}: {said}");
        let said = told(AgencyRoots::load(&forge.write("both.pem", forge.authority.pem() + &list)));
        assert!(said.contains(expected), "{extensions}: {said}");
    }
    let stranger = Forge::named("Stranger", |_| {});
    let twin = Forge::new();
    let mute = Forge::named("Mute", |params| params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign]);
    let leaves_only = Forge::named("Leaves only", |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    });
    for (authority, list, expected) in [
        (&forge, stranger.list(&[], ""), "no certificate of this authority stands beside it"),
        (&forge, twin.list(&[], ""), "has not signed it"),
        (&mute, mute.list(&[], ""), "cRLSign"),
        (&leaves_only, leaves_only.list(&[], &point("onlyCA=TRUE")), "covers nothing"),
    ] {
        let said = told(AgencyRoots::load(&authority.write("both.pem", authority.authority.pem() + &list)));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_newer_list_takes_an_older_ones_place_and_the_order_in_the_file_does_not_matter() {
    let forge = Forge::new();
    let office = forge.issue(|_| {});
    let older = forge.list(&[], "");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let newer = forge.list(&["4711"], "");
    for text in [format!("{older}{newer}"), format!("{newer}{older}")] {
        let trust = forge.trust(&[&forge.write("lists.crl", text)]).unwrap();
        assert_eq!(trust.judge(std::slice::from_ref(&office.der), now()), Err(CertificateRefusal::Revoked));
        let told = trust.warnings(now());
        assert!(told.len() == 1 && told[0].contains("passed over"), "{told:?}");
    }
}

#[test]
fn a_negative_serial_number_is_revoked_as_itself_and_not_as_its_positive_twin() {
    let forge = Forge::new();
    let issue = |serial: &str, file: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        forge.write("negative.key", key.serialize_pem());
        forge.write(
            "negative.cnf",
            "keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n",
        );
        let shell = format!(
            "openssl req -new -key negative.key -subj /CN=negative -out request.pem && openssl x509 -req -in request.pem \
             -CA ca.pem -CAkey ca.key -set_serial {serial} -extfile negative.cnf -days 30 -out {file}"
        );
        let done = std::process::Command::new("sh").args(["-c", &shell]).current_dir(forge.path("")).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::CertificateDer::from_pem_file(forge.path(file)).unwrap()
    };
    let (negative, positive) = (issue("-255", "negative.pem"), issue("65281", "positive.pem"));
    let trust = forge.trust(&[&forge.write("list.crl", forge.list(&["-FF"], ""))]).unwrap();
    assert_eq!(trust.judge(std::slice::from_ref(&negative), now()), Err(CertificateRefusal::Revoked));
    assert_eq!(trust.judge(&[positive], now()).unwrap().serial_hex, "ff01");
    let trust = forge.trust(&[]).unwrap();
    assert_eq!(trust.judge(&[negative], now()).unwrap().serial_hex, "-ff");
}
