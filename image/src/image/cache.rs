//! What is worth keeping between builds and checkouts: mkosi itself, the tools tree, downloaded packages, mkosi's own incremental cache,
//! and what the browser tests need of npm.
//!
//! `$TBI_CACHE`, else `/var/cache/tlsstress` for root and `~/.cache/tlsstress` for anybody else. One build at a time uses it; a second one
//! waits. A tools tree is named after the hash of its definition and appears by a rename, so a half-made one is never used.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output_of, say};
use crate::image::inputs::Inputs;
use crate::image::sources::Mirrors;
use crate::image::sources::{self, SourceFile};
use crate::image::steps::{Steps, run_logged};
use crate::image::tools::Tools;
use crate::image::{Places, files};
use crate::packages;
use crate::workspace::Workspace;

/// Tools trees that stay: this checkout's and one other's.
const TREES_KEPT: usize = 2;
/// Where Debian's package puts mkosi.
const MODULES: &str = "usr/lib/python3/dist-packages";

/// What npm installs by.
const NPM_FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// The cache, locked.
pub(crate) struct Cache {
    root: PathBuf,
    /// Released when dropped, by the kernel even when we are killed.
    _lock: File,
}

impl Cache {
    /// Opens it and waits until it is ours.
    pub(crate) fn open() -> Result<Self> {
        let root = root()?;
        files::make(&root)?;
        let path = root.join("lock");
        let lock = File::create(&path)
            .with_context(|| format!("cannot write {}; set TBI_CACHE to a folder that is yours", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say(&format!("another cargo tbi uses {}; waiting for it", root.display()));
                lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => bail!("cannot lock {}: {error}", path.display()),
        }
        Ok(Self { root, _lock: lock })
    }

    /// Downloaded packages.
    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// mkosi's own cache of installed trees. The variants have other packages, so each has its own.
    pub(crate) fn incremental(&self, variant: &str) -> PathBuf {
        self.root.join("incremental").join(variant)
    }

    /// Licences of packages, found out once.
    pub(crate) fn licences(&self) -> PathBuf {
        self.root.join("licences")
    }

    /// mkosi and the tools tree, made when they are not here.
    pub(crate) fn ready(
        &self,
        workspace: &Workspace,
        mirrors: &Mirrors,
        sandbox: &Path,
        steps: &mut Steps,
    ) -> Result<(Mkosi, Tools)> {
        write_sandbox(sandbox, mirrors)?;
        let mkosi = self.mkosi(mirrors, steps)?;
        let tools = self.tools(workspace, &mkosi, sandbox, steps)?;
        Ok((mkosi, tools))
    }

    /// mkosi, fetched from the image's own Debian release when it is not here.
    fn mkosi(&self, mirrors: &Mirrors, steps: &mut Steps) -> Result<Mkosi> {
        let home = self.root.join("mkosi");
        let mkosi = Mkosi { modules: home.join(MODULES) };
        if mkosi.modules.join("mkosi/__main__.py").is_file() {
            return Ok(mkosi);
        }
        let apt = self.root.join("apt");
        for folder in ["lists/partial", "archives/partial", "sources"] {
            files::make(&apt.join(folder))?;
        }
        files::write(&apt.join("status"), b"")?;
        files::write(&apt.join("sources/debian.sources"), sources::render(mirrors).as_bytes())?;
        steps.run("package lists of Debian trixie", "apt-update", private_apt(&apt).arg("update"))?;
        steps.run("downloading mkosi", "apt-mkosi", private_apt(&apt).args(["download", "mkosi"]))?;
        let package = fs::read_dir(&apt)
            .with_context(|| format!("cannot read {}", apt.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"mkosi_")))
            .max()
            .with_context(|| format!("apt-get left no mkosi package in {}", apt.display()))?;
        let new = self.root.join("mkosi.new");
        files::make_empty(&new)?;
        output_of(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&new))?;
        files::make_empty(&home)?;
        fs::rename(&new, &home).with_context(|| format!("cannot make {}", home.display()))?;
        Ok(mkosi)
    }

    /// The tools tree `mkosi/tools` describes, built when it is not here.
    fn tools(&self, workspace: &Workspace, mkosi: &Mkosi, sandbox: &Path, steps: &mut Steps) -> Result<Tools> {
        let definition = workspace.root().join("mkosi/tools");
        let name = tree_name(&definition)?;
        let home = self.root.join(&name);
        let tree = home.join("tools");
        if tree.is_dir() {
            return Ok(Tools::new(tree));
        }
        let new = self.root.join(format!("{name}.new"));
        files::make_empty(&new)?;
        files::make(&self.packages())?;
        let mut command = mkosi.command();
        command.arg("--directory").arg(&definition);
        command.arg("--sandbox-tree").arg(sandbox);
        command.arg("--package-cache-directory").arg(self.packages());
        command.arg("--output-directory").arg(&new);
        command.args(["--output", "tools", "--force", "build"]);
        let log = self.root.join("tools.log");
        steps.step("tools tree (minutes, once)", || run_logged(&mut command, &log))?;
        fs::rename(&new, &home).with_context(|| format!("cannot make {}", home.display()))?;
        self.forget_old_trees(&name);
        Ok(Tools::new(tree))
    }

    /// Trees of definitions that nobody uses any more.
    fn forget_old_trees(&self, newest: &str) {
        let mut others: Vec<_> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let made = entry.metadata().ok()?.modified().ok()?;
                (name.starts_with("tools-") && name != newest).then_some((made, entry.path()))
            })
            .collect();
        others.sort();
        for (_, tree) in others.iter().rev().skip(TREES_KEPT - 1) {
            // Only room is lost when it stays.
            let _stays = fs::remove_dir_all(tree);
        }
    }
}

/// mkosi as a Python module: the package's own start script wants its dependencies installed.
#[derive(Debug, Clone)]
pub(crate) struct Mkosi {
    modules: PathBuf,
}

impl Mkosi {
    /// To be completed with options and a verb.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("python3");
        command.args(["-m", "mkosi"]).env("PYTHONPATH", &self.modules).env("PATH", packages::search_path());
        // Python would litter the cache with compiled files of whoever comes first.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Which mkosi.
    pub(crate) fn version(&self) -> Result<String> {
        Ok(output_of(self.command().arg("--version"))?.trim().to_owned())
    }
}

/// The tools tree alone, for who has an image and wants to boot it or look into it.
pub(crate) fn tools(workspace: &Workspace, places: &Places) -> Result<Tools> {
    let mut steps = Steps::new(places.logs())?;
    let name = tree_name(&workspace.root().join("mkosi/tools"))?;
    // A finished tree appears by a rename and is never changed: a build that holds the lock is no reason to wait.
    let tree = root()?.join(name).join("tools");
    if tree.is_dir() {
        return Ok(Tools::new(tree));
    }
    let mirrors = sources::mirrors(&machine_sources(), None)?;
    let (_, tools) = Cache::open()?.ready(workspace, &mirrors, &places.sandbox(), &mut steps)?;
    Ok(tools)
}

/// What the browser tests need of npm, of exactly the versions in the lock file, installed when it is not here: the folder `node_modules`.
pub(crate) fn node_modules(workspace: &Workspace) -> Result<PathBuf> {
    let definition = workspace.root().join("tests/browser");
    let mut inputs = Inputs::new();
    for name in NPM_FILES {
        inputs.file(name, &definition.join(name))?;
    }
    let home = root()?.join(format!("browser-{}", inputs.finish().get(..12).unwrap_or_default()));
    let modules = home.join("node_modules");
    // It appears by a rename and is never changed.
    if modules.is_dir() {
        return Ok(modules);
    }
    let cache = Cache::open()?;
    if modules.is_dir() {
        return Ok(modules);
    }
    say("installing what the browser tests need with npm");
    let new = cache.root.join("browser.new");
    files::make_empty(&new)?;
    for name in NPM_FILES {
        let from = definition.join(name);
        fs::copy(&from, new.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let mut npm = Command::new("npm");
    // No script of anybody's package runs here.
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&new);
    output_of(&mut npm)?;
    fs::rename(&new, &home).with_context(|| format!("cannot make {}", home.display()))?;
    Ok(modules)
}

/// The build machine's apt configuration, read.
pub(crate) fn machine_sources() -> Vec<SourceFile> {
    let folder = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let mut paths: Vec<PathBuf> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.push(PathBuf::from("/etc/apt/sources.list"));
    paths.sort();
    let read = |path: &PathBuf| {
        let kind = path.extension()?.to_str()?;
        // One that cannot be read is one that apt cannot use either.
        (kind == "sources" || kind == "list").then_some(())?;
        Some(SourceFile { deb822: kind == "sources", text: fs::read_to_string(path).ok()? })
    };
    paths.iter().filter_map(read).collect()
}

/// Writes the sandbox tree with package sources.
fn write_sandbox(folder: &Path, mirrors: &Mirrors) -> Result<()> {
    files::make_empty(folder)?;
    files::write(&folder.join("etc/apt/sources.list.d/mkosi.sources"), sources::render(mirrors).as_bytes())?;
    let settings = sources::settings(&output_of(Command::new("apt-config").arg("dump"))?);
    if !settings.is_empty() {
        files::write(&folder.join("etc/apt/apt.conf.d/90build-machine"), settings.as_bytes())?;
    }
    Ok(())
}

/// Named after its definition: another definition is another tree.
fn tree_name(definition: &Path) -> Result<String> {
    if !definition.join("mkosi.conf").is_file() {
        bail!("{} is missing; it says what the tools tree holds", definition.join("mkosi.conf").display());
    }
    let mut inputs = Inputs::new();
    inputs.tree("tools", definition)?;
    Ok(format!("tools-{}", inputs.finish().get(..12).unwrap_or_default()))
}

/// apt-get with lists, archives and sources of its own; the machine's are neither read nor changed.
fn private_apt(home: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(home);
    let option = |name: &str, value: &Path| format!("{name}={}", value.display());
    for setting in [
        option("Dir::State", home),
        option("Dir::State::lists", &home.join("lists")),
        option("Dir::State::status", &home.join("status")),
        option("Dir::Cache", home),
        option("Dir::Cache::archives", &home.join("archives")),
        option("Dir::Etc::sourceparts", &home.join("sources")),
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        // The folder may be where the download user may not go.
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "APT::Update::Post-Invoke-Success::=true".to_owned(),
    ] {
        command.arg("-o").arg(setting);
    }
    command
}

fn root() -> Result<PathBuf> {
    let home = env::var_os("HOME");
    place(env::var_os("TBI_CACHE"), packages::is_root(), home.as_deref().map(Path::new))
}

fn place(asked: Option<OsString>, as_root: bool, home: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = asked.filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        if !folder.is_absolute() {
            bail!("TBI_CACHE is '{}'; it must be an absolute path", folder.display());
        }
        return Ok(folder);
    }
    if as_root {
        return Ok(PathBuf::from("/var/cache/tlsstress"));
    }
    Ok(home.context("neither HOME nor TBI_CACHE is set; set one")?.join(".cache/tlsstress"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn everybody_has_a_place() {
        let home = Path::new("/home/someone");
        assert_eq!(place(None, true, Some(home)).unwrap(), Path::new("/var/cache/tlsstress"));
        assert_eq!(place(None, false, Some(home)).unwrap(), Path::new("/home/someone/.cache/tlsstress"));
        assert_eq!(place(Some("/big".into()), true, None).unwrap(), Path::new("/big"));
        assert!(place(Some("big".into()), true, None).is_err());
        assert!(place(None, false, None).is_err());
    }

    #[test]
    fn another_definition_is_another_tree() {
        let home = tempfile::tempdir().unwrap();
        assert!(tree_name(home.path()).unwrap_err().to_string().contains("mkosi.conf"));
        fs::write(home.path().join("mkosi.conf"), "Packages=qemu").unwrap();
        let first = tree_name(home.path()).unwrap();
        fs::write(home.path().join("mkosi.conf"), "Packages=qemu zstd").unwrap();
        assert_ne!(first, tree_name(home.path()).unwrap());
    }
}
