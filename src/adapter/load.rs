//! The folder `adapters/` comes in; every agency in it goes out, valid, or all that is wrong with them.

use super::{
    Adapter, Adapters, BreakerPolicy, Coverage, Limits, NotHandled, Operation, Protocol,
    folder::entries,
    not_handled::NotHandledWritten,
    operation, probe,
    proof::prove_examples,
    reader::{Reader, seconds},
    written::{BreakerWritten, LimitsWritten, OperationWritten, ProbeWritten, ProtocolWritten},
};
use crate::{
    catalogue::{Catalogue, subfolders},
    domain::{AgencyName, Schedule, ServiceName},
    settings::{AgencySettings, ConfigFaults, Document, ScheduleWritten},
    trust::{SealAsWritten, SealKind},
};
use reqwest::Url;
use std::{collections::BTreeMap, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

/// Reads one agency from each folder in `folder`, and proves it by its own examples. An agency with any fault is left
/// out, so nothing broken can be used even if the faults are only shown.
pub fn load_adapters(
    folder: &Path,
    catalogue: &Catalogue,
    places: &BTreeMap<AgencyName, AgencySettings>,
    faults: &mut ConfigFaults,
) -> Adapters {
    let mut adapters = Adapters::default();
    for path in subfolders(folder, faults) {
        let mut own = ConfigFaults::default();
        let adapter = load_agency(&path, catalogue, places, &mut own);
        if let Some(adapter) = adapter.filter(|_| own.is_empty()) {
            add(&mut adapters, adapter, &mut own);
        }
        faults.extend(own);
    }
    adapters
}

fn add(adapters: &mut Adapters, adapter: Adapter, faults: &mut ConfigFaults) {
    for service in adapter.operations.keys() {
        match adapters.by_service.get(service) {
            Some(other) => {
                let problem = format!("the agency {other} does this service already");
                let remedy = "remove the operation from one of the two";
                faults.add(adapter.folder.join("agency.toml"), format!("operations.{service}"), problem, remedy);
            }
            None => drop(adapters.by_service.insert(service.clone(), adapter.agency.clone())),
        }
    }
    adapters.agencies.insert(adapter.agency.clone(), Arc::new(adapter));
}

fn load_agency(
    folder: &Path,
    catalogue: &Catalogue,
    places: &BTreeMap<AgencyName, AgencySettings>,
    faults: &mut ConfigFaults,
) -> Option<Adapter> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let agency = name.parse::<AgencyName>().map_err(|error| faults.add(folder, "", error, "rename the folder")).ok();
    let file = folder.join("agency.toml");
    let mut document = Document::read(&file, faults)?;
    let title: Option<String> = document.value("title", "give the agency's name as people know it", faults);
    let protocol = document.value("protocol", "write soap-1.1, soap-1.2 or rest", faults).map(protocol);
    let written: Option<String> = document.value("endpoint", "give the agency's https address", faults);
    let place = agency.as_ref().and_then(|agency| places.get(agency));
    let elsewhere = place.and_then(|place| place.endpoint.as_deref());
    let endpoint = written.and_then(|written| endpoint(&file, elsewhere.unwrap_or(&written), faults));
    let limits = document.section("limits", faults).and_then(|it| limits(&file, &it, faults));
    let written: Option<ScheduleWritten> = document.section("retry", faults);
    let schedule = written.and_then(|own| schedule(&file, &own, agency.as_ref().zip(place), faults));
    let breaker = document.section("breaker", faults).and_then(|it| breaker(&file, &it, faults));
    let probe = document.optional_section::<ProbeWritten>("probe", faults);
    let namespaces: Option<BTreeMap<String, String>> = document.section("namespaces", faults);
    let seal = document.value("seal", "say how messages are signed; kind = \"none\" if they are not", faults);
    let seal = seal.zip(protocol).and_then(|(seal, protocol)| check_seal(&file, seal, protocol, faults));
    let not_handled: Vec<NotHandledWritten> = document.optional("not_handled", faults).unwrap_or_default();
    let written = document.sections::<OperationWritten>("operations", faults);
    document.finish(faults);
    check_files(folder, &written, faults);
    let coverage = seal.as_ref().map_or(Coverage::Body, |(_, coverage)| *coverage);
    let not_handled = NotHandled::check(&file, "not_handled", &not_handled, coverage, faults);
    let reader = Reader {
        agency: agency?,
        folder,
        file,
        catalogue,
        protocol: protocol?,
        endpoint: endpoint?,
        namespaces: namespaces?,
        coverage,
        is_sealed_anew: seal.as_ref().is_some_and(|(seal, _)| seal.kind == SealKind::Wss),
        not_handled,
    };
    let operations = written.into_iter().filter_map(|(name, it)| operation::load(&reader, &name, it, faults));
    let operations: BTreeMap<_, _> = operations.map(|operation| (operation.service.clone(), operation)).collect();
    if operations.is_empty() && faults.is_empty() {
        faults.add(&reader.file, "operations", "is empty", "say with [operations.SERVICE] what the agency does");
    }
    seal.iter().for_each(|(seal, _)| check_components(&reader.file, seal, &operations, faults));
    let probe = probe.and_then(|it| probe::probe(&reader.file, &reader.endpoint, &it, faults));
    let adapter = Adapter {
        agency: reader.agency,
        title: title?,
        folder: folder.to_owned(),
        protocol: reader.protocol,
        endpoint: reader.endpoint,
        limits: limits?,
        schedule: schedule?,
        breaker: breaker?,
        probe,
        seal: seal?.0,
        operations,
    };
    faults.0.extend(prove_examples(&adapter, catalogue));
    Some(adapter)
}

fn protocol(written: ProtocolWritten) -> Protocol {
    match written {
        ProtocolWritten::Soap11 => Protocol::Soap11,
        ProtocolWritten::Soap12 => Protocol::Soap12,
        ProtocolWritten::Rest => Protocol::Rest,
    }
}

/// Checked here, so that it can be made into a profile once the folder of keys is known.
fn check_seal(
    file: &Path,
    seal: SealAsWritten,
    protocol: Protocol,
    faults: &mut ConfigFaults,
) -> Option<(SealAsWritten, Coverage)> {
    let profile = seal.check(Path::new(""));
    let coverage = profile.as_ref().ok().map(|profile| Coverage::of(&profile.answer.kind));
    let of_profile = profile.err().unwrap_or_default();
    for fault in of_profile {
        faults.add(file, format!("seal.{}", fault.key), fault.text, fault.remedy);
    }
    let is_soap = matches!(protocol, Protocol::Soap11 | Protocol::Soap12);
    let kinds = [Some(("seal.kind", seal.kind)), seal.answer.as_ref().map(|answer| ("seal.answer.kind", answer.kind))];
    for (key, kind) in kinds.into_iter().flatten() {
        if kind != SealKind::None && (kind == SealKind::Wss) != is_soap {
            let problem = format!("{} does not go with {}", kind.as_str(), protocol.as_str());
            faults.add(file, key, problem, "write wss for SOAP; a jws or http-signature for rest; or none");
        }
    }
    Some((seal, coverage?))
}

/// A signature cannot cover the content type of a request that has no body.
fn check_components(
    file: &Path,
    seal: &SealAsWritten,
    operations: &BTreeMap<ServiceName, Operation>,
    faults: &mut ConfigFaults,
) {
    let covers = |components: &Vec<String>| components.iter().any(|it| it == "content-type" || it == "content-length");
    let demands = seal.kind == SealKind::HttpSignature && seal.components.as_ref().is_none_or(covers);
    let mut exchanges =
        operations.values().flat_map(|operation| std::iter::once(&operation.request).chain(&operation.lookup));
    if demands && exchanges.any(|exchange| exchange.media_type().is_empty()) {
        let problem = "the content type is to be signed, and a request without a body has none";
        let remedy = "write components = [\"@method\", \"@target-uri\", \"content-digest\"]";
        faults.add(file, "seal.components", problem, remedy);
    }
}

fn endpoint(file: &Path, written: &str, faults: &mut ConfigFaults) -> Option<Url> {
    let is_usable = |url: &Url| {
        url.scheme() == "https" && url.host().is_some() && url.query().is_none() && url.fragment().is_none()
    };
    let url =
        Url::parse(written).ok().filter(is_usable).filter(|url| url.username().is_empty() && url.password().is_none());
    if url.is_none() {
        let remedy = "write https://HOST:PORT/PATH, without user, query or fragment; requests never go without TLS";
        faults.add(file, "endpoint", "is no https address", remedy);
    }
    url
}

fn limits(file: &Path, written: &LimitsWritten, faults: &mut ConfigFaults) -> Option<Limits> {
    let concurrency = NonZeroU32::new(written.concurrency).filter(|it| it.get() <= 1000);
    if concurrency.is_none() {
        faults.add(file, "limits.concurrency", "is out of range", "must be from 1 to 1000");
    }
    if written.requests_per_second == Some(0) {
        faults.add(file, "limits.requests_per_second", "is 0", "must be at least 1; leave it out for no limit");
    }
    if !(1024..=16 << 20).contains(&written.answer_max_bytes) {
        faults.add(file, "limits.answer_max_bytes", "is out of range", "must be from 1024 to 16777216");
    }
    let connect_timeout = seconds(file, "limits.connect_timeout_secs", written.connect_timeout_secs, 60.0, faults);
    let keep_alive = Duration::try_from_secs_f64(written.keep_alive_secs).ok().filter(|it| it.as_secs() < 300);
    if keep_alive.is_none() {
        let remedy = "must be a number of seconds from 0 (a connection for each request) to less than 300";
        faults.add(file, "limits.keep_alive_secs", "is out of range", remedy);
    }
    Some(Limits {
        concurrency: concurrency?,
        requests_per_second: written.requests_per_second.and_then(NonZeroU32::new),
        connect_timeout: connect_timeout?,
        keep_alive: keep_alive?,
        answer_max_bytes: written.answer_max_bytes,
    })
}

/// The agency's own schedule, with what this installation has changed of it. Each is checked, so that a fault names the
/// file that has brought it.
fn schedule(
    file: &Path,
    own: &ScheduleWritten,
    place: Option<(&AgencyName, &AgencySettings)>,
    faults: &mut ConfigFaults,
) -> Option<Schedule> {
    let of_agency = own.check();
    let of_agency =
        of_agency.map_err(|error| faults.add(file, format!("retry.{}", error.key), "is out of range", error.remedy));
    let of_agency = of_agency.ok()?;
    let Some((agency, place)) = place else { return Some(of_agency) };
    let key = |key| format!("agencies.{agency}.retry.{key}");
    let problem = "is out of range (what is not written here, the agency's own [retry] says)";
    let changed = place.retry.over(own).check();
    changed.map_err(|error| faults.add(&place.file, key(error.key), problem, error.remedy)).ok()
}

fn breaker(file: &Path, written: &BreakerWritten, faults: &mut ConfigFaults) -> Option<BreakerPolicy> {
    let failures = NonZeroU32::new(written.failures);
    if failures.is_none() {
        faults.add(file, "breaker.failures", "is 0", "must be at least 1");
    }
    let cooldown = seconds(file, "breaker.cooldown_secs", written.cooldown_secs, 86_400.0, faults);
    Some(BreakerPolicy { failures: failures?, cooldown: cooldown? })
}

/// Nothing lies in an agency's folder without a purpose: a file that nobody reads is most likely misnamed.
fn check_files(folder: &Path, operations: &[(String, OperationWritten)], faults: &mut ConfigFaults) {
    for (path, name) in entries(folder) {
        let is_operation = operations.iter().any(|(operation, _)| *operation == name);
        if path.is_dir() && !is_operation {
            let remedy = format!("write [operations.{name}] in agency.toml, or remove the folder");
            faults.add(path, "", "is the folder of no operation", remedy);
        } else if path.is_file() && name != "agency.toml" && !name.ends_with(".md") {
            faults.add(path, "", "is not used", "remove it, or mend its name");
        }
    }
}
