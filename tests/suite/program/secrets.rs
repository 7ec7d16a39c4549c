//! Whoever else on the machine could read, write or replace a file that holds a secret: operators are told, for every kind.

use super::*;
use std::{fs, os::unix::fs::PermissionsExt, sync::mpsc::Receiver};

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A configuration that names a file for every kind of secret.
fn with_every_kind() -> Folder {
    let folder = Folder::new();
    let secrets = folder.0.path().join("config/secrets");
    fs::create_dir(secrets.join("broker")).unwrap();
    for (file, text) in [
        ("journal-url", "postgres://punte@localhost/bus"),
        ("journal-password", "s3cret"),
        ("broker/uri", "amqps://punte:s3cret@mq.example/%2f"),
        ("webhook", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"),
    ] {
        fs::write(secrets.join(file), text).unwrap();
        set(&secrets.join(file), 0o640);
    }
    for file in ["client.pem", "client.key"] {
        fs::copy(secrets.join("agencies/civil-registry").join(file), secrets.join("broker").join(file)).unwrap();
    }
    let journal = "url_file = \"secrets/journal-url\"\npassfile = \"secrets/journal-password\"";
    folder.edit("punte.toml", "url = \"sqlite:../punte-data/journal.db\"", journal);
    let broker = "kind = \"rabbitmq\"\nuri_file = \"secrets/broker/uri\"\nca = \"secrets/gateway/server-ca.pem\"\n\
                  certificate = \"secrets/broker/client.pem\"\nkey = \"secrets/broker/client.key\"";
    folder.edit("punte.toml", "kind = \"embedded\"", broker);
    let webhook = "[offices.causeni.webhook]\nurl = \"https://hooks.example/\"\nsecret_files = [\"secrets/webhook\"]\n\
                   ca = \"secrets/gateway/server-ca.pem\"\n[offices.shkoder]";
    folder.edit("offices.toml", "[offices.shkoder]", webhook);
    folder
}

/// The warnings that speak of rights.
fn warned(folder: &Folder) -> Vec<String> {
    let checked = punte(&["check", "--json", "--config", &folder.config()]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(code(&checked), 0, "{report}");
    let warnings = report["warnings"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
    warnings.filter(|text| text.contains("everybody")).collect()
}

#[test]
fn check_warns_of_every_kind_of_secret_that_everybody_may_read() {
    let folder = with_every_kind();
    assert_eq!(warned(&folder), Vec::<String>::new());
    let config = folder.0.path().join("config");
    for file in [
        "secrets/gateway/server.key",
        "secrets/agencies/civil-registry/client.key",
        "secrets/agencies/civil-registry/signing.key",
        "secrets/agencies/legal-events/signing.key",
        "secrets/broker/uri",
        "secrets/broker/client.key",
        "secrets/journal-url",
        "secrets/journal-password",
        "secrets/webhook",
        "secrets/authorities/gateway.key",
        "secrets/offices/causeni.key",
        "secrets/simulators/legal-events/server.key",
    ] {
        let path = config.join(file);
        let before = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(before & 0o007, 0, "{file} is made with good rights");
        set(&path, 0o644);
        let told = warned(&folder);
        assert_eq!(told.len(), 1, "{file}: {told:?}");
        let way_out = format!("(mode 0644): chmod 640 {}", path.display());
        assert!(told[0].contains("may read it") && told[0].ends_with(&way_out), "{told:?}");
        set(&path, before);
    }
    let secrets = config.join("secrets");
    set(&secrets.join("gateway"), 0o777);
    let told = warned(&folder);
    assert!(told.iter().any(|text| text.contains("server.key can be replaced")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("office-ca.pem can be replaced")), "{told:?}");
    set(&secrets.join("gateway"), 0o775);
    set(&secrets.join("agencies/legal-events/answer-signing.pem"), 0o666);
    set(&secrets.join("gateway/office.crl"), 0o646);
    let told = warned(&folder);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|text| text.contains("says whom to trust") && text.contains("chmod o-w")), "{told:?}");
}

#[test]
fn a_configuration_that_holds_a_password_itself_is_a_secret_too() {
    let folder = Folder::new();
    set(Path::new(&folder.config()), 0o644);
    assert_eq!(warned(&folder), Vec::<String>::new());
    let url = "url = \"sqlite:../punte-data/journal.db\"";
    folder.edit("punte.toml", url, "url = \"postgres://punte:s3cret@localhost/bus\"");
    let told = warned(&folder);
    assert!(told.len() == 1 && told[0].contains("punte.toml holds a secret"), "{told:?}");
    set(Path::new(&folder.config()), 0o640);
    assert_eq!(warned(&folder), Vec::<String>::new());
    // Kept in the environment, it is in no file.
    folder.edit("punte.toml", "url = \"postgres://punte:s3cret@localhost/bus\"", url);
    set(Path::new(&folder.config()), 0o644);
    let checked = Command::new(env!("CARGO_BIN_EXE_punte"))
        .args(["check", "--config", &folder.config()])
        .env("PUNTE__JOURNAL__URL", "postgres://punte:s3cret@localhost/bus")
        .output()
        .unwrap();
    assert!(!text(&checked.stdout).contains("everybody"), "{}", text(&checked.stdout));
}

/// The program, and the lines of its log.
fn serve_and_listen(folder: &Folder) -> (Running, Receiver<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_punte"))
        .args(["serve", "--config", &folder.config()])
        .env("PUNTE__GATEWAY__LISTEN", "127.0.0.1:0")
        .env("PUNTE__OPERATIONS__LISTEN", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
    (Running(child), receiver)
}

/// Everything up to the line that holds this.
fn until(lines: &Receiver<String>, wanted: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let line = lines.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("no {wanted}: {seen:#?}"));
        seen.push(line);
        if seen.last().is_some_and(|line| line.contains(wanted)) {
            return seen;
        }
    }
}

#[test]
fn serve_warns_once_at_the_start_and_again_when_key_files_with_bad_rights_are_taken_up() {
    let (folder, other) = (Folder::new(), Folder::new());
    let gateway = |folder: &Folder, file: &str| folder.0.path().join("config/secrets/gateway").join(file);
    let key = gateway(&folder, "server.key");
    set(&key, 0o644);
    let told = format!("chmod 640 {}", key.display());
    let (running, lines) = serve_and_listen(&folder);
    let begun = until(&lines, "health and metrics are served");
    assert_eq!(begun.iter().filter(|line| line.contains(&told)).count(), 1, "{begun:#?}");
    for file in ["server.key", "server.pem"] {
        fs::copy(gateway(&other, file), gateway(&folder, file)).unwrap();
    }
    set(&key, 0o604);
    signal(&running.0, "-HUP");
    let reloaded = until(&lines, &told);
    assert!(reloaded.last().unwrap().contains("(mode 0604)"), "{reloaded:#?}");
    assert_eq!(reloaded.iter().filter(|line| line.contains(&told)).count(), 1, "{reloaded:#?}");
}

#[test]
fn bad_files_of_one_webhook_are_told_by_check_and_serve_and_keep_nobody_from_a_start() {
    let folder = Folder::new();
    let config = folder.0.path().join("config");
    fs::write(config.join("webhook"), "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz").unwrap();
    fs::write(config.join("webhook-ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let webhook = "[offices.causeni.webhook]\nurl = \"https://hooks.example/\"\nsecret_files = [\"webhook\"]\n\
                   ca = \"webhook-ca.pem\"\n[offices.shkoder]";
    folder.edit("offices.toml", "[offices.shkoder]", webhook);
    let checked = punte(&["check", "--config", &folder.config()]);
    let listed = text(&checked.stdout);
    assert_eq!(code(&checked), 3, "{listed}");
    let line = 1 + fs::read_to_string(config.join("offices.toml"))
        .unwrap()
        .lines()
        .position(|it| it.starts_with("ca ="))
        .unwrap();
    let place = format!("offices.toml:{line}: offices.causeni.webhook.ca: ");
    assert!(listed.contains(&place) && listed.contains("does not end"), "{listed}");
    assert_eq!(listed.matches("webhook-ca.pem: ").count(), 1, "{listed}");
    assert!(
        listed.contains("1 fault; `punte serve` starts all the same, without the agencies and webhooks that it stops"),
        "{listed}"
    );
    let (_running, lines) = serve_and_listen(&folder);
    let begun = until(&lines, "health and metrics are served");
    let told: Vec<_> = begun.iter().filter(|line| line.contains("this webhook is stopped")).collect();
    assert!(told.len() == 1 && told[0].contains("office=causeni") && told[0].contains("webhook-ca.pem"), "{begun:#?}");
    let address = begun.last().unwrap().split_once("address=").unwrap().1.trim().to_owned();
    let asked = |path: &str| {
        text(&Command::new("curl").args(["-sS", &format!("http://{address}{path}")]).output().unwrap().stdout)
    };
    let ready: Value = serde_json::from_str(&asked("/healthz/ready")).unwrap();
    assert_eq!((&ready["ready"], &ready["parts"]["webhook of causeni"]["state"]), (&json!(true), &json!("degraded")));
    assert!(ready["parts"]["webhook of causeni"]["why"].as_str().unwrap().contains("webhook-ca.pem"), "{ready}");
    assert!(asked("/metrics").contains("punte_part_state{part=\"webhook of causeni\"} 1"));
}

#[test]
fn throw_away_keys_that_everybody_may_read_are_told_by_who_uses_them() {
    let folder = Folder::new();
    let secrets = folder.0.path().join("config/secrets");
    set(&secrets.join("authorities/offices.key"), 0o644);
    let added = punte(&["pki", "dev", "--out", secrets.to_str().unwrap(), "--office", "durres"]);
    assert_eq!(code(&added), 0, "{}", text(&added.stderr));
    assert!(text(&added.stderr).contains("authorities/offices.key holds a secret"), "{}", text(&added.stderr));
    set(&secrets.join("authorities/offices.key"), 0o600);
    let added = punte(&["pki", "dev", "--out", secrets.to_str().unwrap(), "--office", "durres"]);
    assert_eq!(text(&added.stderr), "");
}

#[test]
fn a_key_files_fault_names_its_path_once() {
    let folder = Folder::new();
    let secrets = folder.0.path().join("config/secrets");
    let other = Folder::new();
    let client = "agencies/civil-registry/client.pem";
    fs::copy(other.0.path().join("config/secrets").join(client), secrets.join(client)).unwrap();
    fs::write(secrets.join("agencies/civil-registry/ca.pem"), "").unwrap();
    fs::remove_file(secrets.join("agencies/civil-registry/signing.key")).unwrap();
    fs::write(secrets.join("agencies/legal-events/answer-signing.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let listed = text(&punte(&["check", "--config", &folder.config()]).stdout);
    let files = [client, "civil-registry/ca.pem", "civil-registry/signing.key", "legal-events/answer-signing.pem"];
    for file in files {
        let lines: Vec<_> = listed.lines().filter(|line| line.contains(file) && line.contains('→')).collect();
        assert!(lines.len() == 1 && lines[0].matches(file).count() == 1, "{file}: {listed}");
    }
    // What the gateway cannot use has the place where it is named.
    fs::write(secrets.join("gateway/server.key"), "no key").unwrap();
    fs::write(secrets.join("gateway/office.crl"), "no list").unwrap();
    let listed = text(&punte(&["check", "--config", &folder.config()]).stdout);
    for (key, file) in [("gateway.key", "gateway/server.key"), ("gateway.client_crl", "gateway/office.crl")] {
        let place =
            listed.lines().find(|line| line.contains(&format!(": {key}: "))).unwrap_or_else(|| panic!("{listed}"));
        assert!(place.contains("punte.toml:") && place.matches(file).count() == 1, "{place}");
    }
}
