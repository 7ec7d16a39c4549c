//! A filter's text comes in; the same text without its comments goes out, so that a word in a comment is no use of what it names.

/// What the text is inside of.
enum Inside {
    Text,
    /// The parentheses that are open since `\(`.
    Interpolation(usize),
}

pub(super) fn without_comments(source: &str) -> String {
    let (mut kept, mut inside, mut rest) = (String::with_capacity(source.len()), Vec::new(), source);
    while let Some(first) = rest.chars().next() {
        if first == '#' && !matches!(inside.last(), Some(Inside::Text)) {
            rest = after_comment(rest);
            continue;
        }
        let is_escape = first == '\\' && matches!(inside.last(), Some(Inside::Text));
        let length = first.len_utf8() + if is_escape { next_length(rest) } else { 0 };
        let (taken, after) = rest.split_at(length);
        step(&mut inside, taken);
        kept.push_str(taken);
        rest = after;
    }
    kept
}

/// Of the character after a backslash.
fn next_length(rest: &str) -> usize {
    rest.chars().nth(1).map_or(0, char::len_utf8)
}

fn step(inside: &mut Vec<Inside>, taken: &str) {
    match (inside.last_mut(), taken) {
        (Some(Inside::Text), "\"") => _ = inside.pop(),
        (Some(Inside::Text), "\\(") => inside.push(Inside::Interpolation(0)),
        (Some(Inside::Text), _) => {}
        (_, "\"") => inside.push(Inside::Text),
        (Some(Inside::Interpolation(open)), "(") => *open += 1,
        (Some(Inside::Interpolation(0)), ")") => _ = inside.pop(),
        (Some(Inside::Interpolation(open)), ")") => *open -= 1,
        _ => {}
    }
}

/// From the line's end on. A line that ends with an odd number of backslashes goes on in the next (jq's manual, "Comments").
fn after_comment(comment: &str) -> &str {
    let mut rest = comment;
    loop {
        let end = rest.find('\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let backslashes = line.chars().rev().take_while(|last| *last == '\\').count();
        if backslashes % 2 == 0 || after.is_empty() {
            return after;
        }
        rest = &after[1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_comment_is_gone_and_what_only_looks_like_one_stays() {
        for (source, kept) in [
            ("# .reference\n.body # and reference\n| .a", "\n.body \n| .a"),
            ("\"#\" + .reference", "\"#\" + .reference"),
            ("\"\\\"# a\" # b", "\"\\\"# a\" "),
            ("\"\\(.a # one ( \" two\n) # three\" + .b # four", "\"\\(.a \n) # three\" + .b "),
            ("\"\\((.a) + \"#\\(.b)#\")#\" # end", "\"\\((.a) + \"#\\(.b)#\")#\" "),
            (". # goes on \\\nreference\n.a", ". \n.a"),
            (". # does not \\\\\n.reference", ". \n.reference"),
            (". # goes on \\\r\nreference\r\n.a", ". \n.a"),
            (".é # ž", ".é "),
            ("#\\", ""),
            ("\"a\\", "\"a\\"),
        ] {
            assert_eq!(without_comments(source), kept, "{source:?}");
        }
    }
}
