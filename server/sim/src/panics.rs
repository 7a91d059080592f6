//! Panics in tasks, which the node survives and a test must not.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

/// Remembers panics from now on, each for its thread.
pub(crate) fn remember() {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
        }));
    });
}

/// The panics of this thread since it was last asked.
pub(crate) fn take() -> Vec<String> {
    PANICS.take()
}
