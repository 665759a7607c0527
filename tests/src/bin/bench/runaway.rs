//! What a script that runs away inside one native call costs the other channels: their rate before it, while it runs, and
//! from one limit later on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::program::{Home, Punte};

use crate::Plan;
use crate::load::{self, Until};
use crate::messages::Pool;
use crate::scenes::free_address;

/// The limit of time of the scripts that run away: the default.
const LIMIT: Duration = Duration::from_secs(1);
/// Connections of the other channel.
const CONNECTIONS: usize = 4;
/// How often each figure is measured; the middle one counts.
const ROUNDS: usize = 3;

/// Nothing but the end of its process stops these.
const BOMBS: [(&str, &str); 3] = [
    ("join", "new Array(1e9) + ''"),
    (
        "sort",
        "Array.from({ length: 3e6 }, (_, idx) => (idx * 7919) % 3000017).sort()",
    ),
    ("regex", "/^(a|aa)+$/.test('a'.repeat(60) + 'b')"),
];

/// The other channels: one that only stores, and one with a script of its own.
const OTHERS: [&str; 2] = ["plain", "script"];

/// What one of them did beside one that ran away.
pub struct Beside {
    pub bomb: &'static str,
    pub channel: &'static str,
    /// Messages a second.
    pub before: f64,
    pub during: f64,
    pub after: f64,
    /// After, as a part of before.
    pub ratio: f64,
}

/// Measures each bomb beside each channel.
pub fn run(plan: &Plan) -> Result<Vec<Beside>> {
    let mut addresses: Vec<(String, SocketAddr)> = vec![];
    let mut channels: Vec<(String, String)> = vec![];
    for name in OTHERS.into_iter().chain(BOMBS.map(|(name, _)| name)) {
        let address = free_address()?;
        let step = match name {
            "plain" => String::new(),
            name => format!("[[step]]\nscript = \"{name}.js\"\n"),
        };
        channels.push((
            name.to_owned(),
            format!("id = \"{name}\"\nsource.mllp.listen = \"{address}\"\n{step}"),
        ));
        addresses.push((name.to_owned(), address));
    }
    let listed: Vec<(&str, &str)> = channels
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let home = Home::with(&listed)?;
    let script = |name: &str, body: &str| {
        let path = home.path().join("channels").join(format!("{name}.js"));
        std::fs::write(
            path,
            format!("export default function (message) {{\n  {body};\n}}\n"),
        )
    };
    script("script", "message.set('MSH-5', 'GOOD')")?;
    for (name, body) in BOMBS {
        script(name, body)?;
    }
    let punte = home.serve()?;
    let to = |name: &str| {
        let found = addresses.iter().find(|(known, _)| known == name);
        found.map(|(_, address)| *address).context("no such channel")
    };
    let pool = Arc::new(Pool::new());
    let mut next = 0;
    let mut found = vec![];
    for channel in OTHERS {
        let address = to(channel)?;
        // A moment to start workers and to write the first pages.
        rate(address, Until::Passed(LIMIT), &mut next, &pool)?;
        for (bomb, _) in BOMBS {
            eprintln!("bench: {bomb} beside {channel}");
            let mut rounds = vec![];
            for _ in 0..ROUNDS {
                rounds.push(round(to(bomb)?, address, plan.beside, &mut next, &pool)?);
            }
            rounds.sort_by(|one, other| (one.2 / one.0).total_cmp(&(other.2 / other.0)));
            let (before, during, after) = rounds[ROUNDS / 2];
            found.push(Beside {
                bomb,
                channel,
                before,
                during,
                after,
                ratio: after / before,
            });
        }
    }
    stopped(punte)?;
    Ok(found)
}

/// The rates of one channel before another one's script runs away, meanwhile, and one limit later.
fn round(
    bomb: SocketAddr,
    other: SocketAddr,
    time: Duration,
    next: &mut u64,
    pool: &Arc<Pool>,
) -> Result<(f64, f64, f64)> {
    let before = rate(other, Until::Passed(time), next, pool)?;
    let mut stream = TcpStream::connect(bomb)?;
    let mut message = vec![0x0B];
    let mut body = vec![];
    pool.write(*next, &mut body);
    *next += 1;
    message.extend(body);
    message.extend([0x1C, 0x0D]);
    stream.write_all(&message)?;
    let during = rate(other, Until::Passed(LIMIT), next, pool)?;
    let after = rate(other, Until::Passed(time), next, pool)?;
    // It was no bomb where its message passes.
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer)?;
    if !answer[..count].windows(7).any(|seven| seven == b"MSA|AE|") {
        bail!(
            "what was to run away did not: {}",
            String::from_utf8_lossy(&answer[..count])
        );
    }
    Ok((before, during, after))
}

fn rate(to: SocketAddr, until: Until, next: &mut u64, pool: &Arc<Pool>) -> Result<f64> {
    let sent = load::send(to, CONNECTIONS, until, *next, pool)?;
    // Numbers that were taken and not sent are not used again.
    *next += sent.messages + CONNECTIONS as u64;
    Ok(sent.messages as f64 / sent.took.as_secs_f64())
}

fn stopped(punte: Punte) -> Result<()> {
    let status = punte.stop()?;
    if !status.success() {
        bail!("the program ended with {status}");
    }
    Ok(())
}
