//! How an exchange or a queue is made, and how one that is there differs: RabbitMQ's words come in, the key and both values
//! go out.

use lapin::{
    ExchangeKind,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use std::fmt;

/// What is declared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    /// `None`: a queue.
    pub exchange: Option<ExchangeKind>,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
}

/// One property that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub key: String,
    pub ours: Option<String>,
    pub theirs: Option<String>,
}

impl Shape {
    pub(super) fn queue() -> Self {
        let shape = Self {
            exchange: None,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
        };
        shape.with("x-queue-type", long_string("quorum"))
    }

    pub(super) fn exchange(kind: ExchangeKind) -> Self {
        Self {
            exchange: Some(kind),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
        }
    }

    pub(super) fn with(mut self, key: &str, value: AMQPValue) -> Self {
        self.arguments.insert(key.into(), value);
        self
    }

    /// Takes over what is there, so that the next declaration shows the next difference. `false`: it was so already, or it
    /// cannot be declared.
    pub(super) fn adopt(&mut self, it: &Difference) -> bool {
        let before = self.clone();
        let is_true = it.theirs.as_deref() == Some("true");
        match (it.key.as_str(), &it.theirs) {
            ("durable", _) => self.durable = is_true,
            ("auto_delete", _) => self.auto_delete = is_true,
            ("internal", _) => self.internal = is_true,
            ("type", Some(kind)) if self.exchange.is_some() => self.exchange = Some(exchange_kind(kind)),
            (key, Some(value)) if key.contains('-') => {
                let value = value.parse().map_or_else(|_| long_string(value), AMQPValue::LongLongInt);
                self.arguments.insert(key.into(), value);
            }
            (key, None) => self.arguments = without(&self.arguments, key),
            _ => {}
        }
        *self != before
    }

    /// Of its own kind, if it is a queue.
    pub(super) fn is_stream(&self) -> bool {
        self.arguments.inner().get("x-queue-type") == Some(&long_string("stream"))
    }
}

pub(super) fn long_string(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn exchange_kind(name: &str) -> ExchangeKind {
    match name {
        "direct" => ExchangeKind::Direct,
        "topic" => ExchangeKind::Topic,
        "fanout" => ExchangeKind::Fanout,
        "headers" => ExchangeKind::Headers,
        other => ExchangeKind::Custom(other.into()),
    }
}

pub(super) fn kind_name(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Direct => "direct",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Custom(name) => name,
    }
}

fn without(table: &FieldTable, key: &str) -> FieldTable {
    let mut left = FieldTable::default();
    for (name, value) in table.inner() {
        if name.as_str() != key {
            left.insert(ShortString::from(name.as_str()), value.clone());
        }
    }
    left
}

impl Difference {
    /// `inequivalent arg 'x-delivery-limit' for queue 'punte.work.a' in vhost '/': received the value '9' of type 'signedint'
    /// but current is the value '5' of type 'long'`
    pub(super) fn read(said: &str) -> Option<Self> {
        let (_, rest) = said.split_once("inequivalent arg '")?;
        let (key, rest) = rest.split_once('\'')?;
        let (_, values) = rest.rsplit_once(" received ").or_else(|| rest.rsplit_once(":received "))?;
        let (ours, theirs) = values.split_once(" but current is ")?;
        Some(Self { key: key.to_owned(), ours: value(ours), theirs: value(theirs) })
    }
}

/// The first text between quotes; none of `none`.
fn value(text: &str) -> Option<String> {
    text.split('\'').nth(1).map(str::to_owned)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
        let ours = match self.key.as_str() {
            "x-delivery-limit" => " (broker.delivery_limit)",
            _ => "",
        };
        write!(f, "`{}` is {} there and {} here{ours}", self.key, shown(&self.theirs), shown(&self.ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rabbitmqs_words_are_read_to_the_key_and_both_values() {
        let read = |text| Difference::read(text).map(|it| it.to_string());
        let typed = "inequivalent arg 'x-delivery-limit' for queue 'p.work.a' in vhost '/': received the value '9' of type \
                     'signedint' but current is the value '5' of type 'signedint'";
        assert_eq!(read(typed).as_deref(), Some("`x-delivery-limit` is 5 there and 9 here (broker.delivery_limit)"));
        let none = "inequivalent arg 'x-queue-type' for queue 'p received it' in vhost '/': received the value 'quorum' of \
                    type 'longstr' but current is none";
        assert_eq!(read(none).as_deref(), Some("`x-queue-type` is not set there and quorum here"));
        let plain =
            "inequivalent arg 'type' for exchange 'p.events' in vhost '/': received 'topic' but current is 'fanout'";
        assert_eq!(read(plain).as_deref(), Some("`type` is fanout there and topic here"));
        assert_eq!(read("access refused"), None);
    }

    #[test]
    fn what_is_there_is_taken_over_once() {
        let mut shape = Shape::queue().with("x-delivery-limit", AMQPValue::LongLongInt(9));
        let difference = |key: &str, theirs: Option<&str>| Difference {
            key: key.into(),
            ours: None,
            theirs: theirs.map(str::to_owned),
        };
        assert!(shape.adopt(&difference("x-delivery-limit", Some("5"))));
        assert!(!shape.adopt(&difference("x-delivery-limit", Some("5"))));
        assert!(shape.adopt(&difference("durable", Some("false"))) && !shape.durable);
        assert!(shape.adopt(&difference("x-queue-type", Some("stream"))) && shape.is_stream());
        assert!(shape.adopt(&difference("x-queue-type", None)) && !shape.is_stream());
    }
}
