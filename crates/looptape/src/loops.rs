//! One task of an agent, and what its requests say of it.

use crate::connection::LOOPTAPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

tokio::task_local! {
    static CURRENT: Loop;
}

/// How often each name was taken.
static NAMES: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);

/// One task of the agent: the model calls made while it runs are a loop of this name. A name that comes again is a loop
/// of its own.
#[derive(Clone, Debug)]
pub struct Loop {
    label: String,
    trace: Option<String>,
}

impl Loop {
    pub fn new(name: &str) -> Self {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = names.entry(name.to_owned()).or_default();
        *nth += 1;
        let label = if *nth == 1 { name.to_owned() } else { format!("{name} {nth}") };
        Self { label, trace: CURRENT.try_with(|outer| outer.trace.clone()).ok().flatten() }
    }

    /// The same, in a trace that is not the recorded run's: its id, or an incoming W3C `traceparent`.
    pub fn in_trace(self, trace: &str) -> Self {
        let trace = of_traceparent(trace).unwrap_or(trace);
        Self { trace: Some(trace.to_owned()), ..self }
    }

    /// Runs `inside` as this loop. Tasks that it spawns are in it only if they run a loop of their own.
    pub async fn run<F: Future>(self, inside: F) -> F::Output {
        CURRENT.scope(self, inside).await
    }
}

/// Headers that say which loop and trace a request is of: for clients without [`crate::InLoop`], and for other services.
/// Empty without looptape.
pub fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(looptape) = &*LOOPTAPE else { return headers };
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let current = CURRENT.try_with(Loop::clone).ok();
    let own = current.as_ref().and_then(|current| current.trace.clone());
    if let Some(current) = &current {
        put("x-looptape-loop", &current.label);
    }
    if let Some(trace) = &own {
        put("x-looptape-trace", trace);
    }
    let trace = own.or_else(|| looptape.trace.clone()).filter(|trace| is_hex(trace, 32));
    let mut span = [0; 8];
    if let Some(trace) = trace.filter(|_| getrandom::fill(&mut span).is_ok()) {
        put("traceparent", &format!("00-{trace}-{:016x}-01", u64::from_be_bytes(span)));
    }
    headers
}

/// The trace of a `traceparent`.
fn of_traceparent(text: &str) -> Option<&str> {
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [version, trace, span, flags]
            if is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2) =>
        {
            Some(trace)
        }
        _ => None,
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_of_traceparents() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of_traceparent(&format!("00-{trace}-00f067aa0ba902b7-01")), Some(trace));
        for other in [trace, "00-4bf92f35-00f067aa0ba902b7-01", "", "a-b-c-d"] {
            assert_eq!(of_traceparent(other), None);
        }
    }

    #[test]
    fn a_name_that_comes_again_is_another_loop() {
        let labels: Vec<String> = (0..3).map(|_| Loop::new("again").label).collect();
        assert_eq!(labels, ["again", "again 2", "again 3"]);
    }

    /// Tests run without looptape.
    #[test]
    fn nothing_is_said_without_looptape() {
        assert!(headers().is_empty());
    }
}
