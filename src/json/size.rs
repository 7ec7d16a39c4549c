//! A JSON value comes in; whether it is small goes out.

use serde_json::Value;

/// Whether all texts and members together take no more than so many bytes. It looks at no more of a large one than that.
pub fn is_small(value: &Value, max_bytes: usize) -> bool {
    fits(value, &mut { max_bytes })
}

fn fits(value: &Value, left_bytes: &mut usize) -> bool {
    let own = match value {
        Value::String(text) => text.len(),
        Value::Object(members) => members.keys().map(String::len).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
    };
    let Some(left) = left_bytes.checked_sub(own + size_of::<Value>()) else { return false };
    *left_bytes = left;
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, left_bytes)),
        Value::Object(members) => members.values().all(|member| fits(member, left_bytes)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}
