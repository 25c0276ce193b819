//! Containers, images and volumes of Docker or Podman, through its command line. An engine that does not answer makes
//! its contents unknown, never absent. Keeps nothing on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Value;
use tracing::debug;

use crate::audit::permit::Permit;
use crate::base::error::{Error, Kind, Result};
use crate::base::known::Known;
use crate::host::commands::{Invocation, find_program, look, run};

/// Reading a volume.
mod volume;

/// The label by which Compose marks what belongs to a project.
const PROJECT: &str = "com.docker.compose.project";

/// A container, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Full identifier.
    pub id: String,
    /// Its first name.
    pub name: String,
    /// The image it was made from, as the engine shows it.
    pub image: String,
    /// `running`, `exited`, ...
    pub state: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The names of the volumes that it mounts.
    pub volumes: Vec<String>,
    /// All its names.
    names: Vec<String>,
}

impl Container {
    /// Whether it is made from this image or mounts this volume: the engine would not let go of it.
    #[must_use]
    pub fn uses(&self, thing: &str) -> bool {
        self.image == thing
            || thing.strip_suffix(":latest") == Some(&self.image)
            || self.volumes.iter().any(|volume| volume == thing)
    }

    fn is_of(&self, prefix: &str) -> bool {
        self.names.iter().any(|name| names(prefix, name)) || is_project(&self.labels, prefix)
    }
}

/// An image under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Full identifier.
    pub id: String,
    /// Repository, such as `docker.io/airbyte/worker`.
    pub repository: String,
    /// Tag; empty where it has none.
    pub tag: String,
}

impl Image {
    /// What names this image and no other name of it: `repository:tag`, or the identifier where it has no tag.
    #[must_use]
    pub fn reference(&self) -> String {
        if self.tag.is_empty() {
            self.id.clone()
        } else {
            format!("{}:{}", self.repository, self.tag)
        }
    }
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What an engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Containers, running or not.
    Container,
    /// Images.
    Image,
    /// Volumes.
    Volume,
}

impl ObjectKind {
    /// In the singular.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
        }
    }
}

/// A container engine, by its command line.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The program, absolute.
    pub program: PathBuf,
    /// The workspace; the program runs in it.
    pub root: PathBuf,
    /// How long a look may take.
    pub patience: Duration,
    /// How long a removal may take.
    pub deadline: Duration,
}

impl Engine {
    /// The engine `configured` (`docker`, `podman` or an absolute path); unknown where there is no such program.
    #[must_use]
    pub fn find(configured: &str, root: &Path) -> Known<Self> {
        let found = find_program(configured, root);
        debug!(configured, ?found, "container engine");
        match found {
            Ok(program) => Known::Yes(Self {
                program,
                root: root.to_path_buf(),
                patience: Duration::from_secs(10),
                deadline: Duration::from_mins(2),
            }),
            Err(error) => Known::Unknown(error.message().to_owned()),
        }
    }

    /// Containers whose name starts with `prefix` as a whole word, or whose Compose project is `prefix`; sorted by name.
    ///
    /// # Errors
    /// `invalid` for a prefix that names nothing in particular, `cancelled`.
    pub fn containers(&self, prefix: &str, cancel: Option<&AtomicBool>) -> Result<Known<Vec<Container>>> {
        check_prefix(prefix)?;
        let everyone = self.all_containers(cancel)?;
        Ok(everyone.map(|mut all| {
            all.retain(|container| container.is_of(prefix));
            all
        }))
    }

    /// All containers, running or not, sorted by name.
    ///
    /// # Errors
    /// `cancelled`.
    pub fn all_containers(&self, cancel: Option<&AtomicBool>) -> Result<Known<Vec<Container>>> {
        let listed = self.list(&["ps", "--all", "--no-trunc", "--format", "{{json .}}"], cancel)?;
        let mut found: Vec<Container> = match &listed {
            Known::Yes(rows) => rows.iter().filter_map(container).collect(),
            Known::Unknown(why) => return Ok(Known::Unknown(why.clone())),
        };
        found.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        // Podman tells where a container mounts something, and what only when it is asked.
        let asked: Vec<&str> = found
            .iter()
            .filter(|container| container.volumes.iter().any(|volume| volume.starts_with('/')))
            .map(|container| container.id.as_str())
            .collect();
        if asked.is_empty() {
            return Ok(Known::Yes(found));
        }
        let words = [&["inspect", "--type", "container"], asked.as_slice()].concat();
        let mounts: BTreeMap<String, Vec<String>> = match self.list(&words, cancel)? {
            Known::Yes(rows) => rows.iter().map(mounted).collect(),
            Known::Unknown(why) => return Ok(Known::Unknown(why)),
        };
        if let Some(missing) = asked.iter().find(|id| !mounts.contains_key(**id)) {
            let program = self.program.display();
            return Ok(Known::Unknown(format!(
                "`{program}` does not tell what the container {missing} mounts"
            )));
        }
        for container in &mut found {
            if let Some(volumes) = mounts.get(&container.id) {
                container.volumes.clone_from(volumes);
            }
        }
        Ok(Known::Yes(found))
    }

    /// Images whose repository, without a registry's host, starts with `prefix` as a whole word; sorted by reference.
    /// Another's namespace (`metrics/airbyte`) is another's image.
    ///
    /// # Errors
    /// As for [`Self::containers`].
    pub fn images(&self, prefix: &str, cancel: Option<&AtomicBool>) -> Result<Known<Vec<Image>>> {
        check_prefix(prefix)?;
        let listed = self.list(&["images", "--no-trunc", "--format", "{{json .}}"], cancel)?;
        Ok(listed.map(|rows| {
            let mut found: Vec<Image> = rows.iter().flat_map(images).collect();
            found.retain(|image| names_image(prefix, &image.repository));
            found.sort_by_key(Image::reference);
            found.dedup();
            found
        }))
    }

    /// Volumes whose name starts with `prefix` as a whole word, or whose Compose project is `prefix`; sorted by name.
    ///
    /// # Errors
    /// As for [`Self::containers`].
    pub fn volumes(&self, prefix: &str, cancel: Option<&AtomicBool>) -> Result<Known<Vec<Volume>>> {
        check_prefix(prefix)?;
        let listed = self.list(&["volume", "ls", "--format", "{{json .}}"], cancel)?;
        Ok(listed.map(|rows| {
            let volume = |row: &Value| {
                let volume = Volume {
                    name: text(row, &["Name"]),
                    labels: labels(row),
                };
                let ours = names(prefix, &volume.name) || is_project(&volume.labels, prefix);
                (ours && !volume.name.is_empty()).then_some(volume)
            };
            let mut found: Vec<Volume> = rows.iter().filter_map(volume).collect();
            found.sort_by(|a, b| a.name.cmp(&b.name));
            found
        }))
    }

    /// Removes containers, running ones too, by identifier. Their anonymous volumes stay.
    ///
    /// # Errors
    /// `invalid` for what is no identifier, `failed` with the engine's words; some may be gone then.
    pub fn remove_containers(
        &self,
        permit: &Permit,
        ids: &[String],
        cancel: Option<&AtomicBool>,
    ) -> Result<()> {
        self.remove(permit, "containers", &["rm", "--force"], ids, cancel)
    }

    /// Removes images by [`Image::reference`]. One that a container uses stays, which is a failure.
    ///
    /// # Errors
    /// As for [`Self::remove_containers`].
    pub fn remove_images(
        &self,
        permit: &Permit,
        references: &[String],
        cancel: Option<&AtomicBool>,
    ) -> Result<()> {
        self.remove(permit, "images", &["rmi"], references, cancel)
    }

    /// Removes volumes by name, with their contents, for good. One that a container uses stays, which is a failure.
    ///
    /// # Errors
    /// As for [`Self::remove_containers`].
    pub fn remove_volumes(
        &self,
        permit: &Permit,
        volumes: &[String],
        cancel: Option<&AtomicBool>,
    ) -> Result<()> {
        self.remove(permit, "volumes", &["volume", "rm"], volumes, cancel)
    }

    fn invocation(&self, words: &[&str]) -> Invocation {
        Invocation::new(&self.program, &self.root).arguments(words)
    }

    fn list(&self, words: &[&str], cancel: Option<&AtomicBool>) -> Result<Known<Vec<Value>>> {
        let display = self.program.display();
        let ran = match look(&self.invocation(words).timeout(self.patience), cancel) {
            Ok(ran) => ran,
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => return Ok(Known::Unknown(error.message().to_owned())),
        };
        if !ran.succeeded() {
            return Ok(Known::Unknown(format!(
                "`{display}` does not answer: {}",
                ran.failure()
            )));
        }
        if ran.truncated {
            return Ok(Known::Unknown(format!("`{display}` lists more than can be read")));
        }
        Ok(match rows(&ran.stdout) {
            Some(rows) => Known::Yes(rows),
            None => Known::Unknown(format!("`{display}` answers with something that is no JSON")),
        })
    }

    fn remove(
        &self,
        permit: &Permit,
        what: &str,
        words: &[&str],
        ids: &[String],
        cancel: Option<&AtomicBool>,
    ) -> Result<()> {
        if let Some(id) = ids.iter().find(|id| !is_identifier(id)) {
            return Err(
                Error::invalid(format!("`{}` identifies no {what}", id.escape_debug()))
                    .hint("use the identifiers that were listed"),
            );
        }
        if ids.is_empty() {
            return Ok(());
        }
        let ran = run(
            permit,
            &self.invocation(words).arguments(ids).timeout(self.deadline),
            cancel,
        )?;
        if ran.succeeded() {
            return Ok(());
        }
        let program = self.program.display();
        Err(Error::failed(format!(
            "`{program}` could not remove all {what}: {}",
            ran.failure()
        ))
        .hint("look at what is left, and at what still uses it")
        .after_changes())
    }
}

/// A prefix that is a word of its own: an empty one would match everything.
fn check_prefix(prefix: &str) -> Result<()> {
    let fits = prefix.starts_with(|first: char| first.is_ascii_alphanumeric())
        && prefix
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "._-/".contains(character));
    if fits {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{}` is not a prefix of container names",
        prefix.escape_debug()
    ))
    .hint("start with a letter or digit; letters, digits and `._-/` may follow"))
}

/// A name or identifier, which can't be taken for an option.
fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "._-/:@".contains(character))
}

/// Whether a name is the prefix, or goes on after it with a new word.
fn names(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        let goes_on = rest.starts_with(char::is_alphanumeric);
        !goes_on || prefix.ends_with(|last: char| !last.is_alphanumeric())
    })
}

/// Whether a repository, without the host of a registry, is so named.
fn names_image(prefix: &str, repository: &str) -> bool {
    // The first part is a host where it could be none of a namespace.
    let path = match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => repository,
    };
    let official = path.strip_prefix("library/").unwrap_or(path);
    names(prefix, repository) || names(prefix, official)
}

fn is_project(labels: &BTreeMap<String, String>, prefix: &str) -> bool {
    labels.get(PROJECT).is_some_and(|project| project == prefix)
}

/// Rows as one JSON object a line (Docker), one array (Podman), or arrays in lines.
fn rows(output: &[u8]) -> Option<Vec<Value>> {
    let mut rows = Vec::new();
    for value in serde_json::Deserializer::from_slice(output).into_iter::<Value>() {
        match value.ok()? {
            Value::Array(inner) => rows.extend(inner),
            Value::Null => {}
            row => rows.push(row),
        }
    }
    rows.iter().all(Value::is_object).then_some(rows)
}

/// The first of these fields that has a text.
fn text(row: &Value, fields: &[&str]) -> String {
    let found = fields.iter().find_map(|field| row.get(field)?.as_str());
    found.unwrap_or_default().to_owned()
}

/// Texts of a field: an array, or one text with commas.
fn texts(row: &Value, field: &str) -> Vec<String> {
    match row.get(field) {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(all)) => all.split(',').map(|one| one.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// Labels: a map, or `a=b,c=d` in one text (where a value may hold commas, so a part without `=` goes on with it).
fn labels(row: &Value) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    match row.get("Labels") {
        Some(Value::Object(map)) => {
            labels.extend(
                map.iter()
                    .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))),
            );
        }
        Some(Value::String(all)) => {
            let mut last: Option<String> = None;
            for part in all.split(',') {
                if let Some((key, value)) = part.split_once('=') {
                    labels.insert(key.to_owned(), value.to_owned());
                    last = Some(key.to_owned());
                } else if let Some(value) = last.as_ref().and_then(|key| labels.get_mut(key)) {
                    value.push(',');
                    value.push_str(part);
                }
            }
        }
        _ => {}
    }
    labels
}

/// A row of `ps`.
fn container(row: &Value) -> Option<Container> {
    let id = text(row, &["ID", "Id"]);
    if id.is_empty() {
        return None;
    }
    // A name with a slash inside is a link's alias in another container.
    let names: Vec<String> = texts(row, "Names")
        .iter()
        .map(|name| name.trim_start_matches('/').to_owned())
        .filter(|name| !name.contains('/'))
        .collect();
    Some(Container {
        name: names.first().unwrap_or(&id).clone(),
        id,
        image: text(row, &["Image"]),
        state: text(row, &["State"]).to_lowercase(),
        labels: labels(row),
        volumes: texts(row, "Mounts"),
        names,
    })
}

/// A row of `inspect`: the container, and the names of the volumes that it mounts.
fn mounted(row: &Value) -> (String, Vec<String>) {
    let mounts = row.get("Mounts").and_then(Value::as_array);
    let names = mounts.into_iter().flatten().map(|mount| text(mount, &["Name"]));
    (
        text(row, &["Id", "ID"]),
        names.filter(|name| !name.is_empty()).collect(),
    )
}

/// A row of `images`: Docker gives one name a row, Podman all names of an image.
fn images(row: &Value) -> Vec<Image> {
    let id = text(row, &["ID", "Id"]);
    let known = |text: String| if text == "<none>" { String::new() } else { text };
    let repository = known(text(row, &["Repository", "repository"]));
    if !repository.is_empty() {
        return vec![Image {
            id,
            repository,
            tag: known(text(row, &["Tag", "tag"])),
        }];
    }
    let mut references = texts(row, "RepoTags");
    references.extend(texts(row, "Names"));
    let image = |reference: String| {
        // A colon before the last slash belongs to the registry's port.
        let (repository, tag) = match reference.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
            _ => (reference, String::new()),
        };
        Image {
            id: id.clone(),
            repository,
            tag,
        }
    };
    references
        .into_iter()
        .filter(|reference| !reference.is_empty() && !reference.contains('@'))
        .map(image)
        .collect()
}

#[cfg(test)]
mod tests;
