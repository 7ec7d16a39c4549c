//! A submission's attachments come in, with or without their contents; what a template sees of them goes out, and whether it
//! asked for contents that were not there.

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

struct Attachment {
    facts: AttachmentRef,
    /// `None`: it was not read.
    base64: Option<Arc<str>>,
    wanted: Wanted,
}

pub(super) fn list(attachments: &[AttachmentRef], contents: Option<&[Arc<str>]>, wanted: &Wanted) -> Value {
    let attachment = |(index, facts): (usize, &AttachmentRef)| {
        let base64 = contents.and_then(|all| all.get(index)).cloned();
        Value::from_object(Attachment { facts: facts.clone(), base64, wanted: wanted.clone() })
    };
    attachments.iter().enumerate().map(attachment).collect()
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
        match key.as_str()? {
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
        let paper = |name: &str| AttachmentRef {
            id: AttachmentId::from(Uuid::nil()),
            sha256: "00".into(),
            size_bytes: 3,
            media_type: "application/pdf".into(),
            name: name.into(),
        };
        let wanted = Wanted::default();
        let seen = list(&[paper("one"), paper("other")], contents, &wanted);
        let template = Template::compile(source.to_owned(), Form::Json).unwrap();
        let text = template.render_seen(Value::from(BTreeMap::from([("attachments", seen)])));
        (wanted.is_told(), text.ok().map(|bytes| String::from_utf8(bytes).unwrap()))
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
