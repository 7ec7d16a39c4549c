//! Whether a message on the wire is XML or JSON.

/// The family of a message on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Xml,
    Json,
}

impl Form {
    pub fn extension(self) -> &'static str {
        match self {
            Form::Xml => "xml",
            Form::Json => "json",
        }
    }

    /// Whether a `Content-Type` is of this family.
    pub fn is_media_type(self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match self {
            Form::Xml => ["text/xml", "application/xml"].contains(&essence.as_str()) || essence.ends_with("+xml"),
            Form::Json => essence == "application/json" || essence.ends_with("+json"),
        }
    }
}
