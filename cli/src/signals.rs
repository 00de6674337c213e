//! Ctrl-C and requests to end, for commands that can stop in the middle.

use std::sync::{Arc, atomic::AtomicBool};

use signal_hook::{consts::TERM_SIGNALS, flag};

/// Set by Ctrl-C and by a request to end; the second one ends the command at once.
pub fn stop() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in TERM_SIGNALS {
        // In this order: the first signal sets what the second one looks at.
        let end = flag::register_conditional_shutdown(signal, 130, stop.clone());
        if let Err(error) = end.and_then(|_| flag::register(signal, stop.clone())) {
            log::warn!("signal {signal} ends the command at once: {error}");
        }
    }
    stop
}
