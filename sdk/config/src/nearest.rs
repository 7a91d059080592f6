//! The known name that a wrong one was probably meant to be.

/// The candidate nearest to `word`, if one is near enough to be worth saying.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = plain(word);
    let ranked = candidates.into_iter().map(|candidate| (distance(&plain, candidate), candidate));
    let (distance, nearest) = ranked.min_by_key(|(distance, _)| *distance)?;
    let longer = plain.chars().count().max(nearest.chars().count());
    (distance <= (longer / 3).max(1) && distance < longer).then_some(nearest)
}

/// `` did you mean `x`? `` or, when nothing is near, what there is.
pub(crate) fn suggest(word: &str, candidates: &[&str], kind: &str) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if candidates.is_empty() => "remove it".to_owned(),
        None => format!("{kind} {}", listed(candidates)),
    }
}

/// `` `a`, `b`, `c` ``, at most sixty of them.
pub(crate) fn listed(names: &[&str]) -> String {
    const LISTED_MAX: usize = 60;
    let mut text: Vec<String> =
        names.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED_MAX {
        text.push("…".to_owned());
    }
    text.join(", ")
}

/// Differences that do not count: case, `_`, `-` and `.` (so `rollInterval` is `roll_interval`).
fn plain(word: &str) -> String {
    word.chars().filter(|c| !"_-.".contains(*c)).flat_map(char::to_lowercase).collect()
}

fn distance(plain_word: &str, candidate: &str) -> usize {
    let candidate = plain(candidate);
    let edits = strsim::damerau_levenshtein(plain_word, &candidate);
    // A part of a name (`interval` for `roll_interval`) is nearer than its missing letters say.
    const PART_MIN: usize = 5;
    let part = plain_word.len() >= PART_MIN && candidate.contains(plain_word)
        || candidate.len() >= PART_MIN && plain_word.contains(&candidate);
    if part { edits.min(2) } else { edits }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_other_spellings_and_parts_are_near() {
        let keys = ["roll_interval", "roll_size", "roll_count", "path", "codec", "channel"];
        for (word, meant) in [
            ("roll_intervall", Some("roll_interval")),
            ("rollInterval", Some("roll_interval")),
            ("interval", Some("roll_interval")),
            ("codeC", Some("codec")),
            ("chanel", Some("channel")),
            ("channels", Some("channel")),
            ("pth", Some("path")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }
}
