//! The clinic as others use it: change sets are applied to a clinic in memory, and looked at.

mod changes;
mod held;
mod imaging;
mod late;
mod laws;
mod made;
mod merges;
mod patches;
mod patients;
mod people;
mod planned;
mod strangers;
mod values;
