//! One boot for each image, saved, and continued by every test that is not about booting.
//!
//! The state (memory and devices) is a file that QEMU wrote as if the machine moved to another host; the disk is frozen beside it. Each
//! restored machine reads the file and writes to an overlay of its own, so any number of them can run and nothing is copied.

use std::fs::{self, File};
use std::path::PathBuf;

use super::image::Image;
use super::machine::Machine;
use super::setup::{DISK, Setup, VARIABLES, acceleration};

/// Changes whenever the machine's devices do: a state continues only in the machine it came from.
const LAYOUT: u32 = 1;

pub(super) fn restore(image: &Image) -> Machine {
    Setup::of(image).continue_from(&saved(image)).start()
}

/// The folder with the saved machine; made by the first who asks, while the others wait.
fn saved(image: &Image) -> PathBuf {
    let name = format!("booted-{LAYOUT}-{}", acceleration()[1].split(',').next().unwrap_or_default());
    let folder = image.cache().join(&name);
    let lock = image.cache().join(format!("{name}.lock"));
    let lock = match File::create(&lock).and_then(|file| file.lock().map(|()| file)) {
        Ok(file) => file,
        Err(error) => panic!("cannot lock {}: {error}", lock.display()),
    };
    if !folder.join("state").is_file() {
        make(image, &folder);
    }
    drop(lock);
    folder
}

fn make(image: &Image, folder: &PathBuf) {
    let beside = folder.with_extension("new");
    // Left by a test that was ended in the middle.
    let _absent = fs::remove_dir_all(&beside);
    if let Err(error) = fs::create_dir_all(&beside) {
        panic!("cannot make {}: {error}", beside.display());
    }
    let mut machine = Setup::of(image).start();
    machine.wait_boot_complete();
    // What was just written is on the disk, and the machine is at rest.
    let _quiet = machine.sh("sync");
    machine.save_state(&beside.join("state"));
    let setup = machine.power_cut();
    for file in [DISK, VARIABLES] {
        let from = setup.directory.path().join(file);
        if let Err(error) = fs::copy(&from, beside.join(file)) {
            panic!("cannot keep {}: {error}", from.display());
        }
    }
    if let Err(error) = fs::rename(&beside, folder) {
        panic!("cannot name {}: {error}", folder.display());
    }
}
