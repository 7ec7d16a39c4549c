//! `GET /v1/services`: the part of the catalogue that an office may use goes out, in its language.

use super::{Call, GatewayState, Problem, Reply, office_directory::KnownOffice, view};
use crate::{
    catalogue::Service,
    domain::{Code, ServiceName},
};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

pub async fn list(state: Arc<GatewayState>, call: Call) -> Reply {
    let mut names: Vec<&ServiceName> = call.office.office.services.iter().collect();
    names.sort_unstable();
    let usable = names.into_iter().filter_map(|name| state.service(&call.office, name));
    let services: Vec<_> = usable.filter_map(|service| described(&state, service, &call)).collect();
    Ok(in_their_language(view::json_response(StatusCode::OK, &json!({"services": services}))))
}

pub async fn show(state: Arc<GatewayState>, call: Call) -> Reply {
    let name = call.parameter.as_deref().and_then(|name| name.parse::<ServiceName>().ok());
    let service = name.and_then(|name| state.service(&call.office, &name));
    let described = service.and_then(|service| described(&state, service, &call));
    let described = described.ok_or(Problem::from(Code::RequestNotFound))?;
    Ok(in_their_language(view::json_response(StatusCode::OK, &described)))
}

impl GatewayState {
    /// The service, if this office may use it and some agency does it.
    pub fn service(&self, office: &KnownOffice, name: &ServiceName) -> Option<&Service> {
        let is_usable = office.office.may_use(name) && self.adapters.for_service(name).is_some();
        self.catalogue.get(name).filter(|_| is_usable)
    }
}

fn described(state: &GatewayState, service: &Service, call: &Call) -> Option<Value> {
    let (adapter, operation) = state.adapters.for_service(&service.name)?;
    let accepted = call.headers.get(header::ACCEPT_LANGUAGE).and_then(|field| field.to_str().ok());
    let (language, title) = service.title(accepted);
    Some(json!({
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
    }))
}

fn in_their_language(mut response: Response<axum::body::Body>) -> Response<axum::body::Body> {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-language"));
    response
}
