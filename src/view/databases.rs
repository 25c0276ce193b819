//! Databases as a preview has them so far: which files belong together, and which lie below a place.

use tracing::debug;

use super::{Size, View};
use crate::base::database;
use crate::base::database::{HEAD, SMALLEST, Side, Sort};
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::files::EntryKind;
use crate::host::sight::Look;
use crate::view::overlay::Seen;
use crate::workspace::Place;

/// The longest name, in bytes.
const NAME_LIMIT: usize = 255;

/// A database with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its file.
    pub main: Place,
    /// Its kind.
    pub sort: &'static Sort,
    /// What belongs to it and is there, with what comes after its name.
    pub sides: Vec<(Place, &'static str)>,
}

impl Database {
    /// Everything of it, its file first.
    pub fn members(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.main).chain(self.sides.iter().map(|(side, _)| side))
    }

    /// Where everything of it goes when its file goes there.
    #[must_use]
    pub fn moves_to(&self, view: &View, to: &Place) -> Vec<(Place, Place)> {
        let sides = self
            .sides
            .iter()
            .map(|(side, suffix)| (side.clone(), view.beside(to, suffix)));
        std::iter::once((self.main.clone(), to.clone()))
            .chain(sides)
            .collect()
    }

    /// What goes along, for the plan; empty where it stands alone.
    #[must_use]
    pub fn along(&self) -> String {
        if self.sides.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.sides.iter().map(|(side, _)| format!("`{side}`")).collect();
        format!(
            ", with {}, which the {} database needs,",
            names.join(", "),
            self.sort.name
        )
    }
}

impl View {
    /// The place whose name is that of another, and more.
    #[must_use]
    pub fn beside(&self, place: &Place, suffix: &str) -> Place {
        let name = place.absolute.file_name().unwrap_or_default();
        let path = place.absolute.with_file_name(database::with_suffix(name, suffix));
        self.workspace.show(&path)
    }

    /// The database that a path is, or to which it belongs.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub fn database(&self, place: &Place) -> Result<Option<Database>> {
        for (owner, ..) in database::owners(place.absolute.file_name().unwrap_or_default()) {
            let main = self.workspace.show(&place.absolute.with_file_name(owner));
            if let Some(database) = self.database_of(&main)?
                && database.sides.iter().any(|(side, _)| side == place)
            {
                return Ok(Some(database));
            }
        }
        self.database_of(place)
    }

    /// The database whose file this is. A file that can't be looked into, and an empty one, is taken for the database of
    /// what stands beside it by name.
    fn database_of(&self, main: &Place) -> Result<Option<Database>> {
        if self.stat(&main.absolute)?.map(|stat| stat.kind) != Some(EntryKind::File) {
            return Ok(None);
        }
        let head = self.head(main)?;
        let found = self.database_by(main, &head)?;
        if let Some(found) = &found {
            let sides: Vec<&str> = found
                .sides
                .iter()
                .map(|(side, _)| side.display.as_str())
                .collect();
            debug!(database = main.display, ?sides, "database recognised");
        }
        if found.is_none()
            && let Known::Unknown(why) = head
        {
            self.give_unknown(&format!("whether `{main}` is a database is unknown: {why}"));
        }
        Ok(found)
    }

    /// As [`View::database_of`], of a file that begins so.
    fn database_by(&self, main: &Place, head: &Known<Vec<u8>>) -> Result<Option<Database>> {
        let recognised = match head {
            Known::Yes(head) => database::recognised(head),
            Known::Unknown(_) => None,
        };
        let doubtful = !matches!(head, Known::Yes(head) if !head.is_empty());
        for sort in &database::SORTS {
            if recognised.is_some_and(|recognised| recognised != sort) {
                continue;
            }
            let mut sides = Vec::new();
            for (place, side) in self.places_beside(main, sort) {
                if recognised.is_none() && !doubtful && !side.is_certain {
                    continue;
                }
                let wanted = if side.is_directory {
                    EntryKind::Directory
                } else {
                    EntryKind::File
                };
                if self.stat(&place.absolute)?.map(|stat| stat.kind) == Some(wanted) {
                    sides.push((place, side.suffix));
                }
            }
            if recognised.is_some() || !sides.is_empty() {
                return Ok(Some(Database {
                    main: main.clone(),
                    sort,
                    sides,
                }));
            }
        }
        Ok(None)
    }

    /// Where what belongs to a database of this kind stands, as far as its name leaves room for such names.
    pub fn places_beside(&self, place: &Place, sort: &'static Sort) -> Vec<(Place, &'static Side)> {
        let length = place.absolute.file_name().map_or(0, std::ffi::OsStr::len);
        let sides = sort.sides.iter();
        sides
            .filter(|side| length + side.suffix.len() <= NAME_LIMIT)
            .map(|side| (self.beside(place, side.suffix), side))
            .collect()
    }

    /// What stands beside a path by the names that the files of such a database have, whatever stands at the path.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub fn left_beside(&self, place: &Place, sort: &'static Sort) -> Result<Vec<Place>> {
        let mut left = Vec::new();
        for (beside, _) in self.places_beside(place, sort) {
            if self.exists(&beside.absolute)? {
                left.push(beside);
            }
        }
        Ok(left)
    }

    /// Sizes of a database with what belongs to it.
    ///
    /// # Errors
    /// As [`View::size`].
    pub fn size_of_database(&self, database: &Database) -> Result<Size> {
        let mut sum = Size::default();
        for member in database.members() {
            sum.add(self.size(&member.absolute)?);
        }
        Ok(sum)
    }

    /// The databases at and below a place, sorted; unknown where a file can't be looked into.
    ///
    /// # Errors
    /// As [`View::walk`].
    pub fn databases_below(&self, place: &Place) -> Result<Known<Vec<Database>>> {
        let mut files = Vec::new();
        self.walk_across(&place.absolute, &mut |path, stat| {
            if stat.kind == EntryKind::File && (stat.size == 0 || stat.size >= SMALLEST) {
                files.push((self.workspace.show(path), stat.size));
            }
            Ok(())
        })?;
        let mut databases = Vec::new();
        for (file, size) in files {
            self.allowance.check()?;
            // An empty one is one only by what stands beside it.
            let head = if size > 0 {
                self.head(&file)?
            } else {
                Known::Yes(Vec::new())
            };
            if let Known::Unknown(why) = head {
                return Ok(Known::Unknown(format!("`{file}` can't be looked into: {why}")));
            }
            databases.extend(self.database_by(&file, &head)?);
        }
        databases.sort_by(|one, other| one.main.absolute.cmp(&other.main.absolute));
        Ok(Known::Yes(databases))
    }

    /// The first bytes of a file.
    fn head(&self, file: &Place) -> Result<Known<Vec<u8>>> {
        if let Err(error) = self.look(Look::Contents, file) {
            return Ok(Known::Unknown(error.message().to_owned()));
        }
        let overlay = self.overlay();
        let real = match overlay.seen(&self.workspace.aliases().first_name(&file.absolute)) {
            Seen::Real(real) => real,
            Seen::Text(bytes) => return Ok(Known::Yes(bytes.to_vec())),
            Seen::Unknown(why) => return Ok(Known::Unknown(why.to_owned())),
            Seen::Gone | Seen::Directory => {
                return Err(Error::bug(format!("`{file}` is no file")));
            }
        };
        Ok(match self.host.files.head(&real, HEAD) {
            Ok(head) => Known::Yes(head),
            Err(error) => Known::Unknown(error.message().to_owned()),
        })
    }
}
