//! Something made of files, and made anew once they have changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Files that can't be used are tried again this often although they look the same: a file may be written twice within
/// one tick of its file system's clock.
const AGAIN: Duration = Duration::from_secs(1);

/// What a file looks like from outside; none: it is not there.
type Look = Option<(SystemTime, u64, u64)>;
type Make<T> = dyn Fn() -> Result<T, String> + Send + Sync;

pub(super) struct Fresh<T> {
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    made_of: Vec<Look>,
    /// Files that can't be used, and when they were tried last.
    refused: Option<(Vec<Look>, Instant)>,
}

impl<T: Send + Sync + 'static> Fresh<T> {
    /// Makes it for the first time.
    pub(super) fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, String> {
        let made_of = look(&files);
        let value = Arc::new(make()?);
        Ok(Arc::new(Fresh {
            files,
            make: Box::new(make),
            state: Mutex::new(State {
                value,
                made_of,
                refused: None,
            }),
        }))
    }

    /// What the files are now; what they were where they can't be used now.
    pub(super) async fn get(self: &Arc<Self>) -> Arc<T> {
        let this = self.clone();
        // A file system may be slow.
        match tokio::task::spawn_blocking(move || this.get_now()).await {
            Ok(value) => value,
            // The runtime is ending.
            Err(_) => self.lock().value.clone(),
        }
    }

    fn get_now(&self) -> Arc<T> {
        let now = look(&self.files);
        let mut state = self.lock();
        if state.made_of == now {
            state.refused = None;
            return state.value.clone();
        }
        let known = state.refused.as_ref().filter(|(looks, _)| *looks == now);
        if known.is_some_and(|(_, tried)| tried.elapsed() < AGAIN) {
            return state.value.clone();
        }
        let is_known = known.is_some();
        match (self.make)() {
            // Still being written: the next who comes looks again.
            Ok(_) if look(&self.files) != now => {}
            Ok(value) => {
                tracing::info!(files = ?self.files, "New certificates are in use from now on.");
                state.value = Arc::new(value);
                state.made_of = now;
                state.refused = None;
            }
            Err(error) => {
                if !is_known {
                    tracing::warn!(%error, "New certificates can't be used; the old ones stay in use.");
                }
                state.refused = Some((now, Instant::now()));
            }
        }
        state.value.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(files: &[PathBuf]) -> Vec<Look> {
    files
        .iter()
        .map(|file| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), number(&metadata)))
        })
        .collect()
}

/// What tells apart two files of one name, where the system says it.
#[cfg(unix)]
fn number(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn broken_files_change_nothing_and_right_ones_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("number");
        std::fs::write(&file, "1").expect("written");
        let read = file.clone();
        let fresh = Fresh::new(vec![file.clone()], move || {
            let text = std::fs::read_to_string(&read).map_err(|error| error.to_string())?;
            text.parse::<u32>().map_err(|error| error.to_string())
        })
        .expect("it is there");
        assert_eq!(*fresh.get().await, 1);
        std::fs::write(&file, "two").expect("written");
        assert_eq!(*fresh.get().await, 1);
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(*fresh.get().await, 1);
        std::fs::write(&file, "22").expect("written");
        assert_eq!(*fresh.get().await, 22);
        assert!(Fresh::new(vec![], || Err::<u32, _>("nothing".to_owned())).is_err());
    }
}
