//! A provider for tests: takes everything, remembers what it took.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dimse::pdu::{Refusal, Reject};
use dimse::{Answers, Association, Command, Error, Limits, Operation, Requested, Status, uids};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use crate::ae;

#[derive(Default)]
pub struct Taken {
    /// Operation, context's syntax, instance, data set.
    pub messages: Mutex<Vec<(Operation, String, String, Bytes)>>,
    /// How each association ended.
    pub ends: Mutex<Vec<String>>,
    /// The longest chunk of a data set.
    pub longest_chunk: Mutex<usize>,
    /// How many matches were sent.
    pub matches: Mutex<usize>,
}

impl Taken {
    pub fn ends(&self) -> Vec<String> {
        self.ends.lock().unwrap().clone()
    }

    pub fn count(&self, operation: Operation) -> usize {
        self.messages
            .lock()
            .unwrap()
            .iter()
            .filter(|(of, ..)| *of == operation)
            .count()
    }

    /// Waits until so many associations have ended.
    pub async fn ended(&self, many: usize) -> Vec<String> {
        for _ in 0..1000 {
            if many <= self.ends().len() {
                return self.ends();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!(
            "{many} associations should have ended, these have: {:?}",
            self.ends()
        );
    }
}

/// Listens on a port of its own.
pub async fn listen(limits: Limits) -> (SocketAddr, Arc<Taken>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(Taken::default());
    let shared = taken.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let taken = shared.clone();
            tokio::spawn(async move {
                let end = match serve(stream, limits, &taken).await {
                    Ok(()) => "answered".to_owned(),
                    Err(error) => error.to_string(),
                };
                taken.ends.lock().unwrap().push(end);
            });
        }
    });
    (address, taken)
}

pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    limits: Limits,
    taken: &Taken,
) -> Result<(), Error> {
    let requested = Requested::read(stream, limits).await?;
    if let Some(reject) = requested.fault() {
        return requested.reject(reject).await;
    }
    if requested.request().called != ae("PUNTE") {
        return requested.reject(Reject::CALLED_AE).await;
    }
    let answers = Answers::by(requested.request(), |proposed| {
        let is_query = [uids::WORKLIST, uids::MPPS, uids::VERIFICATION].contains(&proposed.class.as_str());
        if !is_query && !uids::is_storage(&proposed.class) {
            return Err(Refusal::Class);
        }
        let known = proposed
            .syntaxes
            .iter()
            .find(|syntax| syntax.starts_with(uids::IMPLICIT_LITTLE));
        known.cloned().ok_or(Refusal::Syntaxes)
    });
    let mut association = requested.accept(answers).await?;
    loop {
        let message = association.receive().await?;
        let Some(operation) = message.command.operation() else {
            continue;
        };
        let mut data = Vec::new();
        while let Some(chunk) = association.data().await? {
            let mut longest = taken.longest_chunk.lock().unwrap();
            *longest = chunk.len().max(*longest);
            data.extend_from_slice(&chunk);
        }
        let instance = message.command.instance().unwrap_or_default();
        let of = (
            operation,
            message.context.syntax.clone(),
            instance,
            Bytes::from(data.clone()),
        );
        taken.messages.lock().unwrap().push(of);
        let answer = |status| message.command.answer(status);
        match operation {
            Operation::Find => {
                find(
                    &mut association,
                    message.context.id,
                    &message.command,
                    &data,
                    taken,
                )
                .await?
            }
            _ => {
                association
                    .send(message.context.id, &answer(Status::SUCCESS), None)
                    .await?
            }
        }
    }
}

/// Answers the question itself, a hundred times.
async fn find<S: AsyncRead + AsyncWrite + Unpin>(
    association: &mut Association<S>,
    context: u8,
    command: &Command,
    data: &[u8],
    taken: &Taken,
) -> Result<(), Error> {
    for _ in 0..100 {
        if association.is_cancelled(command.message_id()).await? {
            return association
                .send(context, &command.answer(Status::CANCELLED), None)
                .await;
        }
        association
            .send(context, &command.answer(Status::PENDING), Some(data))
            .await?;
        *taken.matches.lock().unwrap() += 1;
        tokio::task::yield_now().await;
    }
    association
        .send(context, &command.answer(Status::SUCCESS), None)
        .await
}
