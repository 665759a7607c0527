//! The addresses that are to be listened on: free, or held by whom.

use std::net::{SocketAddr, TcpListener};

use engine::channel::Channel;

use super::Line;
use crate::command::client::Client;
use crate::home::{Home, Settings};

/// The HTTP interface and the sources that listen.
pub async fn all(
    home: &Home,
    settings: &Settings,
    channels: &[Channel],
    running: Option<&Client>,
) -> Vec<Line> {
    let (held, running_http) = match running {
        Some(client) => ours(client).await,
        None => (vec![], None),
    };
    let listening = channels.iter().filter_map(|channel| {
        let address = channel.source.settings["listen"].as_str()?;
        Some((format!("channel {}", channel.id), address.to_owned()))
    });
    let mut lines = vec![http(&settings.http.listen, running_http, &held)];
    lines.extend(listening.map(|(who, address)| one(&who, &address, &held)));
    if running.is_none() && home.is_taken() {
        lines.push(Line::problem(
            "port",
            "an engine has this data folder open, and does not answer",
            "look at its log; stop it if it hangs",
        ));
    }
    lines
}

/// The HTTP interface: of an engine that runs, where it is, which `serve --http` may have said.
fn http(in_settings: &str, running: Option<SocketAddr>, held: &[SocketAddr]) -> Line {
    const WHO: &str = "the HTTP interface";
    let elsewhere = running.filter(|address| in_settings.parse() != Ok(*address));
    match elsewhere {
        // Port 0 takes a free one: that is no other place.
        Some(address) if !in_settings.ends_with(":0") => Line::ok(
            "port",
            format!(
                "{WHO}: {address}, held by the engine that runs here; punte.toml has {in_settings}, which was not looked at"
            ),
        ),
        Some(address) => one(WHO, &address.to_string(), held),
        None => one(WHO, in_settings, held),
    }
}

/// The addresses that the engine which runs here holds, and that of its HTTP interface.
async fn ours(client: &Client) -> (Vec<SocketAddr>, Option<SocketAddr>) {
    let channels = client.get("/admin/channels", &()).await.unwrap_or_default();
    let listening = channels["channels"].as_array().cloned().unwrap_or_default();
    let mut held: Vec<SocketAddr> = listening
        .iter()
        .filter_map(|row| row["listens"].as_str()?.parse().ok())
        .collect();
    let status = client.get("/admin/status", &()).await.unwrap_or_default();
    let http: Option<SocketAddr> = status["http"]
        .as_str()
        .and_then(|http| http.split("://").nth(1)?.parse().ok());
    held.extend(http);
    (held, http)
}

fn one(who: &str, address: &str, held: &[SocketAddr]) -> Line {
    let Ok(parsed) = address.parse::<SocketAddr>() else {
        return Line::ok("port", format!("{who}: {address}, not looked at"));
    };
    if held.contains(&parsed) {
        return Line::ok(
            "port",
            format!("{who}: {address}, held by the engine that runs here"),
        );
    }
    // Bound as the engine binds it, and let go again at once.
    match TcpListener::bind(parsed) {
        Ok(_) => Line::ok("port", format!("{who}: {address} is free")),
        Err(error) => match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                let holder = holder(parsed.port()).unwrap_or_else(|| "another program".to_owned());
                Line::problem(
                    "port",
                    format!("{who}: {address} is held by {holder}"),
                    "stop that, or listen elsewhere",
                )
            }
            std::io::ErrorKind::PermissionDenied => Line::problem(
                "port",
                format!("{who}: this user may not listen on {address}"),
                "take a port from 1024 on, or give the program the right to: AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit",
            ),
            _ => Line::problem(
                "port",
                format!("{who}: nobody can listen on {address}: {error}"),
                "see that this machine has that address: ip address",
            ),
        },
    }
}

/// Who listens on a port, as Linux tells those who may know: `nginx (process 812)`.
#[cfg(target_os = "linux")]
fn holder(port: u16) -> Option<String> {
    let listening = |file: &str| -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let socket = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let local = words.get(1)?.rsplit(':').next()?;
            // 0A: LISTEN.
            let is_it = u16::from_str_radix(local, 16).ok()? == port && *words.get(3)? == "0A";
            is_it.then(|| format!("socket:[{}]", words.get(9).unwrap_or(&"")))
        };
        text.lines().skip(1).filter_map(socket).collect()
    };
    let sockets = [listening("/proc/net/tcp"), listening("/proc/net/tcp6")].concat();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let folder = process.path();
        let files = std::fs::read_dir(folder.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let holds = |file: std::fs::DirEntry| {
            let to = std::fs::read_link(file.path()).unwrap_or_default();
            sockets.iter().any(|socket| to.as_os_str() == socket.as_str())
        };
        if { files }.any(holds) {
            let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
            return Some(format!(
                "{} (process {})",
                name.trim(),
                process.file_name().to_string_lossy()
            ));
        }
    }
    None
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
fn holder(_: u16) -> Option<String> {
    None
}
