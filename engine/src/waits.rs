//! Work that waits for the disk, on the thread that needs it. To hand it to another one and be woken by that costs two
//! changes of thread, which is as much as a short wait.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{JoinError, block_in_place, spawn_blocking};

use crate::store::StoreError;

/// Does what may wait for the disk, or take long, on a thread for that. A panic there is an error that says what broke off, and not
/// its own text, which may quote a message.
pub async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let broken = |_| E::from(StoreError::Unavailable(format!("{what} was broken off")));
    spawn_blocking(work).await.map_err(broken)?
}

/// Whether a task may wait here: others go on meanwhile.
pub(crate) fn may_wait_here() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Does it here. Only where [`may_wait_here`].
pub(crate) fn here<T>(work: impl FnOnce() -> T) -> T {
    block_in_place(work)
}

/// Does it here where it may, else on a thread that is for waiting.
pub(crate) async fn here_or_there<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match may_wait_here() {
        true => Ok(block_in_place(work)),
        false => spawn_blocking(work).await,
    }
}
