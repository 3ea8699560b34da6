//! The peers of the gateway: nginx and haproxy, in front of the same backend, with its header set.

use crate::figures::find;
use crate::stage::Stage;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long one may take to listen.
const START: Duration = Duration::from_secs(10);

/// What a peer's configuration file says: it listens on this port, and its files lie there.
type Config = fn(&Stage, u16, &str) -> String;

/// One that runs; it ends when this is dropped.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    child: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // nginx's master ends its workers on SIGTERM, not when it is killed.
        let handle = repod_testkit::proc::Handle::open(self.child.id());
        if let Ok(handle) = handle {
            let _ = handle.terminate();
        }
        let _ = self.child.wait();
    }
}

/// Those that are installed; the others are named.
pub(crate) fn start(stage: &Stage) -> Vec<Peer> {
    let dir = stage.world.root().join("peers");
    fs_err::create_dir_all(&dir).expect("a directory");
    let known: [(&str, &str, Config); 2] =
        [("nginx", "nginx-light", nginx), ("haproxy", "haproxy", haproxy)];
    let mut peers = Vec::new();
    for (name, package, config) in known {
        let Some(program) = find(name).or_else(|| sbin(name)) else {
            println!("   {name} is not installed (apt-get install {package}): left out");
            continue;
        };
        let port = free_port();
        let file = dir.join(format!("{name}.conf"));
        let text = config(stage, port, &dir.display().to_string());
        fs_err::write(&file, text).expect("a file");
        let mut command = Command::new(program);
        if name == "nginx" {
            command.arg("-e").arg(dir.join("nginx.err")).arg("-c").arg(&file);
        } else {
            command.arg("-db").arg("-f").arg(&file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("it can be run");
        let peer = Peer { name, port, child };
        if listens(port) {
            peers.push(peer);
        } else {
            println!("   {name} did not come up: left out");
        }
    }
    peers
}

fn sbin(name: &str) -> Option<PathBuf> {
    let file = PathBuf::from("/usr/sbin").join(name);
    file.is_file().then_some(file)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("a loopback port").port()
}

fn listens(port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < START {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

fn nginx(stage: &Stage, port: u16, dir: &str) -> String {
    let (backend, header) = (stage.backend.port, value(&stage.backend.opens));
    format!(
        "daemon off; worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/nginx.err;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off; tcp_nodelay on; keepalive_requests 10000000;\n\
         client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;\n\
         uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 10000000; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{\n\
         proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Authorization \"{header}\"; }} }}\n}}\n"
    )
}

fn haproxy(stage: &Stage, port: u16, _: &str) -> String {
    let (backend, header) = (stage.backend.port, value(&stage.backend.opens));
    let header = header.replace(' ', "\\ ");
    format!(
        "global\n  nbthread 2\n  maxconn 1024\n\
         defaults\n  mode http\n  option http-no-delay\n  option http-keep-alive\n  http-reuse always\n\
         \x20 timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
         backend b\n  http-request set-header Authorization {header}\n  server s 127.0.0.1:{backend}\n"
    )
}

fn value(header: &str) -> &str {
    header.split_once(": ").map_or("", |(_, value)| value)
}
