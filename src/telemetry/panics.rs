//! A panic comes in; its place goes to the log, and its text only where the program itself wrote it.
//!
//! A text that was put together at run time quotes what it stumbled over: a slice of somebody's request, for example.

use std::panic::PanicHookInfo;

/// From now on panics are told so, in all threads.
pub fn tell_panics_discreetly() {
    std::panic::set_hook(Box::new(|panic| {
        let told = told(panic);
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!("{told}");
        } else {
            eprintln!("punte: {told}");
        }
    }));
}

fn told(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let text = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"its text is not shown");
    format!("a panic at {place}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};

    #[test]
    fn what_a_panic_stumbled_over_is_not_told() {
        let (heard, before) = (Arc::new(Mutex::new(String::new())), std::panic::take_hook());
        let hearing = heard.clone();
        std::panic::set_hook(Box::new(move |panic| {
            hearing.lock().unwrap_or_else(PoisonError::into_inner).push_str(&told(panic));
        }));
        let text = String::from("ș-canary");
        let caught = std::panic::catch_unwind(|| text[1..].len());
        std::panic::set_hook(before);
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(caught.is_err() && heard.contains("panics.rs") && !heard.contains("canary"), "{heard}");
    }
}
