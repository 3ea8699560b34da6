//! Server-sent events onto the wire. Off it they come by `repod_opencode::SseDecoder`.

use bytes::{BufMut as _, Bytes, BytesMut};

/// An event for the wire: an id and one line of data.
pub(super) fn encode(id: &str, data: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(id.len() + data.len() + 14);
    frame.put_slice(b"id: ");
    frame.put_slice(id.as_bytes());
    frame.put_slice(b"\ndata: ");
    frame.put_slice(data);
    frame.put_slice(b"\n\n");
    frame.freeze()
}

/// An event that is not numbered.
pub(super) fn encode_plain(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// A line for people and logs; clients skip it.
pub(super) fn comment(text: &str) -> Bytes {
    Bytes::from(format!(": repod: {text}\n\n"))
}

/// JSON on one line. A line's end is only ever white space in JSON.
pub(super) fn one_line(data: Bytes) -> Bytes {
    if !data.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return data;
    }
    let spaced = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    data.iter().map(spaced).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use repod_opencode::SseDecoder;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "[ -~]{0,80}") {
            let frame = encode("e-1", text.as_bytes());
            prop_assert_eq!(SseDecoder::new(1024).push(&frame), [text]);
        }
    }
}
