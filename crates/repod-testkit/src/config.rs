//! The OpenCode configuration that makes the scripted model the only model a test can reach.

use serde_json::{Value, json};

/// Id of the provider in the configuration.
pub const PROVIDER: &str = "scripted";
/// The model whose tools are `write` and `edit`.
pub const MODEL: &str = "scripted/plain";
/// The model whose only writing tool is `apply_patch`: OpenCode 1.18.33 decides that by the id.
pub const PATCH_MODEL: &str = "scripted/gpt-5-scripted";
/// The model OpenCode asks for titles.
pub const SMALL_MODEL: &str = "scripted/small";

/// What the configuration says about permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permissions {
    /// `edit`, `bash` and `external_directory` are allowed, so that no turn waits for a person.
    #[default]
    Allow,
    /// Nothing is said: OpenCode's own defaults.
    Defaults,
    /// `edit` and `bash` ask every time.
    Ask,
}

/// The configuration for the model server at `base_url`, with everything allowed.
pub fn provider_config(base_url: &str) -> Value {
    provider_config_with(base_url, Permissions::Allow)
}

/// The configuration for the model server at `base_url` (`http://127.0.0.1:<port>`, without `/v1`).
///
/// `$schema` is set because OpenCode rewrites a configuration file that lacks it.
pub fn provider_config_with(base_url: &str, permissions: Permissions) -> Value {
    let model = |name: &str| {
        json!({
            "name": name,
            "tool_call": true,
            "reasoning": true,
            "limit": { "context": 200_000, "output": 16_384 },
        })
    };
    let id = |full: &str| full.strip_prefix("scripted/").unwrap_or(full).to_owned();
    let mut config = json!({
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": false,
        "share": "disabled",
        "model": MODEL,
        "small_model": SMALL_MODEL,
        "provider": {
            PROVIDER: {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Scripted",
                "options": {
                    "baseURL": format!("{}/v1", base_url.trim_end_matches('/')),
                    "apiKey": "none",
                },
                "models": {
                    id(MODEL): model("Scripted"),
                    id(PATCH_MODEL): model("Scripted, apply_patch"),
                    id(SMALL_MODEL): model("Scripted, titles"),
                },
            },
        },
    });
    match permissions {
        Permissions::Allow => {
            config["permission"] =
                json!({ "edit": "allow", "bash": "allow", "external_directory": "allow" });
        }
        Permissions::Ask => config["permission"] = json!({ "edit": "ask", "bash": "ask" }),
        Permissions::Defaults => {}
    }
    config
}
