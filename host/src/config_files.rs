//! The configuration on disk: finds it, reads it, and notices when it has changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use witgate_core::config::{self, Config, DEFAULT_CONFIG, Loaded, Lookup, Problem, SourceFile};
use witgate_core::survey::{Model, watched};

/// Where the configuration comes from, and what it held at the last look.
#[derive(Debug)]
pub struct ConfigFiles {
    origin: Origin,
    overrides: Overrides,
    found: FoundModels,
    last: (Vec<SourceFile>, Found),
    /// The last look found a configuration that cannot be used; what was said about it.
    refused: Option<Vec<String>>,
}

/// The models that watched providers have, by the provider's name.
type Found = BTreeMap<Arc<str>, Vec<Model>>;

/// What is known of them; whoever watches writes it, and the next look reads it.
#[derive(Clone, Debug, Default)]
pub struct FoundModels(Arc<Mutex<Found>>);

impl FoundModels {
    /// A provider has these; whether that is news.
    pub fn set(&self, provider: &Arc<str>, models: Vec<Model>) -> bool {
        self.0.lock().insert(Arc::clone(provider), models.clone()) != Some(models)
    }
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
enum Origin {
    /// One file, or a folder of `*.yaml` and `*.yml` files.
    Path(PathBuf),
    /// Texts that are part of the program or made by it.
    Texts(Vec<SourceFile>),
}

/// What the command line says instead of the files.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of `server.listen`.
    pub listen: Option<std::net::SocketAddr>,
    /// Instead of `policies.directory`.
    pub policies: Option<PathBuf>,
    /// Where a provider says nothing, the models of servers at `http://` addresses are watched.
    pub watch_models: bool,
}

/// Why a configuration is not used.
#[derive(Debug)]
pub enum LoadFailure {
    /// Found now.
    New(Vec<String>),
    /// The same as at the look before: already told.
    Known(Vec<String>),
}

impl LoadFailure {
    /// One text for each problem.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::New(lines) | Self::Known(lines) => lines.clone(),
        }
    }
}

impl ConfigFiles {
    /// The configuration at `path`, which is a file or a folder.
    pub fn at(path: PathBuf, overrides: Overrides) -> Self {
        Self::new(Origin::Path(path), overrides)
    }

    /// The configuration that the program carries, and `more`, which is joined to it.
    pub fn built_in(more: Option<SourceFile>, overrides: Overrides) -> Self {
        let mut texts = vec![SourceFile::new("built-in default", DEFAULT_CONFIG)];
        texts.extend(more);
        Self::new(Origin::Texts(texts), overrides)
    }

    fn new(origin: Origin, overrides: Overrides) -> Self {
        Self { origin, overrides, found: FoundModels::default(), last: Default::default(), refused: None }
    }

    /// Where the models of watched providers are to be told.
    pub fn found(&self) -> FoundModels {
        self.found.clone()
    }

    /// Reads it for the first time.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(&mut self) -> Result<Loaded, Vec<String>> {
        let files = self.read()?;
        let found = self.found.0.lock().clone();
        let loaded = self.resolve(&files, &found).map_err(|problems| texts(&problems))?;
        self.last = (files, found);
        Ok(loaded)
    }

    /// Reads it again; `None` when it has not changed.
    ///
    /// # Errors
    /// Everything that is wrong with the new one.
    pub fn reload(&mut self) -> Result<Option<Loaded>, LoadFailure> {
        let (files, unreadable) = match self.read() {
            Ok(files) => (files, None),
            // An editor may have moved the file away for a moment; the poll tells if it stays away.
            Err(problems) => (Vec::new(), Some(problems)),
        };
        let now = (files, self.found.0.lock().clone());
        if now == self.last {
            return match &self.refused {
                None => Ok(None),
                Some(told) => Err(LoadFailure::Known(told.clone())),
            };
        }
        self.last.clone_from(&now);
        let (files, found) = now;
        let problems = match unreadable {
            Some(problems) => problems,
            None => match self.resolve(&files, &found) {
                Ok(loaded) => {
                    self.refused = None;
                    return Ok(Some(loaded));
                }
                Err(problems) => texts(&problems),
            },
        };
        self.refused = Some(problems.clone());
        Err(LoadFailure::New(problems))
    }

    /// Folders whose events may mean a change.
    pub fn folders(&self) -> Vec<PathBuf> {
        match &self.origin {
            Origin::Texts(_) => Vec::new(),
            Origin::Path(path) if path.is_dir() => vec![path.clone()],
            Origin::Path(path) => vec![parent(path).to_owned()],
        }
    }

    /// What messages call it.
    pub fn describe(&self) -> String {
        match &self.origin {
            Origin::Texts(texts) => texts.iter().map(|text| &*text.name).collect::<Vec<_>>().join(" and "),
            Origin::Path(path) => path.display().to_string(),
        }
    }

    fn resolve(&self, files: &[SourceFile], found: &Found) -> Result<Loaded, Vec<Problem>> {
        let folder = match &self.origin {
            Origin::Texts(_) => PathBuf::from("."),
            Origin::Path(path) if path.is_dir() => path.clone(),
            Origin::Path(path) => parent(path).to_owned(),
        };
        let outside = Outside { folder };
        let mut loaded = config::load(files, &outside)?;
        self.watch(&mut loaded.config);
        if let Some(more) = watched(&loaded.config, found) {
            let files: Vec<SourceFile> = files.iter().cloned().chain([SourceFile::new(FOUND, more)]).collect();
            loaded = config::load(&files, &outside)?;
            self.watch(&mut loaded.config);
        }
        if let Some(listen) = self.overrides.listen {
            loaded.config.server.listen = listen;
        }
        if let Some(policies) = &self.overrides.policies {
            loaded.config.policies.directory.clone_from(policies);
        }
        Ok(loaded)
    }

    fn watch(&self, config: &mut Config) {
        // Who is asked about itself is a server of one's own.
        let all = self.overrides.watch_models;
        for provider in config.providers.iter_mut().filter(|provider| all && provider.facts.is_some()) {
            provider.watch_models.get_or_insert(WATCHED_EVERY);
        }
    }

    fn read(&self) -> Result<Vec<SourceFile>, Vec<String>> {
        let path = match &self.origin {
            Origin::Texts(texts) => return Ok(texts.clone()),
            Origin::Path(path) => path,
        };
        let paths = if path.is_dir() {
            yaml_files(path).map_err(|error| unreadable(path, &error))?
        } else {
            vec![path.clone()]
        };
        if paths.is_empty() {
            return Err(vec![format!("{}: the folder has no *.yaml file", path.display())]);
        }
        let read = paths.iter().map(|path| match fs::read_to_string(path) {
            Ok(text) => Ok(SourceFile::new(path.display().to_string(), text)),
            Err(error) => Err(unreadable(path, &error)),
        });
        let (files, errors): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        let errors: Vec<String> = errors.into_iter().filter_map(Result::err).flatten().collect();
        if errors.is_empty() { Ok(files.into_iter().filter_map(Result::ok).collect()) } else { Err(errors) }
    }
}

/// Environment variables and secret files.
struct Outside {
    folder: PathBuf,
}

impl Lookup for Outside {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.folder.join(path)).map_err(|error| error.to_string())
    }
}

fn yaml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && !hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unreadable(path: &Path, error: &io::Error) -> Vec<String> {
    vec![format!("{}: cannot be read: {error}", path.display())]
}

/// What messages call the text that is made of found models.
const FOUND: &str = "models that servers have";
const WATCHED_EVERY: Duration = Duration::from_secs(5);

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
