//! Channels and destinations by their numbers.

use std::collections::HashMap;

use rusqlite::Connection;

/// Both ways round. Small: as many entries as there are channels and destinations.
#[derive(Clone, Default)]
pub(crate) struct Names {
    channels: HashMap<String, i64>,
    destinations: HashMap<i64, HashMap<String, i64>>,
    channel_names: HashMap<i64, String>,
    destination_names: HashMap<i64, (i64, String)>,
}

impl Names {
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut names = Names::default();
        let mut statement = connection.prepare("SELECT nr, name FROM channel")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            names.add_channel(row.get(0)?, row.get(1)?);
        }
        let mut statement = connection.prepare("SELECT nr, channel, name FROM destination")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            names.add_destination(row.get(0)?, row.get(1)?, row.get(2)?);
        }
        Ok(names)
    }

    fn add_channel(&mut self, nr: i64, name: String) {
        self.channels.insert(name.clone(), nr);
        self.channel_names.insert(nr, name);
    }

    fn add_destination(&mut self, nr: i64, channel: i64, name: String) {
        self.destinations
            .entry(channel)
            .or_default()
            .insert(name.clone(), nr);
        self.destination_names.insert(nr, (channel, name));
    }

    pub(crate) fn channel(&self, name: &str) -> Option<i64> {
        self.channels.get(name).copied()
    }

    pub(crate) fn destination(&self, channel: i64, name: &str) -> Option<i64> {
        self.destinations.get(&channel)?.get(name).copied()
    }

    /// The name of a channel; one that is not known has none.
    pub(crate) fn channel_name(&self, nr: i64) -> String {
        self.channel_names.get(&nr).cloned().unwrap_or_default()
    }

    /// The name of a destination; one that is not known has none.
    pub(crate) fn destination_name(&self, nr: i64) -> String {
        self.destination_names
            .get(&nr)
            .map(|(_, name)| name.clone())
            .unwrap_or_default()
    }

    /// The channel that a destination belongs to.
    pub(crate) fn channel_of(&self, destination: i64) -> Option<i64> {
        self.destination_names
            .get(&destination)
            .map(|(channel, _)| *channel)
    }

    /// The number of a channel, which is written where it is new. True: it was.
    pub(crate) fn intern_channel(
        &mut self,
        connection: &Connection,
        name: &str,
    ) -> rusqlite::Result<(i64, bool)> {
        if let Some(nr) = self.channel(name) {
            return Ok((nr, false));
        }
        connection.execute("INSERT INTO channel (name) VALUES (?1)", [name])?;
        let nr = connection.last_insert_rowid();
        self.add_channel(nr, name.to_owned());
        Ok((nr, true))
    }

    /// The number of a destination, which is written where it is new. True: it was.
    pub(crate) fn intern_destination(
        &mut self,
        connection: &Connection,
        channel: i64,
        name: &str,
    ) -> rusqlite::Result<(i64, bool)> {
        if let Some(nr) = self.destination(channel, name) {
            return Ok((nr, false));
        }
        connection.execute(
            "INSERT INTO destination (channel, name) VALUES (?1, ?2)",
            rusqlite::params![channel, name],
        )?;
        let nr = connection.last_insert_rowid();
        self.add_destination(nr, channel, name.to_owned());
        Ok((nr, true))
    }
}
