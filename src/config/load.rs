//! From sources to a config: defaults, then files, then environment, then flags, each over the last.
//!
//! Tables are merged key by key; lists and plain values are replaced whole, but for list positions
//! that an environment variable or a flag names. What a refused config was made of is not kept.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value as Layered};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value;

use super::fault::{Fault, Faults, Finding, Severity};
use super::files::{self, NamedFile};
use super::key_path::KeyPath;
use super::schema::{self, Schema};
use super::shape::{self, Settled};
use super::source::{Layer, Origin};
use super::{Config, check, named};

/// What a config is made of, lowest first: files in order, then environment, then flags.
#[derive(Clone, Default)]
pub struct Sources {
    /// Config files; the format goes by the extension (`.toml`, `.yaml`, `.yml`, `.json`).
    pub files: Vec<PathBuf>,
    /// Environment variables as `(name, value)`; those without [`named::ENV_PREFIX`] are passed over.
    pub env: Vec<(String, String)>,
    /// Flags as `(dotted key, value)`: `("server.limits.max_head", "64KiB")`, `("routes.0.path", "/v")`.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The variables of this process that may set keys, as [`Sources::env`] takes them.
    #[must_use]
    pub fn process_env() -> Vec<(String, String)> {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let ours = std::env::vars_os().map(|(name, value)| (text(&name), value)).filter(|(name, _)| name.starts_with(named::ENV_PREFIX));
        let mut all: Vec<_> = ours.map(|(name, value)| (name, text(&value))).collect();
        // The system's order is any; faults and names that differ in case only must not change from run to run.
        all.sort();
        all
    }
}

/// A config that was taken, and what is needed to say more about it.
pub struct Loaded {
    /// The config. Its relative paths have been made absolute, each from the folder of the file
    /// that says it, or from the working folder where the environment or a flag does.
    pub config: Config,
    /// The config files it came from.
    pub files: Vec<PathBuf>,
    /// The folder of the first config file, absolute; the working folder without one.
    pub base: PathBuf,
    /// Every file that the config names.
    pub named_files: Vec<NamedFile>,
    /// What is likely not what was meant.
    pub warnings: Faults,
    layers: Layers,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).field("files", &self.files).field("base", &self.base).finish_non_exhaustive()
    }
}

impl Loaded {
    /// The fault that `finding` becomes: with the source, line and text where its key stands.
    #[must_use]
    pub fn locate(&self, finding: Finding) -> Fault {
        self.layers.locate(finding).1
    }

    /// What to watch for changes: config files and the files that the config names.
    #[must_use]
    pub fn watched_files(&self) -> Vec<PathBuf> {
        let named = self.named_files.iter().filter(|named| named.path.last_key() != Some("folder")).map(|named| named.file.clone());
        self.files.iter().cloned().chain(named).collect()
    }
}

/// Loads a config without looking at the files that it names.
///
/// # Errors
/// Every fault of its syntax; when there is none, every fault of its shape and of its rules.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    Draft::read(sources)?.finish()
}

/// Further checks that only use can make: given the config and the base folder, what is wrong at which key.
pub type Extra<'e> = &'e dyn Fn(&Config, &Path) -> Vec<(KeyPath, String)>;

/// Loads a config, and looks at the files that it names (they exist, private keys are private).
/// When all that is well, asks `extra`, with the config and the base folder, for what only use shows:
/// key material that is none, certificates that do not fit their keys.
///
/// # Errors
/// Every fault that there is.
pub fn load_checked(sources: &Sources, extra: Extra<'_>) -> Result<Loaded, Faults> {
    let mut draft = Draft::read(sources)?;
    draft.add(files::check(&draft.named_files));
    let loaded = draft.finish()?;
    let found = extra(&loaded.config, &loaded.base);
    if found.is_empty() {
        return Ok(loaded);
    }
    let faults = found.into_iter().map(|(path, message)| loaded.locate(Finding::value(path, message)));
    Err(Faults(faults.collect()))
}

/// The sources of a config, lowest first.
struct Layers(Vec<Layer>);

impl Layers {
    /// The place of a finding: in the highest source that says its key, else its nearest table.
    fn locate(&self, finding: Finding) -> ((usize, usize), Fault) {
        let mut path = finding.path.clone();
        let mut point = finding.point;
        loop {
            let found = self.0.iter().enumerate().rev().find_map(|(index, layer)| Some((index, layer, layer.find(&path, point)?)));
            if let Some((index, layer, span)) = found.filter(|_| !path.0.is_empty()) {
                return ((index, span.start), layer.fault(finding, span));
            }
            // A key that is not there is shown by the key of the table that should hold it.
            point = super::fault::Point::Key;
            match path.parent() {
                Some(parent) => path = parent,
                None => return ((usize::MAX, 0), self.placeless(finding)),
            }
        }
    }

    fn placeless(&self, finding: Finding) -> Fault {
        let scrub = |text: String| self.0.iter().fold(text, |text, layer| layer.scrub(text));
        let source = self.0.iter().find_map(|layer| match &layer.origin {
            Origin::File(path) => Some(path.display().to_string()),
            Origin::Named(_) => None,
        });
        let Finding { path, severity, message, hint, .. } = finding;
        Fault { severity, message: scrub(message), source, place: None, key: path, hint: hint.map(scrub) }
    }

    /// From which folder the relative path at `path` is meant.
    fn folder_of(&self, path: &KeyPath) -> PathBuf {
        let layer = self.0.iter().rev().find(|layer| layer.find(path, super::fault::Point::Value).is_some());
        match layer.map(|layer| &layer.origin) {
            Some(Origin::File(file)) => folder(file),
            _ => PathBuf::new(),
        }
    }
}

fn folder(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// `path` as seen from the root; as it is where the working folder is gone.
pub(super) fn absolute(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        return std::env::current_dir().unwrap_or_default();
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A config on its way, with what was found so far.
struct Draft {
    config: Option<Config>,
    findings: Vec<Finding>,
    /// Keys whose value in `config` is not what the operator wrote.
    untrue: BTreeSet<KeyPath>,
    /// Faults of environment variables and flags that lead nowhere.
    stray: Vec<Fault>,
    named_files: Vec<NamedFile>,
    files: Vec<PathBuf>,
    layers: Layers,
}

impl Draft {
    fn read(sources: &Sources) -> Result<Self, Faults> {
        let (layers, mut tree, stray) = merge(sources)?;
        let mut named_files = files::named(&tree);
        for named in &mut named_files {
            named.file = absolute(&layers.folder_of(&named.path).join(&named.file));
            files::put(&mut tree, named);
        }
        let Settled { config, findings, untrue } = shape::settle(tree);
        let mut draft = Self { config, findings, untrue, stray, named_files, files: sources.files.clone(), layers };
        let rules = draft.config.as_ref().map(check::check).unwrap_or_default();
        draft.add(rules);
        Ok(draft)
    }

    /// Adds findings, but for those about keys that do not say what the operator wrote, and those about a
    /// whole entry (two routes that collide) when some entry beside it is such.
    fn add(&mut self, more: Vec<Finding>) {
        let echo = |it: &Finding| {
            let whole_entry = it.path.0.len() == 2;
            self.untrue.iter().any(|untrue| {
                let beside = whole_entry && untrue.0.first() == it.path.0.first();
                beside || it.path.is_under(untrue) || untrue.is_under(&it.path)
            })
        };
        let fresh: Vec<_> = more.into_iter().filter(|it| !echo(it)).collect();
        self.findings.extend(fresh);
    }

    fn finish(self) -> Result<Loaded, Faults> {
        let Self { config, mut findings, stray, named_files, files, layers, .. } = self;
        // Beside an error a warning is most often its echo: a mistyped name leaves the right one unused.
        if !stray.is_empty() || findings.iter().any(|finding| finding.severity == Severity::Error) {
            findings.retain(|finding| finding.severity == Severity::Error);
        }
        let mut placed: Vec<_> = findings.into_iter().map(|finding| layers.locate(finding)).collect();
        placed.sort_by_key(|(place, _)| *place);
        let found = Faults(stray.into_iter().chain(placed.into_iter().map(|(_, fault)| fault)).collect());
        match config {
            Some(config) if found.errors() == 0 => {
                let base = absolute(&files.first().map(|file| folder(file)).unwrap_or_default());
                Ok(Loaded { config, files, base, named_files, warnings: found, layers })
            }
            _ => Err(found),
        }
    }
}

/// A source as figment takes it.
struct Source(Dict);

impl Provider for Source {
    fn metadata(&self) -> Metadata {
        Metadata::named("config source")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

/// The sources, what they say together, and the names among them that lead nowhere.
type Merged = (Layers, Value, Vec<Fault>);

fn merge(sources: &Sources) -> Result<Merged, Faults> {
    let mut faults = Vec::new();
    let mut layers = Vec::new();
    let mut figment = Figment::new().merge(Source(defaults()));
    for file in &sources.files {
        match Layer::read(file) {
            Ok(layer) => match layer.root.to_value(None) {
                Layered::Dict(_, dict) => {
                    figment = figment.merge(Source(dict));
                    layers.push(layer);
                }
                _ => faults.push(Fault::of_source(file.display().to_string(), "this file must hold a table of keys")),
            },
            Err(more) => faults.extend(more),
        }
    }
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    let mut stray = Vec::new();
    for from in [named::environment(&sources.env), named::flags(&sources.flags)] {
        let below = so_far(&figment)?;
        let (layer, more) = named::layer(&from, &below);
        stray.extend(more);
        if let Layered::Dict(_, dict) = layer.root.to_value(Some(&below)) {
            figment = figment.merge(Source(dict));
        }
        layers.push(layer);
    }
    let tree = so_far(&figment)?;
    Ok((Layers(layers), tree, stray))
}

fn so_far(figment: &Figment) -> Result<Value, Faults> {
    // Only plain values were put in, so this does not fail; figment's own words would be all there is to say.
    figment
        .extract()
        .map_err(|error| Faults(error.into_iter().map(|one| Fault::of_source("config".into(), one.kind.to_string())).collect()))
}

/// The defaults of the tables at the top, so that a variable may name a position of a default list.
fn defaults() -> Dict {
    let schema = Schema::get();
    let form = schema.forms(schema.root());
    let top = form.first().and_then(|form| schema::properties(form));
    let defaults = top.into_iter().flatten().filter_map(|(key, schema)| {
        let mut default = schema.get("default")?.clone();
        drop_nulls(&mut default);
        Some((key.clone(), Layered::serialize(default).ok()?))
    });
    defaults.collect()
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
