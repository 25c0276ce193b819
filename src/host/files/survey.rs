//! A walk by several threads in the order of the bytes of whole paths, which is that of a manifest: `a`, `a-b`, `a/c`.
//! The caller's thread lists directories, says what it knows of each path and takes what was found, both in order;
//! looking and reading is done by all. However large the tree, only a few batches of it are in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::fs::FileType;

use super::crew::{hands, lock};
use super::look::listing;
use super::resolve::{open_directory_on_mount, stat_at};
use super::walk::{DEPTH_LIMIT, too_deep};
use super::{EntryKind, Files, Walked};
use crate::base::error::{Error, Kind, Result};

/// Batches under way for each thread.
const AHEAD: u64 = 4;

/// Directories that all batches under way hold open.
const OPEN: u64 = 256;

/// What is to be done with each path of a [`Files::survey`].
pub(crate) struct Survey<'a, T, R> {
    /// Paths that one thread takes at a time: few where their contents are read, many where they are only looked at.
    pub(crate) batch: usize,
    /// Gets each path, in order, on the caller's thread; `None` leaves it out (not what is below it).
    pub(crate) claim: &'a mut dyn FnMut(&Path) -> Result<Option<T>>,
    /// Looks at a path, on any thread, and adds what it finds to that of its batch.
    pub(crate) look: &'a Look<'a, T, R>,
    /// Gets what was found in each batch, in order, on the caller's thread.
    pub(crate) keep: &'a mut dyn FnMut(R) -> Result<()>,
}

/// The path from the top, what stands there (nothing where it has just gone), what was claimed for it, what was found
/// in the batch so far, and a buffer to read into.
pub(crate) type Look<'a, T, R> =
    dyn Fn(&Path, Option<&Walked<'_>>, T, &mut R, &mut Vec<u8>) -> Result<()> + Sync + 'a;

impl Files {
    /// Looks at all that lies below the directory `top`, which is not looked at itself, by several threads. Other
    /// mounts are met, never entered; what disappears meanwhile is met with nothing there.
    ///
    /// # Errors
    /// The first one in the order of the walk; as [`Files::walk`].
    pub(crate) fn survey<T: Send, R: Default + Send>(
        &self,
        top: &Path,
        survey: Survey<'_, T, R>,
    ) -> Result<()> {
        let open = self.existing_place(top)?.open_directory()?;
        let Survey {
            batch,
            claim,
            look,
            keep,
        } = survey;
        let shared = Shared::new();
        let window = AHEAD * hands() as u64;
        let mut frontier = Frontier::new(open, top, OPEN / window)?;
        thread::scope(|scope| {
            let _over = Over(&shared);
            let mut buffer = Vec::new();
            let (mut begun, mut kept) = (0, 0);
            let (mut more, mut helped) = (true, false);
            loop {
                let ready = lock(&shared.state).done.remove(&kept);
                if let Some(found) = ready {
                    keep(found?)?;
                    kept += 1;
                } else if more && begun - kept < window {
                    let next = frontier.batch(batch, claim);
                    more = next.as_ref().is_ok_and(|next| !next.is_empty());
                    match next {
                        Ok(next) if next.is_empty() => {}
                        next => {
                            shared.add(begun, next);
                            begun += 1;
                        }
                    }
                    if begun > 1 && !helped {
                        helped = true;
                        for _ in 1..hands() {
                            scope.spawn(|| shared.help(look));
                        }
                    }
                } else if begun == kept {
                    return Ok(());
                } else if !shared.work(look, &mut buffer) {
                    shared.wait(kept);
                }
            }
        })
    }
}

/// A directory that is open while anybody looks at something in it.
struct Level {
    open: OwnedFd,
    path: PathBuf,
    relative: PathBuf,
}

struct Item<T> {
    level: Arc<Level>,
    name: OsString,
    claimed: T,
}

impl<T> Item<T> {
    fn look<R>(self, look: &Look<'_, T, R>, found: &mut R, buffer: &mut Vec<u8>) -> Result<()> {
        let Self { level, name, claimed } = self;
        let path = level.path.join(&name);
        let relative = level.relative.join(&name);
        let parent = level.open.as_fd();
        let walked = stat_at(parent, &name, &path)?
            .map(|stat| Walked::new(&path, &relative, stat, (parent, name.as_os_str())));
        look(&relative, walked.as_ref(), claimed, found, buffer)
    }
}

/// A directory whose names are being handed out. A name stands in its place, what is below it in that of the name with a
/// slash.
struct Frame {
    level: Arc<Level>,
    names: Peekable<std::vec::IntoIter<(OsString, FileType)>>,
    inner: Peekable<std::vec::IntoIter<OsString>>,
}

enum Next {
    Name(OsString),
    Inner(OsString),
}

impl Frame {
    fn new(open: OwnedFd, path: PathBuf, relative: PathBuf) -> Result<Self> {
        let names = listing(open.as_fd(), &path)?;
        let mut inner: Vec<OsString> = names
            .iter()
            .filter(|(_, kind)| matches!(kind, FileType::Directory | FileType::Unknown))
            .map(|(name, _)| {
                let mut name = name.clone();
                name.push("/");
                name
            })
            .collect();
        inner.sort_unstable();
        Ok(Self {
            level: Arc::new(Level { open, path, relative }),
            names: names.into_iter().peekable(),
            inner: inner.into_iter().peekable(),
        })
    }

    fn next(&mut self) -> Option<Next> {
        let name_first = match (self.names.peek(), self.inner.peek()) {
            (Some((name, _)), Some(inner)) => name.as_bytes() < inner.as_bytes(),
            (name, _) => name.is_some(),
        };
        if name_first {
            return self.names.next().map(|(name, _)| Next::Name(name));
        }
        let mut inner = self.inner.next()?.into_vec();
        inner.pop();
        Some(Next::Inner(OsString::from_vec(inner)))
    }

    /// The directory of that name; `None` where there is none by now, or another mount.
    fn enter(&self, name: &OsStr) -> Result<Option<Self>> {
        let path = self.level.path.join(name);
        let parent = self.level.open.as_fd();
        match stat_at(parent, name, &path)? {
            Some(stat) if stat.kind == EntryKind::Directory && !stat.mount_point => {}
            _ => return Ok(None),
        }
        match open_directory_on_mount(parent, name, &path) {
            Ok(open) => Self::new(open, path, self.level.relative.join(name)).map(Some),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How far the walk is: the directories from the top to where it stands.
struct Frontier {
    frames: Vec<Frame>,
    /// What ended the walk, until what was met before it is handed out.
    failed: Option<Error>,
    /// Directories that one batch holds open.
    most_open: u64,
}

impl Frontier {
    fn new(open: OwnedFd, top: &Path, most_open: u64) -> Result<Self> {
        Ok(Self {
            most_open,
            frames: vec![Frame::new(open, top.to_path_buf(), PathBuf::new())?],
            failed: None,
        })
    }

    /// The next paths; none at the end.
    fn batch<T>(
        &mut self,
        most: usize,
        claim: &mut dyn FnMut(&Path) -> Result<Option<T>>,
    ) -> Result<Vec<Item<T>>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut batch: Vec<Item<T>> = Vec::with_capacity(most);
        let mut directories = 0;
        while batch.len() < most {
            let (level, name) = match self.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) if batch.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            };
            match claim(&level.relative.join(&name)) {
                Ok(None) => continue,
                Ok(Some(claimed)) => {
                    let known = batch.last().is_some_and(|last| Arc::ptr_eq(&last.level, &level));
                    directories += u64::from(!known);
                    batch.push(Item { level, name, claimed });
                }
                Err(error) if batch.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
            if directories == self.most_open {
                break;
            }
        }
        Ok(batch)
    }

    fn next(&mut self) -> Result<Option<(Arc<Level>, OsString)>> {
        while let Some(frame) = self.frames.last_mut() {
            match frame.next() {
                None => {
                    self.frames.pop();
                }
                Some(Next::Name(name)) => return Ok(Some((Arc::clone(&frame.level), name))),
                Some(Next::Inner(name)) => {
                    if let Some(inner) = frame.enter(&name)? {
                        if self.frames.len() > DEPTH_LIMIT {
                            return Err(too_deep(&inner.level.path));
                        }
                        self.frames.push(inner);
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Batches by their number: those that wait, and what was found in those that are done.
struct Shared<T, R> {
    state: Mutex<State<T, R>>,
    /// Something waits, or all is over.
    waiting: Condvar,
    /// Something is done.
    done: Condvar,
}

struct State<T, R> {
    waiting: VecDeque<(u64, Vec<Item<T>>)>,
    done: BTreeMap<u64, Result<R>>,
    over: bool,
}

impl<T, R: Default> Shared<T, R> {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                done: BTreeMap::new(),
                over: false,
            }),
            waiting: Condvar::new(),
            done: Condvar::new(),
        }
    }

    fn add(&self, number: u64, batch: Result<Vec<Item<T>>>) {
        let mut state = lock(&self.state);
        match batch {
            Ok(batch) => {
                state.waiting.push_back((number, batch));
                self.waiting.notify_one();
            }
            Err(error) => {
                state.done.insert(number, Err(error));
            }
        }
    }

    /// Does one batch; false where none waits.
    fn work(&self, look: &Look<'_, T, R>, buffer: &mut Vec<u8>) -> bool {
        let Some((number, batch)) = lock(&self.state).waiting.pop_front() else {
            return false;
        };
        self.act(number, batch, look, buffer);
        true
    }

    fn help(&self, look: &Look<'_, T, R>) {
        let mut buffer = Vec::new();
        loop {
            let mut state = lock(&self.state);
            let (number, batch) = loop {
                if state.over {
                    return;
                }
                if let Some(next) = state.waiting.pop_front() {
                    break next;
                }
                state = self.waiting.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            self.act(number, batch, look, &mut buffer);
        }
    }

    fn act(&self, number: u64, batch: Vec<Item<T>>, look: &Look<'_, T, R>, buffer: &mut Vec<u8>) {
        let mut settled = Settled {
            shared: self,
            number,
            outcome: None,
        };
        let mut found = R::default();
        let looked = batch
            .into_iter()
            .try_for_each(|item| item.look(look, &mut found, buffer));
        settled.outcome = Some(looked.map(|()| found));
    }

    /// Waits until the batch of that number is done, or another can be.
    fn wait(&self, number: u64) {
        let mut state = lock(&self.state);
        while !state.done.contains_key(&number) && state.waiting.is_empty() {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A batch whose thread panics is settled too, or the caller would wait for it for ever.
struct Settled<'a, T, R> {
    shared: &'a Shared<T, R>,
    number: u64,
    outcome: Option<Result<R>>,
}

impl<T, R> Drop for Settled<'_, T, R> {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        lock(&self.shared.state).done.insert(
            self.number,
            outcome.unwrap_or_else(|| Err(Error::bug("a thread panicked"))),
        );
        self.shared.done.notify_one();
    }
}

/// However the caller leaves, the others are told.
struct Over<'a, T, R>(&'a Shared<T, R>);

impl<T, R> Drop for Over<'_, T, R> {
    fn drop(&mut self) {
        lock(&self.0.state).over = true;
        self.0.waiting.notify_all();
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test sets its own scene, below a temporary directory"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::files::Step;
    use crate::host::files::fixture::{Scene, entries, grow};

    fn surveyed(
        scene: &Scene,
        top: &Path,
        batch: usize,
        fails: &(dyn Fn(&Path) -> bool + Sync),
    ) -> Result<Vec<PathBuf>> {
        let mut claimed = Vec::new();
        let mut kept: Vec<PathBuf> = Vec::new();
        let look = |path: &Path,
                    found: Option<&Walked<'_>>,
                    number: usize,
                    part: &mut Vec<(usize, PathBuf)>,
                    _: &mut Vec<u8>| {
            if fails(path) {
                return Err(Error::failed(path.display().to_string()));
            }
            assert_eq!(found.map(|walked| walked.relative), Some(path));
            part.push((number, path.to_path_buf()));
            Ok(())
        };
        let survey = Survey {
            batch,
            claim: &mut |path| {
                claimed.push(path.to_path_buf());
                Ok(Some(claimed.len() - 1))
            },
            look: &look,
            keep: &mut |part: Vec<(usize, PathBuf)>| {
                for (number, path) in part {
                    assert_eq!(number, kept.len());
                    kept.push(path);
                }
                Ok(())
            },
        };
        scene.files.survey(top, survey)?;
        assert_eq!(claimed, kept);
        Ok(kept)
    }

    #[test]
    fn the_first_failure_in_order_is_told() {
        let scene = Scene::new();
        for number in 0..500 {
            scene.file(format!("tree/{}/{number}", number % 3), "");
        }
        let top = scene.path("tree");
        for _ in 0..20 {
            let error = surveyed(&scene, &top, 4, &|path| path.to_string_lossy().ends_with('7')).unwrap_err();
            assert_eq!(error.message(), "0/117");
        }
        std::fs::create_dir(scene.path("empty")).unwrap();
        assert_eq!(
            surveyed(&scene, &scene.path("empty"), 4, &|_| false).unwrap(),
            [] as [PathBuf; 0]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_tree_is_met_in_the_order_of_its_bytes(entries in entries(), batch in 1_usize..9) {
            let scene = Scene::new();
            let tree = scene.directory("tree");
            grow(&tree, &entries);
            let mut paths = Vec::new();
            scene.files.walk(&tree, &mut |walked| {
                paths.push(walked.relative.to_path_buf());
                Ok(Step::Continue)
            }).unwrap();
            paths.sort_by(|left, right| left.as_os_str().as_bytes().cmp(right.as_os_str().as_bytes()));
            prop_assert_eq!(surveyed(&scene, &tree, batch, &|_| false).unwrap(), paths);
        }
    }
}
