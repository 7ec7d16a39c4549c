//! One service: a folder with `service.toml`, `request.schema.json` and `answer.schema.json` comes in.

use super::{AttachmentRule, Integers, Schema, SubjectRule};
use crate::{
    domain::ServiceName,
    settings::{ConfigFaults, Document},
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

#[derive(Debug)]
pub struct Service {
    pub name: ServiceName,
    /// By language tag (BCP 47), `en` always among them.
    pub titles: BTreeMap<String, String>,
    /// Which files come with a request.
    pub attachments: AttachmentRule,
    /// Whom or what a request may be about; `None`: the service says nothing of it.
    pub subject: Option<SubjectRule>,
    /// What `data` of a submission must fit.
    pub request_schema: Schema,
    /// What an answer must fit before an office sees it.
    pub answer_schema: Schema,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Titles(BTreeMap<String, String>);

/// What `service.toml` says.
struct About {
    titles: BTreeMap<String, String>,
    attachments: AttachmentRule,
    subject: Option<SubjectRule>,
}

impl Service {
    pub fn load(folder: &Path, faults: &mut ConfigFaults) -> Option<Self> {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = match name.parse::<ServiceName>() {
            Ok(name) => Some(name),
            Err(error) => {
                faults.add(folder, "", error, "rename the folder");
                None
            }
        };
        let about = Self::about(&folder.join("service.toml"), faults);
        let request_schema = Schema::load(&folder.join("request.schema.json"), Integers::InDigits, faults);
        let answer_schema = Schema::load(&folder.join("answer.schema.json"), Integers::ByValue, faults);
        let About { titles, attachments, subject } = about?;
        let (request_schema, answer_schema) = (request_schema?, answer_schema?);
        Some(Self { name: name?, titles, attachments, subject, request_schema, answer_schema })
    }

    fn about(file: &Path, faults: &mut ConfigFaults) -> Option<About> {
        let mut document = Document::read(file, faults)?;
        let Titles(titles) = document.section("titles", faults)?;
        if !titles.contains_key("en") {
            faults.add(file, "titles.en", "is missing", "give the service an English title");
        }
        let has_rule = document.has("attachments");
        let attachments: AttachmentRule = document.section("attachments", faults)?;
        if has_rule {
            attachments.check(file, faults);
        }
        let written: Option<BTreeMap<String, String>> = document.optional_section("subject", faults);
        let subject = written.map(|written| SubjectRule::of(written, file, faults));
        document.finish(faults);
        Some(About { titles, attachments, subject })
    }

    /// The title in the language that the reader likes best (RFC 9110, section 12.5.4), and that language.
    pub fn title(&self, accept_language: Option<&str>) -> (&str, &str) {
        let wanted = preferred_languages(accept_language.unwrap_or_default());
        let best = wanted.iter().find_map(|tag| {
            let primary = tag.split('-').next().unwrap_or_default();
            self.titles.get_key_value(*tag).or_else(|| self.titles.get_key_value(primary))
        });
        let (language, title) = best.or_else(|| self.titles.get_key_value("en")).unzip();
        (language.map_or("en", String::as_str), title.map_or(self.name.as_str(), String::as_str))
    }
}

fn preferred_languages(header: &str) -> Vec<&str> {
    let mut weighted: Vec<(f32, &str)> = header
        .split(',')
        .take(32)
        .filter_map(|part| {
            let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse().ok())?;
            (weight > 0.0).then_some((weight, tag.trim()))
        })
        .collect();
    weighted.sort_by(|a, b| b.0.total_cmp(&a.0));
    weighted.into_iter().map(|(_, tag)| tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        let titles = [("en", "Extract"), ("ro", "Extras"), ("mk", "Извод")];
        Service {
            name: "extract".parse().unwrap(),
            titles: titles.map(|(tag, text)| (tag.to_owned(), text.to_owned())).into(),
            attachments: AttachmentRule::default(),
            subject: None,
            request_schema: Schema::compile(serde_json::json!({})).unwrap(),
            answer_schema: Schema::compile(serde_json::json!({})).unwrap(),
        }
    }

    #[test]
    fn the_reader_gets_the_title_in_the_language_it_likes_best() {
        let service = service();
        assert_eq!(service.title(Some("sq, ro-MD;q=0.8, mk;q=0.9")), ("mk", "Извод"));
        assert_eq!(service.title(Some("ro-MD")), ("ro", "Extras"));
        assert_eq!(service.title(Some("ro;q=0, de")), ("en", "Extract"));
        assert_eq!(service.title(Some(";;q=x,,")), ("en", "Extract"));
        assert_eq!(service.title(None), ("en", "Extract"));
    }
}
