//! gateway: what a request costs more through repod than without it, beside nginx and haproxy.

use crate::figures::{median, quantile, timed, verdict};
use crate::peers;
use crate::stage::{Kept, Stage};
use std::path::Path;
use std::time::Duration;

pub(crate) fn gateway(repod: &Path) {
    println!("\n== gateway: added p50 per keep-alive request (target: no more than nginx adds)");
    println!("   (repod also authenticates; nginx and haproxy let everybody in)");
    side_by_side(Stage::fake(repod), "a backend that answers at once", "/path", 20_000);
    side_by_side(Stage::real(repod), "OpenCode", "/global/health", 3_000);
}

fn side_by_side(stage: Stage, what: &str, path: &str, rounds: usize) {
    println!("   -- {what}, GET {path}");
    let peers = peers::start(&stage);
    let mut ways = vec![
        ("direct", Kept::open(stage.backend.port, path, &stage.backend.opens), Vec::new()),
        ("repod", Kept::open(stage.port, path, &stage.opens), Vec::new()),
    ];
    for peer in &peers {
        ways.push((peer.name, Kept::open(peer.port, path, ""), Vec::new()));
    }
    for (_, kept, _) in &mut ways {
        (0..200).for_each(|_| kept.ask());
    }
    for round in 0..rounds {
        // Nobody always comes after the same one.
        let count = ways.len();
        for turn in 0..count {
            let (_, kept, times) = &mut ways[(round + turn) % count];
            times.push(timed(|| kept.ask()));
        }
    }
    let direct = median(ways[0].2.clone());
    let added = |times: &[Duration]| {
        median(times.to_vec()).as_secs_f64().mul_add(1e6, -(direct.as_secs_f64() * 1e6))
    };
    let nginx = ways.iter().find(|(name, ..)| *name == "nginx").map(|way| added(&way.2));
    for (name, _, times) in &ways {
        let (p50, p99) = (median(times.clone()), quantile(&mut times.clone(), 0.99));
        let more = added(times);
        let more = match nginx {
            _ if *name == "direct" => String::new(),
            Some(nginx) if *name == "repod" => {
                format!("{more:+7.1} us   {:.2} x nginx   {}", more / nginx, verdict(more <= nginx))
            }
            _ => format!("{more:+7.1} us"),
        };
        println!("   {name:<10} p50 {p50:>9.1?}  p99 {p99:>9.1?}   {more}");
    }
    drop((ways, peers));
    stage.world.finish();
}
