//! `./bench`: figures beside their targets. Rounds are interleaved, because the machine is noisy:
//! what disturbs one side disturbs the other. Medians, never means.

#![expect(clippy::print_stdout, reason = "it is a report")]

use repod_proto::{Endpoint, Home};
use repod_testkit::world::Running;
use repod_testkit::{World, proc};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(repod) = args.next().map(PathBuf::from) else {
        println!("usage: repod-bench PATH-OF-REPOD [cli|socket|cold|memory|many]...");
        return ExitCode::from(2);
    };
    let wanted: Vec<_> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    type Part = (&'static str, fn(&Path));
    let parts: [Part; 5] =
        [("cli", cli), ("socket", socket), ("cold", cold), ("memory", memory), ("many", many)];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            part(&repod);
        }
    }
    ExitCode::SUCCESS
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = ((times.len() - 1) as f64 * q) as usize;
    times[at]
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

/// Runs a program to its end with nothing to say.
fn spawn(world: &World, program: &Path, args: &[&str], dir: &Path) -> Duration {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env_clear().envs(world.environment().iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    timed(|| {
        let status = command.status().expect("the program runs");
        assert!(status.success(), "{} {args:?}: {status}", program.display());
    })
}

/// Warm `repod ensure` as a whole process.
fn cli(repod: &Path) {
    println!(
        "\n== cli: warm `repod ensure`, whole process (target: <= 2 ms, and <= watchman get-sockname)"
    );
    let world = World::builder(repod).build();
    let repo = world.git_repo("web");
    let _: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
    let watchman = find("watchman");
    let state = world.root().join("wm");
    fs_err::create_dir_all(&state).expect("a directory");
    let sock = state.join("sock");
    let log = state.join("log");
    let wm_args: Vec<String> = vec![
        format!("--sockname={}", sock.display()),
        format!("--logfile={}", log.display()),
        format!("--statefile={}", state.join("state").display()),
        format!("--pidfile={}", state.join("pid").display()),
        "get-sockname".into(),
    ];
    let wm: Vec<&str> = wm_args.iter().map(String::as_str).collect();
    if let Some(watchman) = &watchman {
        spawn(&world, watchman, &wm, &repo);
    } else {
        println!("   watchman is not installed (apt-get install watchman): left out");
    }
    let (mut ours, mut theirs, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..400 {
        floor.push(spawn(&world, Path::new("/bin/true"), &[], &repo));
        ours.push(spawn(&world, repod, &["ensure"], &repo));
        if let Some(watchman) = &watchman {
            theirs.push(spawn(&world, watchman, &wm, &repo));
        }
    }
    let (floor, ours_median) = (median(floor), median(ours));
    println!("   /bin/true              {floor:>10.2?}");
    println!(
        "   repod ensure           {ours_median:>10.2?}   {}",
        verdict(ours_median <= Duration::from_millis(2))
    );
    if watchman.is_some() {
        let theirs = median(theirs);
        let times = ratio(ours_median, theirs);
        println!(
            "   watchman get-sockname  {theirs:>10.2?}   repod is {times:.2} x   {}",
            verdict(times <= 1.0)
        );
        let mut end = wm;
        end.pop();
        end.push("shutdown-server");
        if let Some(watchman) = &watchman {
            spawn(&world, watchman, &end, &repo);
        }
    }
    world.finish();
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// A connection to the daemon that is kept.
struct Socket {
    stream: BufReader<UnixStream>,
}

impl Socket {
    fn open(home: &Home) -> Self {
        Self { stream: BufReader::new(UnixStream::connect(home.socket()).expect("a daemon")) }
    }

    fn ensure(&mut self, path: &Path) {
        let body = format!("{{\"path\":\"{}\"}}", path.display());
        let request = format!(
            "POST /v1/ensure HTTP/1.1\r\nhost: repod\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("it listens");
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("it answers");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
    }
}

/// Warm ensure over the socket.
fn socket(repod: &Path) {
    println!("\n== socket: warm ensure over the socket (target: p50 <= 100 us)");
    let world = World::builder(repod).build();
    let repo = world.git_repo("web");
    let _: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
    let home = world.layout();
    let mut kept = Socket::open(&home);
    for _ in 0..500 {
        kept.ensure(&repo);
    }
    let (mut one, mut fresh) = (Vec::new(), Vec::new());
    for _ in 0..5000 {
        one.push(timed(|| kept.ensure(&repo)));
        fresh.push(timed(|| Socket::open(&home).ensure(&repo)));
    }
    let p99 = quantile(&mut one.clone(), 0.99);
    let p50 = median(one);
    println!(
        "   kept connection        p50 {p50:>9.2?}  p99 {p99:>9.2?}   {}",
        verdict(p50 <= Duration::from_micros(100))
    );
    println!("   a connection each      p50 {:>9.2?}", median(fresh));
    world.finish();
}

/// A cold ensure beside a bare `opencode serve`, both until an authenticated health answer.
fn cold(repod: &Path) {
    println!(
        "\n== cold: ensure of a stopped repo beside a bare `opencode serve` (target: <= 30 ms more)"
    );
    let world = World::builder(repod).build();
    let repo = world.git_repo("web");
    let bare_repo = world.git_repo("bare");
    let _: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
    let first = bare_until_it_answers(&world, &bare_repo);
    first.handle().kill().expect("it runs");
    drop(first.wait(Duration::from_secs(10)));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..15 {
        world.repod(["stop"]).arg(&repo).ok();
        let mut first = || ours.push(timed(|| drop(world.repod(["ensure"]).arg(&repo).ok())));
        let mut second = || {
            let begun = Instant::now();
            let server = bare_until_it_answers(&world, &bare_repo);
            bare.push(begun.elapsed());
            server.handle().kill().expect("it runs");
            drop(server.wait(Duration::from_secs(10)));
        };
        // Whoever comes second finds warmer caches: take turns.
        if round % 2 == 0 {
            first();
            second();
        } else {
            second();
            first();
        }
    }
    let (ours, bare) = (median(ours), median(bare));
    let more = ours.as_secs_f64() * 1e3 - bare.as_secs_f64() * 1e3;
    println!("   bare opencode serve    {bare:>10.1?}");
    println!("   cold repod ensure      {ours:>10.1?}   {more:+.0} ms   {}", verdict(more <= 30.0));
    world.finish();
}

/// `opencode serve` as a user would start it, until its first authenticated answer.
fn bare_until_it_answers(world: &World, repo: &Path) -> Running {
    let server = world
        .command(world.opencode())
        .args(["serve", "--hostname", "127.0.0.1", "--port", "0"])
        .env("OPENCODE_SERVER_PASSWORD", "bench")
        .dir(repo)
        .spawn();
    let line = server.wait_line("the ready line", Duration::from_secs(60), |line| {
        line.starts_with("opencode server listening")
    });
    let port = line.rsplit(':').next().and_then(|port| port.trim().parse::<u16>().ok());
    let mut stream = TcpStream::connect(("127.0.0.1", port.expect("a port"))).expect("it listens");
    // `opencode:bench`
    let head = "GET /global/health HTTP/1.1\r\nhost: x\r\nauthorization: Basic b3BlbmNvZGU6YmVuY2g=\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("it answers");
    assert!(answer.contains("200"), "{answer}");
    server
}

/// Memory of the daemon with 12 backends.
fn memory(repod: &Path) {
    println!("\n== memory: daemon RSS with 12 backends (target: <= 15 MB)");
    let world = World::builder(repod).build();
    let repos: Vec<_> = (0..12).map(|i| world.git_repo(&format!("repo{i}"))).collect();
    let up = timed(|| drop(world.repod(["up"]).args(&repos).bound(Duration::from_secs(240)).ok()));
    for _ in 0..200 {
        world.repod(["ensure"]).arg(&repos[0]).ok();
    }
    world.repod(["ps"]).ok();
    let mut daemon = 0.0;
    for process in world.processes() {
        if process.cmdline.starts_with("repod daemon") {
            let rss = rss_mb(process.pid);
            println!("   {:<24} {rss:>7.1} MB", process.cmdline);
            if !process.cmdline.contains("--standby") {
                daemon = rss;
            }
        }
    }
    println!("   daemon                 {daemon:>7.1} MB   {}", verdict(daemon <= 15.0));
    println!("   12 cold backends up in {up:.1?}");
    world.finish();
}

fn rss_mb(pid: u32) -> f64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    kb / 1024.0
}

/// Warm ensure with 1 and with 1,000 registered repos.
fn many(repod: &Path) {
    println!("\n== many: warm ensure with 1 and with 1,000 registered repos (target: flat)");
    let (one, full) = (World::builder(repod).build(), World::builder(repod).build());
    let mut sockets = Vec::new();
    for world in [&one, &full] {
        let repo = world.git_repo("web");
        let _: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
        sockets.push((Socket::open(&world.layout()), repo));
    }
    // Registered but not running: their start is refused at once, for want of an OpenCode.
    for i in 0..999 {
        let dir = full.plain_dir(&format!("dir{i}"));
        full.repod(["ensure"]).arg(&dir).env("REPOD_OPENCODE", "/nonexistent").run();
    }
    let rows: Vec<serde_json::Value> = full.repod(["ps", "--json"]).json();
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..4000 {
        let [(a, a_repo), (b, b_repo)] = &mut sockets[..] else {
            return;
        };
        small.push(timed(|| a.ensure(a_repo)));
        large.push(timed(|| b.ensure(b_repo)));
    }
    let (small, large) = (median(small), median(large));
    let times = ratio(large, small);
    println!("   1 repo                 p50 {small:>9.2?}");
    println!(
        "   {:<4} repos             p50 {large:>9.2?}   {times:.2} x   {}",
        rows.len(),
        verdict(times <= 1.1)
    );
    let daemon = full.processes().into_iter().find(|p| p.cmdline == "repod daemon");
    if let Some(daemon) = daemon.filter(|d| proc::is_running(d.pid)) {
        println!("   daemon with {} repos: {:.1} MB", rows.len(), rss_mb(daemon.pid));
    }
    one.finish();
    full.finish();
}
