//! schemathesis asks a whole environment everything that its OpenAPI document allows, and much that it does not. Each answer is
//! held against the document by its checks, and once more by ours.

use crate::{environment::TestEnvironment, front::environment::route_of};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,\
                      missing_required_header";
const SECS: &str = "20";
const ENOUGH: usize = 800;

/// How often which operation was answered with which status.
type Seen = BTreeMap<(String, String, u64), usize>;

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_5xx_nothing_undocumented_and_only_problems() {
    let env = TestEnvironment::started().await;
    let answered = env.post("person-lookup").await;
    env.ends(&answered, "completed").await;
    let mut seen = Seen::new();
    let known = format!("[parameters]\n\"path.id\" = \"{answered}\"\n\"path.service\" = \"person-lookup\"\n");
    // Once as a stranger to all identifiers, and once with some that exist; again on a machine that is too busy for many.
    for seed in 20_261_122..20_261_126 {
        run(&env, "", seed, &mut seen).await;
        run(&env, &known, seed, &mut seen).await;
        if seen.values().sum::<usize>() > ENOUGH {
            break;
        }
    }
    let total: usize = seen.values().sum();
    let by_status = seen.iter().fold(BTreeMap::<u64, usize>::new(), |mut sums, ((_, _, status), count)| {
        *sums.entry(*status).or_default() += count;
        sums
    });
    println!("schemathesis: {total} answers, by status {by_status:?}");
    assert!(total > ENOUGH, "only {total} requests were sent: {seen:?}");
    let succeeded: BTreeSet<_> =
        seen.keys().filter(|key| key.2 < 300).map(|key| (key.0.as_str(), key.1.as_str())).collect();
    for operation in [
        ("GET", "/v1/services"),
        ("GET", "/v1/services/{service}"),
        ("GET", "/v1/submissions"),
        ("GET", "/v1/submissions/{id}"),
        ("GET", "/v1/submissions/{id}/events"),
        ("POST", "/v1/submissions"),
        ("POST", "/v1/attachments"),
    ] {
        assert!(succeeded.contains(&operation), "{operation:?} never succeeded: {seen:?}");
    }
    env.leave().await;
}

async fn run(env: &TestEnvironment, config: &str, seed: u32, seen: &mut Seen) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("schemathesis.toml"), config).unwrap();
    let report = folder.path().join("report.ndjson");
    let (gateway, secrets, at) = (env.stack.gateway(), env.stack.secrets(), folder.path().to_owned());
    let finished = {
        let report = report.clone();
        tokio::task::spawn_blocking(move || command(&gateway, &secrets, &at, &report, seed).output().unwrap())
            .await
            .unwrap()
    };
    let told = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success(), "{told}\n{}", String::from_utf8_lossy(&finished.stderr));
    let document: Value = serde_json::from_str(punte::roles::gateway::openapi::DOCUMENT).unwrap();
    for line in std::fs::read_to_string(report).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let interactions = &event["ScenarioFinished"]["recorder"]["interactions"];
        interactions.as_object().into_iter().flatten().for_each(|(_, interaction)| judge(interaction, &document, seen));
    }
}

fn command(gateway: &str, secrets: &Path, at: &Path, report: &Path, seed: u32) -> Command {
    let python =
        std::env::var("PUNTE_TEST_PYTHON").expect("PUNTE_TEST_PYTHON is not set: start the tests with tests/run");
    let office = |file: &str| secrets.join("offices").join(file);
    let mut command = Command::new(PathBuf::from(python).with_file_name("schemathesis"));
    command.current_dir(at).arg("run").arg(format!("{gateway}/v1/openapi.json")).args(["--url", gateway]);
    command.arg("--tls-verify").arg(secrets.join("gateway/server-ca.pem"));
    command.arg("--request-cert").arg(office("causeni.pem")).arg("--request-cert-key").arg(office("causeni.key"));
    command.args(["--checks", CHECKS, "--max-time", SECS, "--max-examples", "60", "--seed", &seed.to_string()]);
    command.args(["--continue-on-failure", "--no-shrink", "--generation-database", "none", "--no-color"]);
    command.arg("--report").arg("ndjson").arg("--report-ndjson-path").arg(report);
    command
}

/// Whatever schemathesis thinks of it.
fn judge(interaction: &Value, document: &Value, seen: &mut Seen) {
    let (request, response) = (&interaction["request"], &interaction["response"]);
    let Some(status) = response["status_code"].as_u64() else { return };
    let method = request["method"].as_str().unwrap();
    let uri = reqwest::Url::parse(request["uri"].as_str().unwrap()).unwrap();
    let (path, operation) = operation_of(document, method, uri.path());
    assert!(status < 500, "{method} {uri} {status}");
    let is_documented = match operation {
        Some(operation) => operation["responses"][status.to_string()].is_object(),
        // No address of ours, or no method of this one.
        None => matches!(status, 404 | 405 | 403 | 429 | 400),
    };
    assert!(is_documented, "{method} {uri}: {status} is not documented");
    let media_type = response["headers"]["content-type"][0].as_str().unwrap_or_default();
    assert!(status < 400 || media_type == "application/problem+json", "{method} {uri} {status}: {media_type:?}");
    *seen.entry((method.to_owned(), path, status)).or_default() += 1;
}

fn operation_of<'a>(document: &'a Value, method: &str, path: &str) -> (String, Option<&'a Value>) {
    let method = http::Method::from_bytes(method.as_bytes()).unwrap();
    match route_of(&method, path) {
        Some(route) => {
            let operation = &document["paths"][route.path][method.as_str().to_lowercase()];
            (route.path.to_owned(), Some(operation))
        }
        None => ("other".to_owned(), None),
    }
}
