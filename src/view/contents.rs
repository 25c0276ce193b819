//! What stands in files, as a script sees it: on the disk, or as this run has pretended or begun with.

use std::path::Path;

use super::View;
use crate::base::error::{Error, Kind, Position, Result};
use crate::host::files::{EntryKind, TEXT_LIMIT};
use crate::host::sight::Look;
use crate::view::overlay::Seen;
use crate::workspace::Place;
use crate::workspace::flags::Flags;

impl View {
    /// As much of one of our own logs as was there when the run began.
    fn as_begun(&self, path: &Path, mut contents: Vec<u8>) -> Vec<u8> {
        if let Some(size) = self.errand.logs.get(path) {
            let size = usize::try_from(size.unwrap_or(0)).unwrap_or(usize::MAX);
            contents.truncate(size);
        }
        contents
    }

    /// The contents of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Invalid`] for what is no regular file or too large, [`Kind::Failed`] where the
    /// contents depend on a command that was not run.
    pub fn read(&self, place: &Place, limit: u64) -> Result<Vec<u8>> {
        self.require(&place.absolute, EntryKind::File)?;
        self.look(Look::Contents, place)?;
        match self
            .overlay()
            .seen(&self.workspace.aliases().first_name(&place.absolute))
        {
            Seen::Real(real) => Ok(self.as_begun(
                &place.absolute,
                self.host.files.read(&real, limit).map_err(Error::of_looking)?,
            )),
            Seen::Text(bytes) => Ok(bytes.to_vec()),
            Seen::Unknown(why) => Err(unknown(place, why)),
            Seen::Gone | Seen::Directory => Err(Error::bug(format!("`{place}` is no file"))),
        }
    }

    /// The contents of a text file.
    ///
    /// # Errors
    /// As [`View::read`]; [`Kind::Invalid`] where it is not UTF-8.
    pub fn read_text(&self, place: &Place) -> Result<String> {
        String::from_utf8(self.read(place, TEXT_LIMIT)?).map_err(|error| {
            Error::invalid(format!(
                "`{place}` is not UTF-8 (at byte {})",
                error.utf8_error().valid_up_to()
            ))
        })
    }

    /// BLAKE3 of a file's contents, in hexadecimal.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn digest(&self, place: &Place) -> Result<String> {
        self.require(&place.absolute, EntryKind::File)?;
        self.look(Look::Contents, place)?;
        if self.errand.logs.contains_key(&place.absolute) {
            let contents = self.read(place, u64::MAX)?;
            return Ok(blake3::hash(&contents).to_hex().to_string());
        }
        match self
            .overlay()
            .seen(&self.workspace.aliases().first_name(&place.absolute))
        {
            Seen::Real(real) => {
                let read = self.host.files.digest_while(&real, &|| self.allowance.check());
                read.map_err(Error::of_looking)
            }
            Seen::Text(bytes) => Ok(blake3::hash(bytes).to_hex().to_string()),
            Seen::Unknown(why) => Err(unknown(place, why)),
            Seen::Gone | Seen::Directory => Err(Error::bug(format!("`{place}` is no file"))),
        }
    }

    /// The flags, through the overlay; `None` where there is no file.
    ///
    /// # Errors
    /// [`Kind::Configuration`] where the file is no mapping.
    pub fn flags(&self) -> Result<Option<Flags>> {
        let position = || Position {
            file: self.workspace.flags_file().display,
            line: 0,
            column: 0,
            source: None,
        };
        self.flags_text()?
            .map(|text| Flags::parse(&text).map_err(|error| error.at(position())))
            .transpose()
    }

    /// The text of the flags file; `None` where there is no file.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn flags_text(&self) -> Result<Option<String>> {
        let place = self.workspace.flags_file();
        match self.read_text(&place) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(Error::configuration(format!(
                "cannot read the flags file: {}",
                error.message()
            ))
            .hint("make it a readable text file, or name another one as flags_file in `rollback.yaml`")),
        }
    }
}

fn unknown(place: &Place, why: &str) -> Error {
    Error::unknown(format!(
        "the contents of `{place}` cannot be known before the run: {why}"
    ))
    .hint("move this after the real command, or don't build on it in a preview")
}
