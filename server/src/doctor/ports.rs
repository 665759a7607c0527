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
    let held = match running {
        Some(client) => ours(client).await,
        None => vec![],
    };
    let listening = channels.iter().filter_map(|channel| {
        let address = channel.source.settings["listen"].as_str()?;
        Some((format!("channel {}", channel.id), address.to_owned()))
    });
    let http = std::iter::once(("the HTTP interface".to_owned(), settings.http.listen.clone()));
    let mut lines: Vec<Line> = http
        .chain(listening)
        .map(|(who, address)| one(&who, &address, &held))
        .collect();
    if running.is_none() && home.is_taken() {
        lines.push(Line::problem(
            "port",
            "an engine has this data folder open, and does not answer",
            "look at its log; stop it if it hangs",
        ));
    }
    lines
}

/// The addresses that the engine which runs here holds.
async fn ours(client: &Client) -> Vec<SocketAddr> {
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
    held
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
