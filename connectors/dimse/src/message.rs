//! Messages out of fragments (PS3.7 annex F of PS3.8 E: the command first, then the data set; messages never interleave).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::command::Command;
use crate::pdu::{Fault, Pdv};

/// The longest command set that is read. (Longest seen: an N-EVENT-REPORT with a list of attributes, 2 KB.)
const LONGEST_COMMAND: usize = 64 * 1024;

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole command set, and its bytes.
    Command {
        /// The context that it came on.
        context: u8,
        /// Read.
        command: Command,
        /// As it came.
        bytes: Bytes,
    },
    /// The next part of the data set.
    Data(Bytes),
    /// The data set is whole.
    End,
}

/// Puts messages together from fragments in whatever cut they come: several in a PDU, several of a kind in a row, empty
/// ones, of odd length. Knows nothing of associations.
#[derive(Debug, Default)]
pub struct Assembler {
    state: State,
    command: BytesMut,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    InCommand(u8),
    InData(u8),
}

impl Assembler {
    /// Takes the next fragment and adds what it completes.
    pub fn push(&mut self, pdv: Pdv, pieces: &mut VecDeque<Piece>) -> Result<(), Fault> {
        match (self.state, pdv.is_command) {
            (State::Between, true) => self.command(pdv, pieces),
            (State::InCommand(context), true) if context == pdv.context => self.command(pdv, pieces),
            (State::InData(context), false) if context == pdv.context => {
                if !pdv.data.is_empty() {
                    pieces.push_back(Piece::Data(pdv.data));
                }
                if pdv.is_last {
                    pieces.push_back(Piece::End);
                    self.state = State::Between;
                }
                Ok(())
            }
            (State::Between, false) => Err(Fault::unexpected("a data set without a command")),
            (State::InCommand(_), true) | (State::InData(_), false) => {
                Err(Fault::unexpected("a message that goes on in another context"))
            }
            (State::InCommand(_), false) => {
                Err(Fault::unexpected("a data set before the end of its command"))
            }
            (State::InData(_), true) => Err(Fault::unexpected("a command before the end of a data set")),
        }
    }

    /// A message is under way.
    pub fn is_within(&self) -> bool {
        self.state != State::Between
    }

    fn command(&mut self, pdv: Pdv, pieces: &mut VecDeque<Piece>) -> Result<(), Fault> {
        let context = pdv.context;
        if LONGEST_COMMAND < self.command.len() + pdv.data.len() {
            return Err(Fault::invalid("a command set over 64 KB"));
        }
        self.state = State::InCommand(context);
        let bytes = match (pdv.is_last, self.command.is_empty()) {
            (true, true) => pdv.data,
            (is_last, _) => {
                self.command.extend_from_slice(&pdv.data);
                if !is_last {
                    return Ok(());
                }
                self.command.split().freeze()
            }
        };
        let command = Command::read(&bytes)?;
        self.state = match command.has_data() {
            true => State::InData(context),
            false => State::Between,
        };
        pieces.push_back(Piece::Command {
            context,
            command,
            bytes,
        });
        Ok(())
    }
}
