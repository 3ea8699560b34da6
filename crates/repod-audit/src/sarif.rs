//! The report in SARIF 2.1.0, for tools that collect findings.

use crate::catalogue::RULES;
use crate::finding::{Evidence, Finding, Report};
use serde_json::{Value, json};

/// One run of `repod audit` as a SARIF log.
pub fn log(report: &Report, version: &str) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.title },
                "help": { "text": rule.fix },
                "defaultConfiguration": { "level": rule.severity.as_str() },
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "repod audit", "version": version, "rules": rules } },
            "results": report.findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(finding: &Finding) -> Value {
    json!({
        "ruleId": finding.id,
        "level": finding.severity.as_str(),
        "message": { "text": finding.message },
        "locations": finding.evidence.iter().filter_map(location).collect::<Vec<_>>(),
        "properties": { "evidence": finding.evidence, "fix": finding.fix },
    })
}

fn location(evidence: &Evidence) -> Option<Value> {
    let path = evidence.path.as_ref()?.to_str()?;
    let uri: String = path.bytes().map(escaped).collect();
    Some(json!({ "physicalLocation": { "artifactLocation": { "uri": format!("file://{uri}") } } }))
}

/// What may stand in a URI's path stays, the rest is written in hex.
fn escaped(byte: u8) -> String {
    match byte {
        b'/' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_is_a_valid_uri() {
        let finding = Finding::of("RP601", "m", vec![Evidence::pid(7).at("/a b/ü".as_ref())]);
        let log = log(&Report::new(vec![finding], Vec::new()), "1");
        let result = &log["runs"][0]["results"][0];
        let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(
            (uri.as_str(), result["level"].as_str()),
            (Some("file:///a%20b/%C3%BC"), Some("error"))
        );
    }
}
