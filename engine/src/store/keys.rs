//! The master key, and the two keys that it wraps: one that seals, one that hashes.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::rand;
use zeroize::{Zeroize, Zeroizing};

use super::StoreError;

/// The key that a store can't be read without. It does not lie in the data folder.
pub struct MasterKey([u8; 32]);

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(•••)")
    }
}

/// A key file can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct KeyError {
    /// What is wrong and what to do.
    pub what: String,
}

fn key_error(what: impl Into<String>) -> KeyError {
    KeyError { what: what.into() }
}

/// 32 bytes of the system's randomness.
pub(crate) fn random_key() -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut()).map_err(|_| key_error("the system gave no random numbers"))?;
    Ok(bytes)
}

impl MasterKey {
    /// A new one.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(MasterKey(*random_key()?))
    }

    /// From its 64 hexadecimal digits; blanks and line ends around them do not count.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim().as_bytes();
        if text.len() != 64 {
            return Err(key_error("a master key is 64 hexadecimal digits"));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
            let digit = |letter: u8| {
                (letter as char)
                    .to_digit(16)
                    .ok_or_else(|| key_error("a master key is 64 hexadecimal digits"))
            };
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(MasterKey(*bytes))
    }

    /// Reads a key file.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let mut text = Zeroizing::new(String::new());
        std::fs::File::open(path)
            .and_then(|file| file.take(1024).read_to_string(&mut text))
            .map_err(|error| key_error(format!("the key file {} can't be read: {error}", path.display())))?;
        Self::from_hex(&text).map_err(|error| key_error(format!("the key file {}: {error}", path.display())))
    }

    /// Writes a key file that only its owner can read. There must be none yet: a key is never overwritten.
    pub fn to_file(&self, path: &Path) -> Result<(), KeyError> {
        let mut text = Zeroizing::new(String::with_capacity(65));
        for byte in self.0 {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(path)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .map_err(|error| {
                key_error(format!(
                    "the key file {} can't be written: {error}",
                    path.display()
                ))
            })
    }

    /// Its bytes, to be sealed for the engine that runs.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the bytes that [`MasterKey::bytes`] gave.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(MasterKey)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, StoreError> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0)
            .map_err(|_| StoreError::Damaged("the master key can't be used".into()))
    }

    /// Seals a key of the store under this one. `name` says which it is, so that two can't be swapped.
    pub(crate) fn wrap(&self, name: &str, key: &[u8; 32]) -> Result<Vec<u8>, StoreError> {
        let mut sealed = key.to_vec();
        let nonce = self
            .cipher()?
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| StoreError::Damaged("a key can't be wrapped".into()))?;
        sealed.extend_from_slice(nonce.as_ref());
        Ok(sealed)
    }

    /// Opens what [`MasterKey::wrap`] sealed.
    pub(crate) fn unwrap(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        let wrong = || {
            StoreError::Damaged(
                "it is sealed under another master key. Give the key that the store was made with".into(),
            )
        };
        let (sealed, nonce) = sealed.split_last_chunk::<12>().ok_or_else(wrong)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plain = self
            .cipher()?
            .open_in_place(nonce.into(), Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| wrong())?;
        let mut key = Zeroizing::new([0; 32]);
        if plain.len() != key.len() {
            return Err(wrong());
        }
        key.copy_from_slice(plain);
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_comes_back_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let key = MasterKey::generate().unwrap();
        key.to_file(&path).unwrap();
        assert_eq!(MasterKey::from_file(&path).unwrap().0, key.0);
        assert!(key.to_file(&path).is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        assert!(MasterKey::from_hex("abc").is_err());
        assert!(MasterKey::from_hex(&"g".repeat(64)).is_err());
    }

    #[test]
    fn a_wrapped_key_opens_only_under_its_own_name_and_master() {
        let master = MasterKey::generate().unwrap();
        let wrapped = master.wrap("data", &[7; 32]).unwrap();
        assert_eq!(*master.unwrap("data", &wrapped).unwrap(), [7; 32]);
        assert!(master.unwrap("hash", &wrapped).is_err());
        assert!(MasterKey::generate().unwrap().unwrap("data", &wrapped).is_err());
        assert!(master.unwrap("data", &wrapped[..5]).is_err());
    }
}
