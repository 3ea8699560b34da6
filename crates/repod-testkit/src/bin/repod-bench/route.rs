//! route: what a write in another repo costs over the target backend's own `/vcs/apply`.

use crate::figures::{quantile, verdict};
use crate::guard::{post, token};
use base64::Engine as _;
use repod_proto::Endpoint;
use repod_testkit::World;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// All that the guard says for one routed `write`, and beside it, on the same backend, one
/// `/vcs/apply` of a patch of the same size.
pub(crate) fn route(repod: &Path) {
    println!(
        "\n== route: a write in another repo, over its backend's own /vcs/apply (target: p50 <= 25 ms)"
    );
    let world = World::builder(repod).build();
    let (from, to) = (world.git_repo("from"), world.git_repo("to"));
    let layout = world.layout();
    let caller: Endpoint = world.repod(["ensure", "--json"]).arg(&from).json();
    let target: Endpoint = world.repod(["ensure", "--json"]).arg(&to).json();
    let (guard, _) = token(&layout, &caller.repo_id);
    let (_, backend) = token(&layout, &target.repo_id);
    let socket = layout.socket();
    let (mut routed, mut applied) = (Vec::new(), Vec::new());
    for n in 0..120 {
        let file = to.join(format!("routed-{n}.txt"));
        let call = json!({ "token": guard, "session": "ses_bench", "call": format!("call_{n}") });
        let with = |more: Value| {
            let mut body = call.clone();
            for (name, value) in more.as_object().into_iter().flatten() {
                body[name] = value.clone();
            }
            body
        };
        let begun = Instant::now();
        let ask = with(json!({ "directory": from, "root": "ses_bench", "title": "bench",
            "tool": "write", "args": { "filePath": file } }));
        post(&socket, "/v1/guard/ask", &ask);
        let laid =
            post(&socket, "/v1/guard/stage", &with(json!({ "name": "edit-allow.dir-allow" })));
        let laid: Value =
            serde_json::from_str(laid.lines().last().unwrap_or_default()).expect("copies");
        let staged = laid["files"][file.to_str().expect("UTF-8")].as_str().expect("a copy");
        fs_err::write(staged, format!("routed {n}\n")).expect("it is ours");
        let done = post(&socket, "/v1/guard/commit", &call);
        post(&socket, "/v1/guard/report", &call);
        let took = begun.elapsed();
        assert!(done.contains("\"done\":true"), "{done}");

        let patch = format!(
            "diff --git a/direct-{n}.txt b/direct-{n}.txt\nnew file mode 100644\n--- /dev/null\n\
             +++ b/direct-{n}.txt\n@@ -0,0 +1 @@\n+direct {n}\n"
        );
        let begun = Instant::now();
        apply(&backend, &to, &patch);
        if n >= 20 {
            routed.push(took);
            applied.push(begun.elapsed());
        }
    }
    let direct = quantile(&mut applied, 0.5);
    let whole = quantile(&mut routed, 0.5);
    let over = whole.saturating_sub(direct);
    println!("   /vcs/apply alone       {direct:>10.1?}");
    println!("   routed, whole          {whole:>10.1?}");
    println!(
        "   over it                {over:>10.1?}   {}",
        verdict(over <= Duration::from_millis(25))
    );
    println!("   routed, p99            {:>10.1?}", quantile(&mut routed, 0.99));
    world.finish();
}

fn apply(backend: &Value, directory: &Path, patch: &str) {
    let port = backend["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    let password = backend["password"].as_str().expect("a password");
    let secret = base64::engine::general_purpose::STANDARD.encode(format!("opencode:{password}"));
    let body = json!({ "patch": patch }).to_string();
    let (length, directory) = (body.len(), directory.display());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the backend listens");
    let request = format!(
        "POST /vcs/apply?directory={directory} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Basic {secret}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // It leaves the connection open: the document's end is the answer's.
    while !String::from_utf8_lossy(&answer).contains("{\"applied\":true}") {
        let read = stream.read(&mut buffer).expect("it answers");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
}
