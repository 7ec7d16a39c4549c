//! Testers come in over plain HTTP on loopback: they read the ledger and set the behaviour.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /simulator/ledger` | `{"entries": […], "arrivals": […], "requests": n, "refusals": […]}` |
//! | `GET /simulator/behaviour` | the plans that are left |
//! | `PUT /simulator/behaviour` | 204; 400 if it is none |

use super::{agency::Agency, behaviour::SimulatorBehaviour};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError, atomic::Ordering};

pub(super) fn router(agency: Arc<Agency>) -> Router {
    Router::new()
        .route("/simulator/ledger", get(ledger))
        .route("/simulator/behaviour", get(behaviour).put(behave))
        .with_state(agency)
}

async fn ledger(State(agency): State<Arc<Agency>>) -> Json<Value> {
    let refusals = agency.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let requests = agency.received.load(Ordering::Relaxed);
    let (entries, arrivals) = (agency.ledger.entries(), agency.ledger.arrivals());
    Json(json!({"entries": entries, "arrivals": arrivals, "requests": requests, "refusals": refusals}))
}

async fn behaviour(State(agency): State<Arc<Agency>>) -> Json<SimulatorBehaviour> {
    Json(agency.script.left())
}

async fn behave(State(agency): State<Arc<Agency>>, Json(wanted): Json<Value>) -> Response {
    match SimulatorBehaviour::try_from(wanted) {
        Ok(behaviour) => {
            agency.behave(behaviour);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}
