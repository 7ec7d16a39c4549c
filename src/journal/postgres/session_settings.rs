//! What every session is set to: our own settings and those of the URL's `options`, as the server gets them at its start or,
//! behind a pooler, at the start of each transaction.

use super::unusable::unusable;
use crate::journal::JournalError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

/// No statement of the journal is slow enough to be worth compiling, and no other transaction holds its rows for long.
const OURS: [(&str, &str); 4] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "15s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("jit", "off"),
];
/// A setting without a meaning, by which a session shows whether the server has heard of our settings: nobody else makes it.
pub const MARK: (&str, &str) = ("punte.session", "1");
/// A server may be set to confirm commits that are not on disk. For a journal that will not do; more than `on` may stay.
pub const DURABLE: &str =
    "CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', $local) END";

/// Later ones win, so the URL's own have the last word.
pub fn of(options: &str, schema: Option<&str>) -> Result<Vec<Setting>, JournalError> {
    let path = schema.map(|schema| ("search_path", schema));
    let ours = [MARK].into_iter().chain(OURS).chain(path);
    let mut settings: Vec<Setting> =
        ours.map(|(name, value)| Setting { name: name.to_owned(), value: value.to_owned() }).collect();
    settings.extend(parsed(options)?);
    Ok(settings)
}

/// The same for batches. They only look up rows by their keys, and a plan that was made while the tables were small must not
/// read them through once they are large. Whoever waits for a lock makes others wait: those that it holds up are done apart, and
/// wait as long as the URL says. Here ours have the last word.
pub fn for_batches(settings: &[Setting]) -> Vec<Setting> {
    let ours = [
        ("lock_timeout", "200ms"),
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ];
    let ours = ours.map(|(name, value)| Setting { name: name.to_owned(), value: value.to_owned() });
    settings.iter().cloned().chain(ours).collect()
}

/// As the server takes them when a session starts: white space and backslashes escaped.
pub fn startup(settings: &[Setting]) -> String {
    let escape = |value: &str| -> String {
        let escaped =
            value.chars().flat_map(|c| (c == '\\' || c.is_whitespace()).then_some('\\').into_iter().chain([c]));
        escaped.collect()
    };
    let options = settings.iter().map(|it| format!("-c {}={}", it.name, escape(&it.value)));
    options.collect::<Vec<_>>().join(" ")
}

/// One statement that makes them for the transaction in which it is run.
pub fn for_one_transaction(settings: &[Setting]) -> String {
    let quote = |text: &str| text.replace('\'', "''");
    let each = settings.iter().map(|it| format!("set_config('{}', '{}', true), ", quote(&it.name), quote(&it.value)));
    format!("SELECT {}{}", each.collect::<String>(), DURABLE.replace("$local", "true"))
}

fn parsed(options: &str) -> Result<Vec<Setting>, JournalError> {
    let only = || unusable("options may hold nothing but -c NAME=VALUE");
    let mut settings = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let pair = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().ok_or_else(only)?,
            Some(pair) => pair.to_owned(),
            None => return Err(only()),
        };
        let (name, value) = pair.split_once('=').ok_or_else(only)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
        if name.is_empty() || !name.chars().all(is_name) || value.contains('\\') {
            return Err(only());
        }
        settings.push(Setting { name: name.replace('-', "_"), value: value.to_owned() });
    }
    Ok(settings)
}

/// Divided by white space that no backslash stands before.
fn words(options: &str) -> Vec<String> {
    let (mut words, mut word, mut letters) = (Vec::new(), String::new(), options.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            letter if letter.is_whitespace() => words.push(std::mem::take(&mut word)),
            letter => word.push(letter),
        }
    }
    words.push(word);
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_url_have_the_last_word() {
        let settings = of(r"-c statement_timeout=5s --work-mem=8MB -cpunte.note=a\ b", Some("bus")).unwrap();
        let last: Vec<_> = settings.iter().skip(6).map(|it| (it.name.as_str(), it.value.as_str())).collect();
        assert_eq!(last, [("statement_timeout", "5s"), ("work_mem", "8MB"), ("punte.note", "a b")]);
        assert!(startup(&settings).ends_with(r"-c punte.note=a\ b"));
        assert!(for_one_transaction(&settings).contains("set_config('search_path', 'bus', true)"));
        for bad in ["-F", "-c", "-c x", "work_mem=1", "-c a'b=1"] {
            assert!(of(bad, None).is_err(), "{bad}");
        }
    }
}
