//! `GET /v1/services`: the part of the catalogue that an office may use goes out, in its language.

use super::{
    GatewayState,
    office_directory::KnownOffice,
    office_request::{OfficeRequest, PathParameter, Reply},
    submission_view,
};
use crate::{
    adapter::{Adapter, Operation},
    catalogue::Service,
    domain::{Code, ServiceName},
    http_server::Problem,
};
use axum::{extract::State, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

pub async fn list(State(state): State<Arc<GatewayState>>, request: OfficeRequest) -> Reply {
    let mut names: Vec<&ServiceName> = request.office.office.services.iter().collect();
    names.sort_unstable();
    let usable = names.into_iter().filter_map(|name| usable_service(&state, &request.office, name));
    let services: Vec<_> = usable.map(|usable| described(usable, &request)).collect();
    Ok(in_their_language(submission_view::json_response(StatusCode::OK, &json!({"services": services}))))
}

pub async fn show(
    State(state): State<Arc<GatewayState>>,
    PathParameter(name): PathParameter<ServiceName>,
    request: OfficeRequest,
) -> Reply {
    let usable = usable_service(&state, &request.office, &name).ok_or(Problem::from(Code::RequestNotFound))?;
    let described = described(usable, &request);
    Ok(in_their_language(submission_view::json_response(StatusCode::OK, &described)))
}

/// A service that an office may use, and who does it how.
#[derive(Clone, Copy)]
pub struct Usable<'a> {
    pub service: &'a Service,
    pub adapter: &'a Adapter,
    pub operation: &'a Operation,
}

/// The service, if this office may use it and some agency does it.
pub fn usable_service<'a>(state: &'a GatewayState, office: &KnownOffice, name: &ServiceName) -> Option<Usable<'a>> {
    if !office.office.may_use(name) {
        return None;
    }
    let service = state.catalogue.get(name)?;
    let (adapter, operation) = state.adapters.for_service(name)?;
    Some(Usable { service, adapter, operation })
}

fn described(usable: Usable<'_>, request: &OfficeRequest) -> Value {
    let Usable { service, adapter, operation } = usable;
    let accepted = request.headers.get(header::ACCEPT_LANGUAGE).and_then(|field| field.to_str().ok());
    let (language, title) = service.title(accepted);
    json!({
        "name": service.name,
        "title": title,
        "language": language,
        "titles": service.titles,
        "agency": adapter.agency,
        "effect": operation.effect,
        "deadline_secs": operation.deadline.as_secs(),
        "attachments": service.attachments,
        "subject": service.subject,
        "request_schema": service.request_schema.source(),
        "answer_schema": service.answer_schema.source(),
    })
}

fn in_their_language(mut response: Response) -> Response {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-language"));
    response
}
