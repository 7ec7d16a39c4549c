//! The one table of routes: a method and a path come in, the handler and the path's parameter go out.

use super::{Call, GatewayState, Problem, Reply, events, openapi, services, submissions, submit, upload};
use crate::domain::Code;
use futures_util::future::BoxFuture;
use http::Method;
use std::sync::Arc;

pub type Handler = fn(Arc<GatewayState>, Call) -> BoxFuture<'static, Reply>;

pub struct Route {
    pub method: Method,
    /// As in the API's document: one segment may be a parameter in braces.
    pub path: &'static str,
    pub handler: Handler,
}

macro_rules! table {
    ($($method:ident $path:literal $handler:path;)*) => {
        /// Every address of the front door.
        pub static ROUTES: &[Route] = &[
            $(Route { method: Method::$method, path: $path, handler: |state, call| Box::pin($handler(state, call)) },)*
        ];
    };
}

table! {
    GET    "/v1/openapi.json"            openapi::show;
    GET    "/v1/services"                services::list;
    GET    "/v1/services/{service}"      services::show;
    POST   "/v1/submissions"             submit::submit;
    GET    "/v1/submissions"             submissions::list;
    GET    "/v1/submissions/{id}"        submissions::show;
    DELETE "/v1/submissions/{id}"        submissions::cancel;
    GET    "/v1/submissions/{id}/events" events::events;
    POST   "/v1/attachments"             upload::upload;
}

/// The route for a request, and what stands where its path has a parameter.
pub fn find(method: &Method, path: &str) -> Result<(&'static Route, Option<String>), Problem> {
    let mut allow = Vec::new();
    for route in ROUTES {
        let Some(parameter) = matched(route.path, path) else { continue };
        if route.method == *method {
            return Ok((route, parameter));
        }
        allow.push(route.method.as_str());
    }
    match allow.is_empty() {
        true => Err(Code::RequestNotFound.into()),
        false => Err(Problem { allow: Some(allow.join(", ")), ..Code::RequestMethod.into() }),
    }
}

/// `None` if the path does not fit; else the parameter, if the pattern has one.
fn matched(pattern: &str, path: &str) -> Option<Option<String>> {
    let (mut wanted, mut have) = (pattern.split('/'), path.split('/'));
    let mut parameter = None;
    loop {
        match (wanted.next(), have.next()) {
            (None, None) => return Some(parameter),
            (Some(name), Some(text)) if name.starts_with('{') && !text.is_empty() => parameter = Some(text.to_owned()),
            (Some(name), Some(text)) if name == text => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Result<(&'static str, Option<String>), (Code, Option<String>)>;

    fn route(method: Method, path: &str) -> Found {
        find(&method, path)
            .map(|(route, parameter)| (route.path, parameter))
            .map_err(|problem| (problem.code, problem.allow))
    }

    #[test]
    fn a_path_finds_its_route_and_parameter() {
        assert_eq!(route(Method::GET, "/v1/services"), Ok(("/v1/services", None)));
        let events = ("/v1/submissions/{id}/events", Some("7".into()));
        assert_eq!(route(Method::GET, "/v1/submissions/7/events"), Ok(events));
        for strange in ["", "/", "/v1", "/v1/services/", "/v1/services/a/b", "//v1/services", "/V1/services"] {
            assert_eq!(route(Method::GET, strange), Err((Code::RequestNotFound, None)), "{strange}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let allowed = Some("GET, DELETE".into());
        assert_eq!(route(Method::PUT, "/v1/submissions/7"), Err((Code::RequestMethod, allowed)));
    }
}
