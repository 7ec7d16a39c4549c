//! A submission's attachments come in, with or without their contents; what a template sees of them goes out, whether it
//! asked for contents that were not there, and which it never looked at.

use crate::domain::AttachmentRef;
use minijinja::{
    Error, ErrorKind,
    value::{Enumerator, Object, Value},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Told by the template's looks at `base64`, so that nothing is read which no template uses.
#[derive(Clone, Default)]
pub(super) struct Wanted(Arc<AtomicBool>);

/// Of each attachment whether the template has looked at its digest or at its content: by its name alone, nobody who gets
/// the message knows what it was.
pub(super) struct Read(Vec<Arc<AtomicBool>>);

struct Attachment {
    facts: AttachmentRef,
    /// `None`: it was not read.
    base64: Option<Arc<str>>,
    wanted: Wanted,
    read: Arc<AtomicBool>,
}

pub(super) fn list(
    attachments: &[AttachmentRef],
    contents: Option<&[Arc<str>]>,
    wanted: &Wanted,
    read: &Read,
) -> Value {
    let attachment = |(index, (facts, read)): (usize, (&AttachmentRef, &Arc<AtomicBool>))| {
        let base64 = contents.and_then(|all| all.get(index)).cloned();
        Value::from_object(Attachment { facts: facts.clone(), base64, wanted: wanted.clone(), read: read.clone() })
    };
    attachments.iter().zip(&read.0).enumerate().map(attachment).collect()
}

impl Read {
    pub(super) fn of(attachments: &[AttachmentRef]) -> Self {
        Self(attachments.iter().map(|_| Arc::default()).collect())
    }

    /// From 1.
    pub(super) fn first_unread(&self) -> Option<usize> {
        self.0.iter().position(|read| !read.load(Ordering::Relaxed)).map(|place| place + 1)
    }
}

impl Wanted {
    pub(super) fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Attachment {
    fn content(&self) -> Value {
        if let Some(text) = &self.base64 {
            return Value::from(text);
        }
        self.wanted.0.store(true, Ordering::Relaxed);
        // Ends the rendering, which is of no use now.
        Value::from(Error::new(ErrorKind::InvalidOperation, "the content was not read"))
    }
}

impl Object for Attachment {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        if matches!(key, "sha256" | "base64") {
            self.read.store(true, Ordering::Relaxed);
        }
        match key {
            "name" => Some(Value::from(&self.facts.name)),
            "media_type" => Some(Value::from(&self.facts.media_type)),
            "size_bytes" => Some(Value::from(self.facts.size_bytes)),
            "sha256" => Some(Value::from(&self.facts.sha256)),
            "base64" => Some(self.content()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["name", "media_type", "size_bytes", "sha256", "base64"])
    }
}

/// Names and contents are an office's own.
impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("size_bytes", &self.facts.size_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapter::{Form, Template},
        domain::AttachmentId,
    };
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn rendered(source: &str, contents: Option<&[Arc<str>]>) -> (bool, Option<String>) {
        let (is_wanted, text, _) = rendered_and_read(source, contents);
        (is_wanted, text)
    }

    fn rendered_and_read(source: &str, contents: Option<&[Arc<str>]>) -> (bool, Option<String>, Option<usize>) {
        let paper = |name: &str| AttachmentRef {
            id: AttachmentId::from(Uuid::nil()),
            sha256: "00".into(),
            size_bytes: 3,
            media_type: "application/pdf".into(),
            name: name.into(),
        };
        let papers = [paper("one"), paper("other")];
        let (wanted, read) = (Wanted::default(), Read::of(&papers));
        let seen = list(&papers, contents, &wanted, &read);
        let template = Template::compile(source.to_owned(), Form::Json).unwrap();
        let text = template.render_seen(Value::from(BTreeMap::from([("attachments", seen)])));
        (wanted.is_told(), text.ok().map(|bytes| String::from_utf8(bytes).unwrap()), read.first_unread())
    }

    #[test]
    fn an_attachment_is_read_by_its_digest_or_content_and_not_by_its_name_or_number() {
        let contents: [Arc<str>; 2] = ["YWJj".into(), "ZGVm".into()];
        for (source, unread) in [
            ("{{ attachments|length }}", Some(1)),
            ("[{% for it in attachments %}{{ it.name }},{{ it.size_bytes }},{% endfor %}1]", Some(1)),
            ("{{ attachments[0].base64 }}", Some(2)),
            ("{{ attachments[1].sha256 }}", Some(1)),
            ("{{ attachments[0] }}", Some(2)),
            ("{{ attachments }}", None),
            ("{{ attachments|map(attribute='sha256')|list }}", None),
            ("[{% for it in attachments %}{{ it.base64 }},{% endfor %}1]", None),
        ] {
            assert_eq!(rendered_and_read(source, Some(&contents)).2, unread, "{source}");
        }
    }

    #[test]
    fn a_template_that_looks_at_no_content_needs_none() {
        for (source, made) in [
            (
                "[{% for it in attachments %}{{ it.name }},{{ it.size_bytes }},{% endfor %}{{ attachments|length }}]",
                "[\"one\",3,\"other\",3,2]",
            ),
            ("{{ attachments[1].sha256 }}", "\"00\""),
            ("{{ attachments|map(attribute='media_type')|first }}", "\"application/pdf\""),
            ("{% if attachments %}{{ attachments[0].name if attachments[0].gone is defined else 1 }}{% endif %}", "1"),
        ] {
            assert_eq!(rendered(source, None), (false, Some(made.to_owned())), "{source}");
        }
    }

    #[test]
    fn every_way_to_a_content_asks_for_it_and_gets_it() {
        let contents: [Arc<str>; 2] = ["YWJj".into(), "ZGVm".into()];
        let whole = |name, base64| {
            format!(
                "{{\"name\":\"{name}\",\"media_type\":\"application/pdf\",\"size_bytes\":3,\"sha256\":\"00\",\"base64\":\"{base64}\"}}"
            )
        };
        let all = format!("[{},{}]", whole("one", "YWJj"), whole("other", "ZGVm"));
        for (source, made) in [
            ("{{ attachments[1].base64 }}", "\"ZGVm\""),
            ("{{ attachments[0]['base' ~ 64] }}", "\"YWJj\""),
            ("{{ attachments|map(attribute='base64')|list }}", "[\"YWJj\",\"ZGVm\"]"),
            ("{{ attachments[0].base64|default('none') }}", "\"YWJj\""),
            ("{{ attachments[0].base64|opt }}", "\"YWJj\""),
            ("{{ attachments }}", &all),
            ("{{ attachments[0] }}", &whole("one", "YWJj")),
            (
                "[{% for key, value in attachments[0]|items %}{{ value }},{% endfor %}1]",
                "[\"one\",\"application/pdf\",3,\"00\",\"YWJj\",1]",
            ),
        ] {
            assert!(rendered(source, None).0, "{source}");
            let (is_wanted, text) = rendered(source, Some(&contents));
            assert!(!is_wanted, "{source}");
            assert_eq!(text.as_deref(), Some(made), "{source}");
        }
    }
}
