//! From an editor's prompt to what is sent to the backend: text, and files with it.

use super::editor::Editor;
use agent_client_protocol::v1::schema::{ContentBlock, EmbeddedResourceResource, ResourceLink};
use base64::Engine as _;
use repod_opencode::PromptFile;
use std::path::{Path, PathBuf};

/// A prompt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) text: String,
    pub(super) files: Vec<PromptFile>,
}

/// Reads a prompt. Files that are linked come as the editor has them, unsaved changes and all, where it
/// gives them; else from the disk.
pub(super) async fn read(prompt: Vec<ContentBlock>, editor: &Editor) -> Input {
    let mut input = Input::default();
    for block in prompt {
        match block {
            ContentBlock::ResourceLink(link) => {
                let text = match local(&link.uri) {
                    Some(path) => editor.read(&path).await,
                    None => None,
                };
                input.link(link, text);
            }
            block => input.add(block),
        }
    }
    input
}

impl Input {
    fn add(&mut self, block: ContentBlock) {
        match block {
            ContentBlock::Text(text) => self.say(&text.text),
            ContentBlock::Image(image) => {
                let filename = image.uri.as_deref().map(name_of);
                self.inline(&image.mime_type, &image.data, filename);
            }
            ContentBlock::Audio(audio) => self.inline(&audio.mime_type, &audio.data, None),
            ContentBlock::Resource(embedded) => match embedded.resource {
                EmbeddedResourceResource::TextResourceContents(text) => {
                    self.text_file(&text.text, &text.uri);
                }
                EmbeddedResourceResource::BlobResourceContents(blob) => {
                    let mime = blob.mime_type.as_deref().unwrap_or("application/octet-stream");
                    self.inline(mime, &blob.blob, Some(name_of(&blob.uri)));
                }
                _ => {}
            },
            ContentBlock::ResourceLink(link) => self.link(link, None),
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// `text` is what the editor has of it.
    fn link(&mut self, link: ResourceLink, text: Option<String>) {
        let Some(path) = local(&link.uri) else {
            self.say(&link.uri);
            return;
        };
        // The prompt reads on where the link stood.
        self.say(&format!("@{}", path.display()));
        match text {
            Some(text) => self.text_file(&text, &link.uri),
            None => self.files.push(PromptFile {
                mime: link.mime_type.unwrap_or_else(|| "text/plain".to_owned()),
                url: link.uri,
                filename: Some(link.name),
            }),
        }
    }

    fn text_file(&mut self, text: &str, uri: &str) {
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        let name = local(uri).map_or_else(|| uri.to_owned(), |path| path.display().to_string());
        self.inline("text/plain", &data, Some(name));
    }

    fn inline(&mut self, mime: &str, data: &str, filename: Option<String>) {
        let url = format!("data:{mime};base64,{data}");
        self.files.push(PromptFile { mime: mime.to_owned(), url, filename });
    }
}

/// The path of a `file:` URI, without the lines it may name.
pub(super) fn local(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let path = rest.split(['#', '?']).next().unwrap_or_default();
    let path = path.strip_prefix("localhost").unwrap_or(path);
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.as_bytes();
    while let Some((first, rest)) = left.split_first() {
        let code = (*first == b'%').then(|| rest.get(..2)).flatten();
        let code = code.and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                left = &rest[2..];
            }
            None => {
                bytes.push(*first);
                left = rest;
            }
        }
    }
    let path = PathBuf::from(String::from_utf8(bytes).ok()?);
    path.is_absolute().then_some(path)
}

fn name_of(uri: &str) -> String {
    let path = local(uri).unwrap_or_else(|| PathBuf::from(uri));
    let name = Path::new(&path).file_name().and_then(|name| name.to_str());
    name.unwrap_or(uri).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_client_protocol::v1::schema::{EmbeddedResource, TextResourceContents};
    use proptest::prelude::*;

    #[test]
    fn a_linked_file_is_named_in_the_text_and_goes_with_it() {
        let mut input = Input::default();
        input.add("look at ".into());
        input.add(ContentBlock::ResourceLink(ResourceLink::new("a b.rs", "file:///r/a%20b.rs#L3")));
        input.add(" please".into());
        assert_eq!(input.text, "look at @/r/a b.rs please");
        assert_eq!(input.files[0].url, "file:///r/a%20b.rs#L3");
        assert_eq!(input.files[0].filename.as_deref(), Some("a b.rs"));
    }

    #[test]
    fn what_the_editor_has_of_a_file_goes_instead_of_the_file() {
        let mut input = Input::default();
        input.link(ResourceLink::new("a", "file:///r/a"), Some("unsaved".to_owned()));
        assert_eq!(input.files[0].url, "data:text/plain;base64,dW5zYXZlZA==");
        let resource = TextResourceContents::new("unsaved", "file:///r/a");
        let mut embedded = Input::default();
        embedded.add(ContentBlock::Resource(EmbeddedResource::new(
            EmbeddedResourceResource::TextResourceContents(resource),
        )));
        assert_eq!(embedded.files, input.files);
    }

    #[test]
    fn only_an_absolute_file_uri_is_a_file() {
        assert_eq!(local("file:///a/b"), Some("/a/b".into()));
        assert_eq!(local("file://localhost/a?x"), Some("/a".into()));
        assert_eq!(local("file:///%41%zz%"), Some("/A%zz%".into()));
        assert_eq!(local("https://x/a"), None);
        assert_eq!(local("file://a/b"), None);
        assert_eq!(local("/a/b"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_uri_or_none(text in ".*") {
            let _ = local(&text);
            let _ = local(&format!("file://{text}"));
        }
    }
}
