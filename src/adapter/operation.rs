//! The folder of one operation and its section of `agency.toml` come in; an operation goes out, compiled and checked.

use super::{
    Address, BodyOf, Contract, Correlates, Exchange, Filter, Form, NotHandled, Operation, Protocol, Purpose, Template,
    contract, examples,
    folder::entries,
    reader::{Reader, seconds},
    unsigned::{Refused, refused_uses},
    written::{CorrelatesWritten, ExchangeWritten, OperationWritten},
};
use crate::{
    domain::{Effect, ServiceName},
    settings::ConfigFaults,
    soap::XmlToJson,
};
use http::{HeaderMap, HeaderValue, Method, header};
use std::path::{Path, PathBuf};

/// One operation while it is read.
struct Place<'a> {
    reader: &'a Reader<'a>,
    folder: PathBuf,
    key: String,
}

pub(super) fn load(
    reader: &Reader<'_>,
    name: &str,
    written: OperationWritten,
    faults: &mut ConfigFaults,
) -> Option<Operation> {
    let key = format!("operations.{name}");
    let service =
        name.parse::<ServiceName>().map_err(|error| faults.add(&reader.file, &key, error, "mend the name")).ok()?;
    if reader.catalogue.get(&service).is_none() {
        let remedy = format!("add the folder schemas/services/{service}, or mend the operation's name");
        faults.add(&reader.file, &key, "there is no such service", remedy);
    }
    let place = Place { reader, folder: reader.folder.join(name), key };
    if !place.folder.is_dir() {
        let remedy = "add the folder with request, answer.jq and examples";
        faults.add(&place.folder, "", format!("is missing, though {} is there", place.key), remedy);
        return None;
    }
    check_files(&place.folder, faults);
    let names = XmlToJson::new(&reader.namespaces, written.lists.iter().cloned());
    let request = exchange(&place, Purpose::Submit, &written.request(), &names, faults);
    let lookup = lookup(&place, &written, &names, faults);
    let deadline =
        seconds(&reader.file, &place.key_of("deadline_secs"), written.deadline_secs, 366.0 * 86_400.0, faults);
    let timeout = seconds(&reader.file, &place.key_of("timeout_secs"), written.timeout_secs, 600.0, faults);
    let correlates = correlates(&place, &written.correlates, faults);
    let not_handled = match &written.not_handled {
        Some(own) => NotHandled::check(&reader.file, &place.key_of("not_handled"), own, reader.coverage, faults),
        None => reader.not_handled.clone(),
    };
    let (request, lookup) = (request?, lookup?);
    for exchange in std::iter::once(&request).chain(&lookup) {
        check_digest(&place, exchange, written.effect, faults);
    }
    check_attachments(&place, &service, &request, faults);
    let examples = examples::load(&reader.agency, &place.folder, &service, &request, written.effect, faults);
    Some(Operation {
        service,
        effect: written.effect,
        deadline: deadline?,
        timeout: timeout?,
        correlates: correlates?,
        not_handled,
        request,
        lookup,
        examples,
    })
}

impl Place<'_> {
    fn key_of(&self, part: &str) -> String {
        format!("{}.{part}", self.key)
    }

    fn short(&self, file: &Path) -> String {
        file.strip_prefix(self.reader.folder).unwrap_or(file).display().to_string()
    }
}

fn correlates(place: &Place<'_>, written: &CorrelatesWritten, faults: &mut ConfigFaults) -> Option<Correlates> {
    let problem = match written {
        CorrelatesWritten::Plain(true) => return Some(Correlates::Yes),
        CorrelatesWritten::Cannot(it) if !it.cannot.trim().is_empty() => {
            return Some(Correlates::Cannot(it.cannot.trim().to_owned()));
        }
        CorrelatesWritten::Plain(false) | CorrelatesWritten::Cannot(_) => {
            "an answer that names no request may be given to any, and no reason is given"
        }
    };
    let remedy = "have the filter give what binds the answer (reference, subject or request_digest), or write \
                  correlates = { cannot = \"why the agency's contract has nothing of the kind\" }";
    faults.add(&place.reader.file, place.key_of("correlates"), problem, remedy);
    None
}

/// A digest that many requests have binds no answer to one of them.
fn check_digest(place: &Place<'_>, exchange: &Exchange, effect: Effect, faults: &mut ConfigFaults) {
    let problem = match exchange.body_of(place.reader.is_sealed_anew) {
        body if !exchange.binds_by_digest() || body.binds_by_digest(effect) => return,
        BodyOf::NoBody => "names request_digest, but the request has no body: all of these have the same digest",
        BodyOf::NotUnique | BodyOf::Submission | BodyOf::Message => {
            "names request_digest, but the template prints neither `reference` nor `message_id`: two submissions may have \
             the same"
        }
    };
    let remedy = match exchange.template {
        Some(_) => "print one of them, or have the filter give the reference or message_id that the agency repeats",
        None => "have the filter give the reference that the agency repeats; for a read, subject is enough",
    };
    faults.add(place.reader.folder.join(&exchange.filter_file), "", problem, remedy);
}

/// What an office may send must reach the agency, and what the template reads must be sendable.
fn check_attachments(place: &Place<'_>, service: &ServiceName, request: &Exchange, faults: &mut ConfigFaults) {
    let takes = place.reader.catalogue.get(service).is_some_and(|service| service.attachments.takes_any());
    let file = place.reader.folder.join(&request.template_file);
    match (takes, request.reads("attachments")) {
        (true, false) => {
            let remedy = format!("print them, or remove [attachments] from schemas/services/{service}/service.toml");
            faults.add(file, "", "reads no attachments, which the service takes: they would never be sent", remedy);
        }
        (false, true) => {
            let remedy = format!("add [attachments] at_most to schemas/services/{service}/service.toml");
            faults.add(file, "", "reads attachments, which the service does not take", remedy);
        }
        (true, true) | (false, false) => {}
    }
}

/// The outer `None`: there are faults.
fn lookup(
    place: &Place<'_>,
    written: &OperationWritten,
    names: &XmlToJson,
    faults: &mut ConfigFaults,
) -> Option<Option<Exchange>> {
    let key = place.key_of("lookup");
    match (written.effect, &written.lookup) {
        (Effect::Lookup, Some(lookup)) => exchange(place, Purpose::Lookup, lookup, names, faults).map(Some),
        (Effect::Lookup, None) => {
            let remedy = "say with lookup = { method, path } how the agency is asked by our reference";
            faults.add(&place.reader.file, key, "is missing, though the effect is lookup", remedy);
            None
        }
        (Effect::Read | Effect::Idempotent | Effect::Once, Some(_)) => {
            faults.add(&place.reader.file, key, "is only for the effect lookup", "remove it, or change the effect");
            None
        }
        (Effect::Read | Effect::Idempotent | Effect::Once, None) => {
            for (path, name) in entries(&place.folder).into_iter().filter(|(_, name)| name.starts_with("lookup.")) {
                faults.add(
                    path,
                    "",
                    format!("{name} is only for the effect lookup"),
                    "remove it, or change the effect",
                );
            }
            Some(None)
        }
    }
}

fn exchange(
    place: &Place<'_>,
    purpose: Purpose,
    written: &ExchangeWritten,
    names: &XmlToJson,
    faults: &mut ConfigFaults,
) -> Option<Exchange> {
    let key_of = |part: &str| match purpose {
        Purpose::Submit => place.key_of(part),
        Purpose::Lookup => place.key_of(&format!("lookup.{part}")),
    };
    let file = &place.reader.file;
    let template = template(place, purpose, written, faults);
    let filter_file = place.folder.join(match purpose {
        Purpose::Submit => "answer.jq",
        Purpose::Lookup => "lookup.jq",
    });
    let filter = Filter::load(&filter_file);
    let filter = filter.map_err(|problem| faults.add(&filter_file, "", problem, "mend the filter")).ok();
    filter.iter().for_each(|filter| check_unsigned(place, &filter_file, filter, faults));
    let contract = match purpose {
        Purpose::Submit => contract(&place.folder, faults),
        Purpose::Lookup => Some(None),
    };
    let address = Address::new(&place.reader.endpoint, &written.path);
    let address = address.map_err(|problem| faults.add(file, key_of("path"), problem, "mend the path")).ok();
    let method = method(place, &key_of("method"), written, faults);
    let (template, template_file, request_form) = template?;
    let headers = headers(place, &key_of, written, faults);
    let (media_type, headers, answer_form) = headers?;
    Some(Exchange {
        method: method?,
        address: address?,
        headers,
        media_type: if template.is_some() { media_type } else { String::new() },
        template,
        request_form,
        answer_form,
        contract: contract?,
        filter: filter?,
        names: names.clone(),
        template_file: place.short(&template_file),
        filter_file: place.short(&filter_file),
        purpose,
        coverage: place.reader.coverage,
    })
}

/// What is not signed must not decide.
fn check_unsigned(place: &Place<'_>, file: &Path, filter: &Filter, faults: &mut ConfigFaults) {
    for refused in refused_uses(filter.source(), place.reader.coverage) {
        let (problem, remedy) = match refused {
            Refused::Status => (
                "lets `.status` decide, which the signature of the answer does not cover: it is null here",
                "decide by what stands in the signed body; `.unsigned.status` may be told in the text of a fault",
            ),
            Refused::Unsigned => (
                "lets `.unsigned` decide, which anybody on the way may have written",
                "decide by what is signed; `.unsigned` may stand within the `text` of a fault and nowhere else",
            ),
        };
        faults.add(file, "", problem, remedy);
    }
}

type FoundTemplate = (Option<Template>, PathBuf, Form);

fn template(
    place: &Place<'_>,
    purpose: Purpose,
    written: &ExchangeWritten,
    faults: &mut ConfigFaults,
) -> Option<FoundTemplate> {
    let forms = match place.reader.protocol {
        Protocol::Soap11 | Protocol::Soap12 => &[(Form::Xml, "xml")][..],
        Protocol::Rest => &[(Form::Json, "json"), (Form::Xml, "xml")][..],
    };
    let stem = match purpose {
        Purpose::Submit => "request",
        Purpose::Lookup => "lookup",
    };
    let files = forms.iter().map(|(form, extension)| (*form, place.folder.join(format!("{stem}.{extension}"))));
    let mut found: Vec<_> = files.clone().filter(|(_, file)| file.is_file()).collect();
    let is_get = written.method.as_deref().is_some_and(|method| method.eq_ignore_ascii_case("get"));
    let expected = forms.iter().map(|(_, extension)| format!("{stem}.{extension}")).collect::<Vec<_>>().join(" or ");
    match (found.pop(), found.is_empty(), is_get) {
        (Some((form, file)), true, false) => match Template::load(&file, form) {
            Ok(template) => Some((Some(template), file, form)),
            Err(fault) => {
                faults.add(file, "", fault, "mend the template");
                None
            }
        },
        (None, _, true) => Some((None, PathBuf::new(), forms[0].0)),
        (None, _, false) => {
            faults.add(
                place.folder.join(format!("{stem}.{}", forms[0].1)),
                "",
                "is missing",
                format!("write {expected}"),
            );
            None
        }
        (Some((_, file)), false, _) => {
            faults.add(file, "", "there are two templates", format!("keep only one of {expected}"));
            None
        }
        (Some((_, file)), true, true) => {
            faults.add(file, "", "is not used: a GET has no body", "remove it, or change the method");
            None
        }
    }
}

fn contract(folder: &Path, faults: &mut ConfigFaults) -> Option<Option<Contract>> {
    let schemas: Vec<_> =
        entries(folder).into_iter().filter(|(_, name)| name.ends_with(".xsd")).map(|(path, _)| path).collect();
    match contract::entry_schemas(&schemas).as_slice() {
        [] if schemas.is_empty() => Some(None),
        [entry] => match Contract::load(entry) {
            Ok(contract) => Some(Some(contract)),
            Err(problem) => {
                faults.add(entry, "", format!("is no usable XML Schema: {problem}"), "mend it");
                None
            }
        },
        _ => {
            let remedy = "let one schema include or import all others, or remove those that are not used";
            faults.add(folder, "*.xsd", "it is not clear which schema is the first", remedy);
            None
        }
    }
}

fn method(place: &Place<'_>, key: &str, written: &ExchangeWritten, faults: &mut ConfigFaults) -> Option<Method> {
    let method = match (place.reader.protocol, written.method.as_deref()) {
        (_, None | Some("POST")) => Some(Method::POST),
        (Protocol::Rest, Some("GET")) => Some(Method::GET),
        (Protocol::Rest, Some("PUT")) => Some(Method::PUT),
        (Protocol::Rest | Protocol::Soap11 | Protocol::Soap12, Some(_)) => None,
    };
    if method.is_none() {
        faults.add(&place.reader.file, key, "is not possible here", "write POST; for rest also GET or PUT");
    }
    method
}

/// The media type of the body, the other headers, and what the answer must be.
fn headers(
    place: &Place<'_>,
    key_of: &impl Fn(&str) -> String,
    written: &ExchangeWritten,
    faults: &mut ConfigFaults,
) -> Option<(String, HeaderMap, Form)> {
    let action = written.soap_action.clone().unwrap_or_default();
    let (media_type, accept) = match place.reader.protocol {
        Protocol::Soap11 => ("text/xml; charset=utf-8".to_owned(), "text/xml"),
        Protocol::Soap12 if action.is_empty() => {
            ("application/soap+xml; charset=utf-8".to_owned(), "application/soap+xml")
        }
        Protocol::Soap12 => {
            (format!("application/soap+xml; charset=utf-8; action=\"{action}\""), "application/soap+xml")
        }
        Protocol::Rest => ("application/json".to_owned(), "application/json"),
    };
    let media_type = written.media_type.clone().unwrap_or(media_type);
    let accept = written.accept.clone().unwrap_or_else(|| accept.to_owned());
    let answer_form = if accept.contains("xml") { Form::Xml } else { Form::Json };
    let mut usable = |key: &str, text: &str| {
        let value = HeaderValue::from_str(text).ok().filter(|_| !text.contains(['\r', '\n']));
        if value.is_none() {
            faults.add(&place.reader.file, key_of(key), "cannot stand in a header", "mend the text");
        }
        value
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, usable("accept", &accept)?);
    usable("media_type", &media_type)?;
    let quoted = usable("soap_action", &format!("\"{action}\""))?;
    match place.reader.protocol {
        // SOAP 1.1 §6.1.1: the header is required, and its value is quoted.
        Protocol::Soap11 => drop(headers.insert("soapaction", quoted)),
        Protocol::Rest if written.soap_action.is_some() => {
            faults.add(&place.reader.file, key_of("soap_action"), "means nothing for rest", "remove it");
        }
        Protocol::Soap12 | Protocol::Rest => {}
    }
    Some((media_type, headers, answer_form))
}

fn check_files(folder: &Path, faults: &mut ConfigFaults) {
    let known = ["request.xml", "request.json", "answer.jq", "lookup.xml", "lookup.json", "lookup.jq"];
    for (path, name) in entries(folder) {
        let is_known = known.contains(&name.as_str()) || [".xsd", ".wsdl", ".md"].iter().any(|end| name.ends_with(end));
        if path.is_dir() && name != "examples" || path.is_file() && !is_known {
            faults.add(path, "", "is not used", "remove it, or mend its name");
        }
    }
}
