//! Alerts: episodes, what is still to be told of them, and who was heard when.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Shared, sql_error, time};
use crate::store::{Alert, AlertNotice, StoreError};

/// How long an episode that is over is kept, in microseconds: 90 days.
const KEPT: i64 = 90 * 86_400 * 1_000_000;

/// Begins an episode and notes whom to tell, unless there is one of that already.
pub(crate) fn begin(connection: &Connection, alert: &Alert) -> rusqlite::Result<bool> {
    let at = alert.began.as_microsecond();
    connection.execute(
        "DELETE FROM alert WHERE ended_at < ?1 AND nr NOT IN (SELECT alert FROM alert_notice)",
        [at.saturating_sub(KEPT)],
    )?;
    let begun = connection.execute(
        "INSERT INTO alert (what, says, receivers, began_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![alert.what, alert.says, alert.receivers.join(" "), at],
    )?;
    if begun == 0 {
        return Ok(false);
    }
    tell(
        connection,
        connection.last_insert_rowid(),
        false,
        &alert.receivers,
        at,
    )?;
    Ok(true)
}

/// Ends an episode and notes to tell those who were told of its beginning. False: there is none.
pub(crate) fn end(connection: &Connection, what: &str, at: Timestamp) -> rusqlite::Result<bool> {
    let at = at.as_microsecond();
    let ended: Option<(i64, String)> = connection
        .query_row(
            "UPDATE alert SET ended_at = ?2 WHERE what = ?1 AND ended_at IS NULL RETURNING nr, receivers",
            params![what, at],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((nr, receivers)) = ended else {
        return Ok(false);
    };
    tell(connection, nr, true, &words(&receivers), at)?;
    Ok(true)
}

fn tell(
    connection: &Connection,
    alert: i64,
    is_end: bool,
    receivers: &[String],
    due: i64,
) -> rusqlite::Result<()> {
    for receiver in receivers {
        connection.execute(
            "INSERT INTO alert_notice (alert, is_end, receiver, attempts, due) VALUES (?1, ?2, ?3, 0, ?4)",
            params![alert, is_end, receiver, due],
        )?;
    }
    Ok(())
}

/// A notice was told, or is given up.
pub(crate) fn told(connection: &Connection, nr: i64) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM alert_notice WHERE nr = ?1", [nr])? > 0)
}

/// A notice could not be told, and is tried again.
pub(crate) fn not_told(connection: &Connection, nr: i64, due: Timestamp) -> rusqlite::Result<bool> {
    let changed = connection.execute(
        "UPDATE alert_notice SET attempts = attempts + 1, due = ?2 WHERE nr = ?1",
        params![nr, due.as_microsecond()],
    )?;
    Ok(changed > 0)
}

/// Something came in by a channel.
pub(crate) fn hear(connection: &Connection, channel: &str, at: Timestamp) -> rusqlite::Result<bool> {
    connection.execute(
        "INSERT OR REPLACE INTO heard (channel, at) VALUES (?1, ?2)",
        params![channel, at.as_microsecond()],
    )?;
    Ok(true)
}

/// The episodes that are on, then those that are over, newest first.
pub(crate) fn all(_: &Shared, connection: &Connection, limit: u32) -> Result<Vec<Alert>, StoreError> {
    connection
        .prepare(
            "SELECT nr, what, says, receivers, began_at, ended_at FROM alert
             ORDER BY ended_at IS NOT NULL, began_at DESC, nr DESC LIMIT ?1",
        )
        .and_then(|mut statement| statement.query_map([limit], alert)?.collect())
        .map_err(sql_error)
}

/// What is still to be told, in order.
pub(crate) fn notices(
    _: &Shared,
    connection: &Connection,
    limit: u32,
) -> Result<Vec<AlertNotice>, StoreError> {
    let notice = |row: &Row<'_>| {
        Ok(AlertNotice {
            alert: alert(row)?,
            nr: row.get(6)?,
            is_end: row.get(7)?,
            receiver: row.get(8)?,
            attempts: row.get(9)?,
            due: time(row.get(10)?),
        })
    };
    connection
        .prepare(
            "SELECT a.nr, a.what, a.says, a.receivers, a.began_at, a.ended_at, n.nr, n.is_end, n.receiver, n.attempts, n.due
             FROM alert_notice n JOIN alert a ON a.nr = n.alert ORDER BY n.nr LIMIT ?1",
        )
        .and_then(|mut statement| statement.query_map([limit], notice)?.collect())
        .map_err(sql_error)
}

/// When something came in by each channel last.
pub(crate) fn heard(_: &Shared, connection: &Connection) -> Result<Vec<(String, Timestamp)>, StoreError> {
    let row = |row: &Row<'_>| Ok((row.get(0)?, time(row.get(1)?)));
    connection
        .prepare("SELECT channel, at FROM heard ORDER BY channel")
        .and_then(|mut statement| statement.query_map([], row)?.collect())
        .map_err(sql_error)
}

fn alert(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let receivers: String = row.get(3)?;
    Ok(Alert {
        nr: row.get(0)?,
        what: row.get(1)?,
        says: row.get(2)?,
        receivers: words(&receivers),
        began: time(row.get(4)?),
        ended: row.get::<_, Option<i64>>(5)?.map(time),
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
