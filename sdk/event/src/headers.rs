//! The headers of an event on its own.

/// Ordered pairs of strings with unique keys.
///
/// Few per event, so lookups read along the list. Holds what it is given: limits are checked when
/// an event enters a block.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Headers(Vec::new())
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Sets `key`, in its old place if it was there, else last. Returns the value before.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> Option<String> {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.0.push((key, value));
                None
            }
        }
    }

    /// Removes `key` and returns its value. The others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(place).1)
    }

    /// The pairs in order.
    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From pairs known to have unique keys.
    pub(crate) fn from_unique<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Headers(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// Removes all, keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The pairs of [`Headers`] in order.
pub(crate) type Iter<'a> =
    std::iter::Map<std::slice::Iter<'a, (String, String)>, fn(&(String, String)) -> (&str, &str)>;

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for Headers {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A key that comes again replaces the value before.
impl<K: Into<String>, V: Into<String>> Extend<(K, V)> for Headers {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (key, value) in pairs {
            self.set(key, value);
        }
    }
}

/// A key that comes again replaces the value before.
impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut headers = Headers::new();
        headers.extend(pairs);
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_keep_their_place() {
        let mut headers = Headers::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
        assert_eq!(headers.set("c", "4"), None);
        assert_eq!(headers.remove("a").as_deref(), Some("3"));
        assert_eq!(headers.get("a"), None);
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("b", "2"), ("c", "4")]);
    }
}
