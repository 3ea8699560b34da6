//! What a model is called: `provider/model`. The model may have slashes of its own.

use repod_proto::{ApiError, ErrorCode};
use sha2::{Digest as _, Sha256};

/// The full name of a model; a bare one is the default provider's.
pub(crate) fn full_name(text: &str, default_provider: Option<&str>) -> Result<String, ApiError> {
    let text = text.trim();
    match (text.split_once('/'), default_provider) {
        (Some((provider, model)), _)
            if !provider.is_empty() && !model.is_empty() && !model.ends_with('/') =>
        {
            Ok(text.to_owned())
        }
        (None, Some(provider)) if !text.is_empty() => Ok(format!("{provider}/{text}")),
        (None, None) if !text.is_empty() => {
            let message = format!("the model `{text}` is named without its provider");
            Err(ApiError::new(ErrorCode::InvalidRequest, message).hint(
                "write it as `provider/model`, or set `[sessions] default_provider` in repod.toml",
            ))
        }
        _ => {
            let message = format!("`{text}` is no model");
            Err(ApiError::new(ErrorCode::InvalidRequest, message).hint(
                "a model is named `provider/model`, for example `anthropic/claude-sonnet-4-5`",
            ))
        }
    }
}

/// Provider and model of a full name.
pub(crate) fn parts(name: &str) -> Option<(String, String)> {
    let (provider, model) = name.split_once('/')?;
    Some((provider.to_owned(), model.to_owned()))
}

/// What a conversation depends on, in short: one that was begun with another model or agent isn't resumed.
pub(crate) fn config_hash(model: &str, agent: &str) -> String {
    let digest = Sha256::digest(format!("opencode\0{model}\0{agent}"));
    crate::secret::hex(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_model_has_a_provider_or_gets_the_default_one() {
        let name = |text, default| full_name(text, default).map_err(|error| error.code);
        assert_eq!(name("a/b", None), Ok("a/b".into()));
        assert_eq!(name(" router/vendor/b ", None), Ok("router/vendor/b".into()));
        assert_eq!(name("b", Some("a")), Ok("a/b".into()));
        for bad in ["", " ", "/", "a/", "/b", "a/b/"] {
            assert_eq!(name(bad, Some("p")), Err(ErrorCode::InvalidRequest), "{bad}");
        }
        assert_eq!(name("b", None), Err(ErrorCode::InvalidRequest));
        assert_eq!(parts("router/vendor/b"), Some(("router".into(), "vendor/b".into())));
        assert_ne!(config_hash("a/b", ""), config_hash("a/b", "plan"));
    }

    proptest! {
        #[test]
        fn a_full_name_stays_what_it_is_and_has_both_parts(text in ".{0,20}") {
            if let Ok(name) = full_name(&text, Some("p")) {
                prop_assert_eq!(&full_name(&name, None).unwrap(), &name);
                let (provider, model) = parts(&name).unwrap();
                prop_assert!(!provider.is_empty() && !model.is_empty());
            }
        }
    }
}
