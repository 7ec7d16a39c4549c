//! The one table of routes, from which axum's router is made, and what is answered where there is none.

use super::{GatewayState, events, openapi, services, submissions, submit, upload};
use crate::{domain::Code, http_server::Problem};
use axum::{
    Router,
    extract::MatchedPath,
    routing::{MethodFilter, on},
};
use http::Method;
use std::sync::Arc;

pub struct Route {
    pub method: Method,
    /// As in the API's document.
    pub path: &'static str,
}

macro_rules! table {
    ($($method:ident $path:literal $handler:path;)*) => {
        /// Every address of the gateway; a test holds the API's document against it.
        pub static ROUTES: &[Route] = &[$(Route { method: Method::$method, path: $path },)*];

        fn routed() -> Router<Arc<GatewayState>> {
            Router::new()$(.route($path, on(MethodFilter::$method, $handler)))*
        }
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

pub(super) fn router(state: Arc<GatewayState>) -> Router {
    routed()
        .method_not_allowed_fallback(wrong_method)
        .fallback(async || Problem::from(Code::RequestNotFound))
        .with_state(state)
}

async fn wrong_method(path: MatchedPath) -> Problem {
    let of_path = ROUTES.iter().filter(|route| route.path == path.as_str());
    let allow: Vec<_> = of_path.map(|route| route.method.as_str()).collect();
    Problem { allow: Some(allow.join(", ")), ..Code::RequestMethod.into() }
}

/// For metrics and logs, that live as long as the program.
pub(super) fn label(path: &str) -> &'static str {
    ROUTES.iter().find(|route| route.path == path).map_or("other", |route| route.path)
}
