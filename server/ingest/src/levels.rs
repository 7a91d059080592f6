//! What may be promised to whom.

use sdk_event::Level;

/// The level that blocks of a session are answered at.
///
/// `asked` is what the producer wants (`None`: whatever the flow gives), `own` what the flow gives
/// now. A lower ask is answered at the flow's own level.
///
/// # Errors
/// A sentence, when the flow cannot give what is asked.
pub(crate) fn agree(asked: Option<Level>, own: Level) -> Result<Level, &'static str> {
    match asked {
        None => Ok(own),
        // Files decide about this one, not the log.
        Some(Level::Committed) => Ok(Level::Committed),
        Some(asked) if asked <= own => Ok(own),
        Some(Level::Replicated) if own == Level::Received => {
            Err("level replicated is not given: a required channel of the flow is a memory channel")
        }
        Some(Level::Replicated) => Err(
            "level replicated is not given: the shard has one replica; ask for local or committed",
        ),
        Some(_) => {
            Err("level local is not given: a required channel of the flow is a memory channel")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ask_of_every_flow() {
        use Level::{Committed, Local, Received, Replicated};
        let table = [
            (None, [Some(Received), Some(Local), Some(Replicated)]),
            (Some(Received), [Some(Received), Some(Local), Some(Replicated)]),
            (Some(Local), [None, Some(Local), Some(Replicated)]),
            (Some(Replicated), [None, None, Some(Replicated)]),
            (Some(Committed), [Some(Committed); 3]),
        ];
        for (asked, answers) in table {
            for (own, answer) in [Received, Local, Replicated].into_iter().zip(answers) {
                assert_eq!(agree(asked, own).ok(), answer, "{asked:?} of a {own} flow");
            }
        }
    }
}
