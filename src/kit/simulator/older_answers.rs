//! The first answer about a reference is kept, and goes out instead of later ones, as from somebody on the way who has no
//! key.

use super::{example_answers::Asked, response::Body};
use bytes::Bytes;
use http::{Response, response::Parts};
use http_body_util::{BodyExt, Full};
use std::{
    collections::HashMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// By reference, to the byte.
#[derive(Default)]
pub(super) struct OlderAnswers(Mutex<HashMap<String, (Parts, Bytes)>>);

impl OlderAnswers {
    pub fn has_of(&self, asked: &Asked<'_>) -> bool {
        self.answers().contains_key(&key(asked))
    }

    /// The first one is kept.
    pub async fn in_place_of(&self, answer: Response<Body>, asked: &Asked<'_>) -> io::Result<Response<Body>> {
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let (parts, body) = self.answers().entry(key(asked)).or_insert((parts, body)).clone();
        Ok(Response::from_parts(parts, Full::new(body).map_err(|never| match never {}).boxed()))
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, (Parts, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(asked: &Asked<'_>) -> String {
    asked.reference.clone().unwrap_or_default()
}
