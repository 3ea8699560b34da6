//! A command that belongs to another repository passes OpenCode's questions here, and runs there.

use crate::daemon::Policy;
use crate::{BOUND, Guarded};
use repod_testkit::{Script, wait_until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Stands for `repod`: tells what it was called with.
const PROGRAM: &str = "#!/bin/sh\n\
    printf '%s\\n' \"routed: $*\" \"$REPOD_ROUTED\" \"$REPOD_ROUTED_CALL\"\n\
    exit 3\n";

fn beside_lib(permission: &Value, shell: &str) -> Guarded {
    let config = json!({ "permission": permission, "shell": shell });
    Guarded::beside_lib_with(&config, |dir| {
        let program = dir.join("repod");
        fs_err::write(&program, PROGRAM).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        program
    })
}

fn script(lib: &Path) -> Script {
    let command = "touch here; touch ../lib/there; cd; echo ran";
    let args = json!({ "command": command, "description": "d", "workdir": lib });
    Script::new().tool("bash", args).text("done")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_command_becomes_repods_own() {
    let guarded = beside_lib(&json!({ "bash": "allow", "external_directory": "allow" }), "bash");
    let Guarded { oc, repo, daemon, .. } = &guarded;
    let lib = guarded.lib();
    let turn = oc.turn(repo, script(&lib)).await.unwrap().succeeded();
    let call = &turn.tools[0];
    assert_eq!(call.input["workdir"], json!(lib));
    assert_eq!(call.raw["state"]["metadata"]["exit"], 3);
    let output = call.output.as_deref().unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["routed: __routed", daemon.socket().to_str().unwrap()]);
    let told: Value = serde_json::from_str(lines[2]).unwrap();
    let wanted =
        json!({ "token": crate::daemon::TOKEN, "session": turn.session, "call": call.call_id });
    assert_eq!(told, wanted);
    assert_eq!(daemon.story(), ["ask bash", "report"]);
    assert!(!lib.join("here").exists() && !lib.join("there").exists());

    // The next one at home is OpenCode's own again.
    let turn = oc.turn(repo, Script::new().bash("echo $BASH_ENV at home").text("done")).await;
    let turn = turn.unwrap().succeeded();
    assert_eq!(turn.tools[0].output.as_deref().map(str::trim), Some("at home"));
    guarded.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_command_asks_for_its_directory() {
    let guarded = beside_lib(&json!({ "bash": "allow" }), "bash");
    let Guarded { oc, repo, daemon, .. } = &guarded;
    let lib = guarded.lib();
    for reply in ["once", "reject", "abort"] {
        daemon.clear();
        let session = guarded.session().await;
        oc.start_turn(&session, script(&lib)).await.unwrap();
        let asked = wait_until("the question", BOUND, async || {
            oc.permissions(repo).await.ok()?.into_iter().next()
        })
        .await;
        assert_eq!(asked["permission"], "external_directory");
        assert_eq!(asked["patterns"], json!([format!("{}/*", lib.display())]));
        assert_eq!(asked["metadata"]["directories"], json!([lib]));
        match reply {
            "abort" => oc.abort(&session).await.unwrap(),
            reply => {
                oc.reply_permission(asked["id"].as_str().unwrap(), repo, reply).await.unwrap();
            }
        }
        oc.wait_idle(&session, repo, BOUND).await;
        daemon.wait_for("report", 1).await;
        let call = oc.last_turn(&session).await.unwrap().tools.remove(0);
        let has_run = call.output.is_some_and(|output| output.starts_with("routed: __routed"));
        assert_eq!(has_run, reply == "once");
        assert_eq!(call.input["workdir"], json!(lib));
        assert!(!lib.join("here").exists());
        let stored = json!(oc.messages(&session).await.unwrap()).to_string();
        assert!(!stored.contains("edit-ask.dir-ask"), "{stored}");
    }
    guarded.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_that_can_not_be_led_runs_nothing() {
    let guarded = beside_lib(&json!({ "bash": "allow", "external_directory": "allow" }), "/bin/sh");
    let Guarded { oc, repo, daemon, .. } = &guarded;
    let lib = guarded.lib();
    let turn = oc.turn(repo, script(&lib)).await.unwrap();
    let error = turn.tools[0].error.as_deref().unwrap();
    assert!(error.contains("`/bin/sh`") && error.contains("It was not run"), "{error}");
    daemon.wait_for("report", 1).await;
    assert!(!lib.join("here").exists());
    daemon.set(Policy::Lease(1));
    guarded.finish();
}
