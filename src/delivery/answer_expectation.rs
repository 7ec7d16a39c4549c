//! What a message of an agency is held against: the exchange that it belongs to, and what we have sent.

use super::{AgencyConnection, SentRequest};
use crate::{
    adapter::{Exchange, NotHandled},
    catalogue::Schema,
};
use jiff::Timestamp;

pub struct AnswerExpectation<'a> {
    pub exchange: &'a Exchange,
    pub connection: &'a AgencyConnection,
    pub answer_schema: &'a Schema,
    pub sent_request: SentRequest<'a>,
    /// What says, by the agency's folder, that it has certainly not handled the request.
    pub not_handled: &'a NotHandled,
    pub now: Timestamp,
}
