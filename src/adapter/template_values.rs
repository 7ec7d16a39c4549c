//! A JSON value comes in; the same goes out as templates see it.

use minijinja::value::Value as Seen;
use serde_json::{Number, Value};

/// Objects keep the order of their members. Numbers are what calculating and comparing in a template need: integers up to
/// 128 bits, or doubles. What a double does not hold is refused at the office's door.
pub fn seen(value: &Value) -> Seen {
    match value {
        Value::Null => Seen::from(()),
        Value::Bool(flag) => Seen::from(*flag),
        Value::Number(number) => seen_number(number),
        Value::String(text) => Seen::from(text.as_str()),
        Value::Array(items) => items.iter().map(seen).collect(),
        Value::Object(members) => Seen::from_pairs(members.iter().map(|(name, value)| (name.as_str(), seen(value)))),
    }
}

fn seen_number(number: &Number) -> Seen {
    if let Some(whole) = number.as_i64().filter(|_| number.as_str() != "-0") {
        return Seen::from(whole);
    }
    match (number.as_i128(), number.as_f64()) {
        (Some(whole), _) if number.as_str() != "-0" => Seen::from(whole),
        (_, Some(double)) => Seen::from(double),
        // Beyond every double, and so beyond what may be asked for.
        (_, None) => Seen::UNDEFINED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_printed_as_it_was_written() {
        for text in [
            r#"{"z":1,"a":[true,null,"é"],"m":{}}"#,
            "[0,-7,9223372036854775807,18446744073709551615,100000000000000000000,-100000000000000000000]",
            "[1.5,0.1,1.0,1e-7]",
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&seen(&value)).unwrap(), value.to_string());
        }
        assert_eq!(seen(&serde_json::from_str("100000000000000000000").unwrap()).to_string(), "100000000000000000000");
        assert_eq!(seen(&serde_json::from_str("1.10").unwrap()).to_string(), "1.1");
    }
}
