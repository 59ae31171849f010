//! Typed access to the fields of one JSON object of a request. Each refusal names the field and says what belongs there.
//!
//! A field that is null counts as absent: programs write null for "not given".

use serde_json::{Map, Value};

use super::error::Reject;

/// Longest list of words in a selector: more than any set of words has.
pub(super) const LIST_LENGTH_MAX: usize = 64;

/// The fields of one object, none of them unknown.
pub(super) struct Fields<'a> {
    of: &'static str,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which is what stands after `"of":`.
    ///
    /// # Errors
    /// When it is no object or has a field that is not in `known`.
    pub(super) fn new(
        of: &'static str,
        value: &'a Value,
        known: &[&str],
    ) -> Result<Fields<'a>, Reject> {
        let Some(object) = value.as_object() else {
            return Err(invalid(
                format!("`{of}` is not an object"),
                format!("write {{\"{of}\":{{}}}}"),
            ));
        };
        if let Some(name) = object.keys().find(|key| !known.contains(&key.as_str())) {
            let hint = if known.is_empty() {
                format!("`{of}` takes no fields")
            } else {
                format!("`{of}` takes {}", known.join(", "))
            };
            let message = format!("unknown field `{}` in `{of}`", shortened(name));
            return Err(Reject::new("unknown_field", message, hint));
        }
        Ok(Fields { of, object })
    }

    /// The value of a field that is there and not null.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Text of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Not text, or too long.
    pub(super) fn text(&self, key: &str, bytes_max: usize) -> Result<Option<&'a str>, Reject> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.as_str() {
            Some(text) if text.len() <= bytes_max => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, format!("text of at most {bytes_max} bytes"))),
            None => Err(self.wrong(key, "text")),
        }
    }

    /// A whole number from 0 to `max`.
    ///
    /// # Errors
    /// Anything else, also a number written with a point or an exponent.
    pub(super) fn number(&self, key: &str, max: u64) -> Result<Option<u64>, Reject> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.as_u64().filter(|number| *number <= max) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(key, format!("a whole number from 0 to {max}"))),
        }
    }

    /// A list of words, each of which `parse` knows; `all` is for the hint.
    ///
    /// # Errors
    /// Not a list, an empty one (it would select nothing), too long, or an unknown word.
    pub(super) fn words<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
        all: &[&str],
    ) -> Result<Option<Vec<T>>, Reject> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let expected = || format!("a list, not empty, of: {}", all.join(", "));
        let list = value
            .as_array()
            .filter(|list| (1..=LIST_LENGTH_MAX).contains(&list.len()));
        let Some(list) = list else {
            return Err(self.wrong(key, expected()));
        };
        let words: Option<Vec<T>> = list
            .iter()
            .map(|word| word.as_str().and_then(&parse))
            .collect();
        match words {
            Some(words) => Ok(Some(words)),
            None => Err(self.wrong(key, expected())),
        }
    }

    /// The refusal of a field's value.
    pub(super) fn wrong(&self, key: &str, expected: impl AsRef<str>) -> Reject {
        invalid(
            format!(
                "`{key}` in `{}` is not {}",
                self.of,
                expected
                    .as_ref()
                    .split(':')
                    .next()
                    .unwrap_or("what belongs there")
            ),
            format!("`{key}` is {}", expected.as_ref()),
        )
    }
}

/// A refused value.
pub(super) fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Reject {
    Reject::new("invalid_value", message, hint)
}

/// The beginning of a name that came from outside, so that a refusal stays a line.
pub(super) fn shortened(name: &str) -> String {
    const CHARS_SHOWN: usize = 64;
    let mut shown: String = name.chars().take(CHARS_SHOWN).collect();
    if shown.len() < name.len() {
        shown.push_str("...");
    }
    shown
}
