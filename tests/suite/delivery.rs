//! The whole way: an office posts over TLS, simulated agencies answer or fail over mutual TLS, and each submission ends
//! where the design says.

mod answers;
mod attachments;
mod belief;
mod broker;
mod circuit;
mod connections;
mod declared;
mod effects;
mod digests;
mod fairness;
mod forms;
mod halts;
mod hostile;
mod interop;
mod losses;
mod moments;
mod numbers;
mod outage;
mod plain_way;
mod privacy;
mod restored;
mod scheduling;
mod seals;
mod strangers;
mod words;
