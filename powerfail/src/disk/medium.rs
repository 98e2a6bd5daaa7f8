//! The durable bytes of one file, in a file of the backing folder. What a power cut cannot take away. It knows nothing
//! of what was written and not synced.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A file in the backing folder, made when the first byte becomes durable. Behind its end everything is zero.
#[derive(Debug)]
pub(super) struct Medium {
    path: PathBuf,
    file: Option<File>,
}

impl Medium {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Fills the buffer: with zeros where nothing was ever written.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        if let Some(file) = &self.file {
            while filled < buffer.len() {
                match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(bytes) => filled += bytes,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        buffer[filled..].fill(0);
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all_at(bytes, offset)
    }

    /// Cuts or extends it; what an extension adds is zero.
    pub(super) fn resize(&mut self, length: u64) -> io::Result<()> {
        self.file()?.set_len(length)
    }

    fn file(&mut self) -> io::Result<&File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none @ None => {
                let mut options = File::options();
                let options = options.read(true).write(true).create(true).truncate(true);
                Ok(none.insert(options.open(&self.path)?))
            }
        }
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        if self.file.is_some() {
            // The backing folder is removed as a whole at the end: a file that stays does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
