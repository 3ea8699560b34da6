//! `repod-model` as the demo and the benchmark start it.

use repod_testkit::{Oc, World};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_port_is_on_the_first_line() {
    let world = World::bare_builder().build();
    let model = world.command(env!("CARGO_BIN_EXE_repod-model")).args(["--port", "0"]).spawn();
    let line = model.wait_line("address", BOUND, |line| line.starts_with("listening on "));
    let url = line.strip_prefix("listening on ").unwrap();
    let models = Oc::new(url).get("/v1/models", None).await.unwrap();
    assert_eq!(models["data"].as_array().unwrap().len(), 3);
    drop(model);
    world.finish();
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    let world = World::bare_builder().build();
    let output = world.command(env!("CARGO_BIN_EXE_repod-model")).arg("--prot=1").run();
    assert_eq!(output.code, 2);
    assert!(output.stderr.starts_with("usage: "), "{}", output.stderr);
    world.finish();
}
