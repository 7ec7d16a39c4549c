//! Trust from outside: attacks that must be refused with the right reason, and other people's code that must agree with ours.

mod files;
mod forge;
mod forgery;
mod http_signature;
mod identity;
mod interop;
mod jws;
mod odd_certificates;
mod one_agency;
mod office_certificates;
mod pki;
mod revocation;
mod tls;
mod verify_command;
mod wss_forms;
mod wss_messages;
