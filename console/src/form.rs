//! What a form brings along, or a query: names and values.

/// Most bytes of a form; definitions are the longest. The API has its own bound, which may be lower.
pub(crate) const FORM_BYTES_MAX: usize = 32 << 20;
/// Most fields of a form.
const FIELDS_MAX: usize = 4_096;

/// Fields in their order; one name may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`. What is no text is replaced, what is too much left out.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(bytes).into_owned();
        Self(pairs.take(FIELDS_MAX).collect())
    }

    /// A value as it is; empty if it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// A value, unless it is missing or empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|value| !value.is_empty())
    }

    /// Whether a box is ticked.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// All values of that name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let fields = Fields::parse(b"name=a+b%2F&id=1&id=2&empty=&bytes=%FF");
        assert_eq!(fields.text("name"), "a b/");
        assert_eq!(fields.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.given("empty"), None);
        assert!(!fields.ticked("missing"));
        assert_eq!(fields.text("bytes"), "\u{fffd}");
        let many = "x=1&".repeat(2 * FIELDS_MAX);
        assert_eq!(Fields::parse(many.as_bytes()).all("x").count(), FIELDS_MAX);
    }
}
