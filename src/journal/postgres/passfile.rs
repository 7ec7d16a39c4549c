//! A file of passwords, in the form of libpq's (`host:port:database:user:password`), or with one password alone.

/// The password of the first line that fits. A file of a single line that has no four colons is the password itself.
pub fn password(text: &str, wanted: [&str; 4]) -> Option<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if let [only] = lines.as_slice()
        && fields(only).len() < 5
    {
        return Some(only.trim().to_owned());
    }
    let entries = lines.iter().filter(|line| !line.starts_with('#')).map(|line| fields(line));
    entries.filter(|fields| fits(fields, wanted)).find_map(|fields| fields.into_iter().nth(4))
}

fn fits(fields: &[String], wanted: [&str; 4]) -> bool {
    fields.len() >= 5 && fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted)
}

/// `\:` and `\\` stand for themselves. After the fourth colon comes the password, and nothing else.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.trim_end_matches('\r').chars();
    while let Some(letter) = letters.next() {
        let is_password = fields.len() == 5;
        let letter = match letter {
            ':' if !is_password => {
                fields.push(String::new());
                continue;
            }
            '\\' => letters.next().unwrap_or('\\'),
            letter => letter,
        };
        if let Some(last) = fields.last_mut() {
            last.push(letter);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [&str; 4] = ["db.example", "5432", "punte", "bus"];

    #[test]
    fn the_first_line_that_fits_counts() {
        let file = "# passwords\nother:*:*:*:no\n*:5432:punte:bus:a\\:b\\\\c:d\n*:*:*:*:later\n";
        assert_eq!(password(file, WANTED).as_deref(), Some("a:b\\c:d"));
        assert_eq!(password("other:*:*:*:no\nanother:*:*:*:no\n", WANTED), None);
    }

    #[test]
    fn a_single_line_that_is_no_entry_is_the_password() {
        assert_eq!(password("s3:cret\n", WANTED).as_deref(), Some("s3:cret"));
        assert_eq!(password("other:*:*:*:no\n", WANTED), None);
        assert_eq!(password("\n", WANTED), None);
    }
}
