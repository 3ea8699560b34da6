//! How a setting's value is read and shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "must be a string".into())
}

pub(super) fn absolute(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Ok(path) } else { Err("must be an absolute path".into()) }
}

pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    let array = value.as_array().ok_or("must be an array of strings")?;
    array.iter().map(|item| text(item).map(str::to_owned)).collect()
}

/// `scheme://host[:port]`, as browsers send it.
pub(super) fn origins(value: &Value) -> Result<Vec<String>, String> {
    let origins = texts(value)?;
    let is_origin = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(|a| !a.is_empty() && !a.contains(['/', '*', ' ', '?', '#']))
    };
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(wrong) => {
            Err(format!("has `{wrong}`; an origin is like \"https://app.example:8443\""))
        }
        None => Ok(origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect()),
    }
}

pub(super) fn pairs(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let table = value.as_table().ok_or("must be a table of strings")?;
    table.iter().map(|(key, item)| Ok((key.clone(), text(item)?.to_owned()))).collect()
}

pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let example = "must be a duration such as \"30s\" or \"5m\"";
    let parsed =
        humantime::parse_duration(text(value).map_err(|_| example)?).map_err(|_| example)?;
    if parsed.is_zero() { Err(example.into()) } else { Ok(parsed) }
}

pub(super) fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".into())
}

/// A value, or the word for none.
pub(super) fn or_word<T>(
    value: &Value,
    word: &str,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if value.as_str() == Some(word) {
        return Ok(None);
    }
    read(value).map(Some).map_err(|cause| format!("{cause}, or \"{word}\""))
}

pub(super) fn shown(value: Option<impl Into<serde_json::Value>>, word: &str) -> serde_json::Value {
    value.map_or_else(|| word.into(), Into::into)
}

/// Bytes, as "2GiB" or "512MB"; a size without a unit would be taken for another by half its readers.
pub(super) fn size(value: &Value) -> Result<u64, String> {
    let example = "must be a size such as \"2GiB\" or \"512MiB\"";
    let text = text(value).map_err(|_| example)?;
    let parsed: bytesize::ByteSize = text.parse().map_err(|_| example)?;
    if text.ends_with(|last: char| last.is_ascii_digit()) || parsed.as_u64() < 1 << 20 {
        return Err(example.into());
    }
    Ok(parsed.as_u64())
}

pub(super) fn size_text(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// A port of its own choice; 0 would be another one each time.
pub(super) fn port(value: &Value) -> Result<u16, String> {
    let port = count(value, 1, usize::from(u16::MAX))?;
    u16::try_from(port).map_err(|error| error.to_string())
}

pub(super) fn count(value: &Value, least: usize, most: usize) -> Result<usize, String> {
    value
        .as_integer()
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

pub(super) fn number(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    let read = value.as_integer().and_then(|number| u64::try_from(number).ok());
    read.filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}
