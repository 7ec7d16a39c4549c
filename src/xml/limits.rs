//! How large XML may be, and for what it is refused.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub size_bytes: usize,
    pub depth: usize,
    pub attributes_per_element: usize,
    pub namespace_declarations: usize,
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size_bytes: 16 << 20,
            depth: 100,
            attributes_per_element: 64,
            namespace_declarations: 512,
            nodes: 400_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlRefusal {
    #[error("the XML is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    #[error("the XML nests deeper than {limit} elements")]
    TooDeep { limit: usize },
    #[error("an element has more than {limit} attributes")]
    TooManyAttributes { limit: usize },
    #[error("the XML declares more than {limit} namespaces")]
    TooManyNamespaces { limit: usize },
    #[error("the XML has more than {limit} nodes")]
    TooManyNodes { limit: usize },
    #[error("the XML has a document type, which is never read")]
    DocumentType,
    #[error("the XML has a processing instruction, which is never read")]
    ProcessingInstruction,
    #[error("the XML is not UTF-8: {0}")]
    Encoding(String),
    #[error("the XML is not well-formed: {0}")]
    Malformed(String),
}
