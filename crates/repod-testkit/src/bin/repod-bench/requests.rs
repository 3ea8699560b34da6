//! requests: how many requests a second go through at 16 connections, beside nginx and haproxy.

use crate::figures::{find, verdict};
use crate::peers;
use crate::stage::Stage;
use std::path::Path;
use std::process::Command;

const ROUNDS: usize = 9;

pub(crate) fn requests(repod: &Path) {
    println!("\n== requests: requests/s at 16 connections (target: at least nginx's)");
    let Some(wrk) = find("wrk") else {
        println!("   wrk is not installed (apt-get install wrk): left out");
        return;
    };
    let stage = Stage::fake(repod);
    let peers = peers::start(&stage);
    let mut ways = vec![
        ("direct", stage.backend.port, stage.backend.opens.clone(), Vec::new()),
        ("repod", stage.port, stage.opens.clone(), Vec::new()),
    ];
    for peer in &peers {
        ways.push((peer.name, peer.port, "X-None: 1".to_owned(), Vec::new()));
    }
    for round in 0..ROUNDS {
        let count = ways.len();
        for turn in 0..count {
            let (_, port, opens, rates) = &mut ways[(round + turn) % count];
            rates.push(rate(&wrk, *port, opens));
        }
    }
    let mut nginx = None;
    let mut rows = Vec::new();
    for (name, _, _, rates) in &mut ways {
        rates.sort_by(f64::total_cmp);
        let middle = rates[rates.len() / 2];
        nginx = if *name == "nginx" { Some(middle) } else { nginx };
        rows.push((*name, middle, rates[0], rates[rates.len() - 1]));
    }
    for (name, middle, least, most) in rows {
        let verdict = match nginx {
            Some(nginx) if name == "repod" => {
                format!("{:.2} x nginx   {}", middle / nginx, verdict(middle >= nginx))
            }
            _ => String::new(),
        };
        println!("   {name:<10} {middle:>8.0}/s  ({least:.0} to {most:.0})   {verdict}");
    }
    drop(peers);
    stage.world.finish();
}

/// One short round.
fn rate(wrk: &Path, port: u16, opens: &str) -> f64 {
    let url = format!("http://127.0.0.1:{port}/path");
    let output = Command::new(wrk)
        .args(["-t1", "-c16", "-d1s", "-H", opens, &url])
        .output()
        .expect("wrk can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    line.and_then(|rate| rate.trim().parse().ok()).expect("wrk says a rate")
}
