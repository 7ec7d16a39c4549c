//! Others' servers accept us: a SOAP agency of spyne, zeep and xmlsec, and an HTTP agency of jwcrypto.

use crate::environment::TestEnvironment;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

/// A server of somebody else's, and what it has said.
struct Foreign {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    port: u16,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Foreign {
    fn begin(script: &str, keys: &Path) -> Self {
        let python = std::env::var("PUNTE_TEST_PYTHON").expect("PUNTE_TEST_PYTHON is not set: run tests/run");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
        let mut child = Command::new(python).arg(script).arg(keys).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect("the server did not start").unwrap().parse().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let ears = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                ears.lock().unwrap().push(line);
            }
        });
        Self { child, said, port }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }
}

/// The environment, with one agency played by a foreign server.
async fn env_with(
    agency: &str,
    script: &'static str,
    path: &'static str,
) -> (TestEnvironment, Arc<Mutex<Option<Foreign>>>) {
    let foreign = Arc::new(Mutex::new(None));
    let slot = foreign.clone();
    let env = TestEnvironment::planned(|plan| {
        let player = move |keys: &Path| {
            let server = Foreign::begin(script, keys);
            let endpoint = format!("https://localhost:{}{path}", server.port);
            *slot.lock().unwrap() = Some(server);
            endpoint
        };
        plan.external_agencies.insert(agency.parse().unwrap(), Box::new(player));
    })
    .await;
    (env, foreign)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soap_server_of_python_accepts_us_and_we_accept_its_answer() {
    let (env, foreign) = env_with("civil-registry", "soap_agency.py", "/registry").await;
    let id = env.post("person-lookup").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["answer"]["person"]["family_name"], "Exemplar", "{shown:#}");
    let said = foreign.lock().unwrap().as_ref().unwrap().said();
    assert!(said.contains("zeep: signature verified 00-"), "{said}");
    assert!(said.contains("spyne: LookUpPerson without address"), "{said}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_server_of_python_accepts_us_and_we_accept_its_answer() {
    let (env, foreign) = env_with("legal-events", "http_agency.py", "/api").await;
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["answer"]["uid"].as_str().unwrap().len(), 36, "{shown:#}");
    let said = foreign.lock().unwrap().as_ref().unwrap().said();
    assert!(said.contains("jwcrypto: signature verified Punte.Residence.Registered 00-"), "{said}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_as_it_should_be_but_of_no_use_completes_nothing() {
    let (env, _foreign) = env_with("legal-events", "http_agency.py", "/api").await;
    let cases = [
        ("Punte.Odd.Uid", "agency.answer.schema"),
        ("Punte.Odd.List", "bus.answer.mapping"),
        ("Punte.Odd.Other", "agency.answer.unexpected"),
    ];
    for (event_type, code) in cases {
        let mut request = crate::environment::request("legal-event", crate::environment::CITIZEN);
        request["data"]["event_type"] = event_type.into();
        let id = env.post_request(&request).await;
        let shown = env.until(&id, &["retrying", "completed", "refused", "parked"]).await;
        assert_eq!((&shown["state"], &shown["fault"]["code"]), (&"retrying".into(), &code.into()), "{shown:#}");
    }
    env.leave().await;
}
