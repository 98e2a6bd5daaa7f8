//! The format of `rabbitmq.conf`: `key = value`, comments from `#`, quotes around a value that needs them. Knows no key.

/// One line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number, from 1.
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

impl Entry {
    /// The line for people; secrets are not shown.
    pub(super) fn shown(&self) -> String {
        let is_secret = ["pass", "password", "secret", "cookie"]
            .iter()
            .any(|word| self.key.split(['.', '_']).any(|part| part == *word));
        let value = if is_secret { "..." } else { &self.value };
        format!("{} = {value}", self.key)
    }

    /// The last part of the key: the name of a listener, a tag.
    pub(super) fn last(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or_default()
    }
}

/// The entries of a file, in their order. Of a key that is there twice the last one counts.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut faults = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let (line, content) = (index + 1, raw.trim());
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let Some((key, value)) = content.split_once('=') else {
            faults.push(format!("line {line}: must be `key = value`"));
            continue;
        };
        let key = key.trim().to_owned();
        if key.is_empty() || key.split('.').any(str::is_empty) {
            faults.push(format!("line {line}: `{key}` is no key"));
            continue;
        }
        entries.retain(|entry| entry.key != key);
        let value = plain(value);
        entries.push(Entry { line, key, value });
    }
    if faults.is_empty() {
        Ok(entries)
    } else {
        Err(faults)
    }
}

/// A value without its quotes, or without the comment behind it.
fn plain(value: &str) -> String {
    let value = value.trim();
    if let Some(rest) = value.strip_prefix('\'')
        && let Some((quoted, _)) = rest.split_once('\'')
    {
        return quoted.to_owned();
    }
    // A `#` within a word belongs to it, as in a password.
    let comment = value.find(" #").or_else(|| value.find("\t#"));
    comment.map_or(value, |at| value[..at].trim_end()).to_owned()
}
